"""Files as other writers leave them: recognised, read rightly, and repaired without the loss of an episode."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store import rows
from lewm_data.store.dataset import Dataset
from lewm_data.store.repair import diagnose, repair
from lewm_data.store.verify import verify
from lewm_data.store.writer import Writer

LENGTHS = (6, 4, 9)
NAMED = "'ep_offset' does not say where the episodes of 'ep_len' begin"


def columns():
    """What happened in three episodes, as lewm would write it."""
    rng = np.random.default_rng(0)
    rows = sum(LENGTHS)
    made = {
        "pixels": rng.integers(0, 256, (rows, 4, 5, 3), dtype=np.uint8),
        "action": rng.normal(size=(rows, 2)).astype(np.float32),
        "reward": rng.normal(size=rows).astype(np.float32),
        "state": rng.uniform(0.1, 0.9, (rows, 2)),
        "episode_idx": np.repeat(np.arange(3), LENGTHS).astype(np.int32),
    }
    made["action"][ends() - 1] = np.nan
    made["reward"][ends() - 1] = 0
    return made


def ends():
    return np.cumsum(LENGTHS)


def begins():
    return ends() - LENGTHS


def write(path, made, index=True, **attributes):
    with h5py.File(path, "w") as file:
        for name, values in made.items():
            chunks = (1, *values.shape[1:]) if name == "pixels" else True
            file.create_dataset(name, data=values, chunks=chunks)
        if index:
            file["ep_len"], file["ep_offset"] = np.array(LENGTHS, np.int32), begins()
        file.attrs.update(attributes)
    return path


def old(made):
    """As stable-worldmodel 0.1.1 writes: the last row has the first action, and rewards stand one row late."""
    made["action"][ends() - 1] = made["action"][begins()]
    late_rewards(made)
    made["reward"][begins()] = 0.5  # of an action whose frame is not recorded
    made["step_idx"] = np.concatenate([np.arange(1, rows + 1) for rows in LENGTHS]).astype(np.int32)
    return made


def late_rewards(made):
    """As its newer versions write: a reward stands beside the frame that follows its action, NaN beside the first."""
    late = np.full_like(made["reward"], np.nan)
    for first, end in zip(begins(), ends(), strict=True):
        late[first + 1 : end] = made["reward"][first : end - 1]
    made["reward"] = late
    return made


def in_pixels(made):
    made["state"] = made["state"] * 224
    return made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pixels", "columns have 19 to 100"),
        ("action", "columns have 19 to 100"),
        ("ep_len", "and there are rows for 3"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_shape_of_any_size_takes_no_memory(tmp_path, name, said, chunk):
    path = write(tmp_path / "a.h5", columns(), index=True)
    with h5py.File(path, "a") as file:
        values = file[name][:]
        del file[name]
        shape = (10**13, *values.shape[1:])
        made = file.create_dataset(name, shape, values.dtype, chunks=(chunk, *shape[1:]), compression="gzip")
        made[: len(values)] = values
    with pytest.raises(DataError):
        Dataset.open(path)
    found = diagnose(path)
    assert (found.episodes, found.lost) == (3, ())
    assert any(said in fault for fault in found.faults), found.faults
    assert repair(path).frames == sum(LENGTHS)
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.frames(np.arange(19)), columns()["pixels"])
        np.testing.assert_array_equal(dataset.column("action"), columns()["action"])


def test_the_places_of_chunks_are_read_once_a_column(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", columns())
    with h5py.File(path, "a") as file:
        del file["pixels"], file["ep_offset"]
        file.create_dataset("pixels", data=columns()["pixels"], chunks=(1, 4, 5, 3), compression="gzip")
        file["ep_offset"] = np.zeros(3, np.int64)
    read = []
    places = rows.chunk_places
    monkeypatch.setattr(
        rows, "chunk_places", lambda item, *others, **more: read.append(item.name) or places(item, *others, **more)
    )
    monkeypatch.setattr("lewm_data.store.repair.PIECE_BYTES", 1)
    repair(path)
    assert read == ["/pixels"]


@pytest.mark.parametrize(
    ("change", "habit"),
    [
        (old, "the last row of an episode has its first action, as stable-worldmodel 0.1.1"),
        (late_rewards, "a row has the reward of the action before it"),
        (in_pixels, "states are in the unit of published files"),
    ],
)
def test_habits_are_read_rightly_and_written_as_ours(tmp_path, change, habit):
    path = write(tmp_path / "a.h5", change(columns()), env="two-room")
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.column("action"), columns()["action"])
        np.testing.assert_array_equal(dataset.episode(1)["action"], columns()["action"][6:10])
        assert verify(dataset).differing == ()
    found = diagnose(path)
    assert found.faults == found.lost == ()
    assert any(said.startswith(habit) for said in found.habits)
    assert len(found.habits) == (2 if change is old else 1)
    done = repair(path)
    assert done.frames == sum(LENGTHS)
    with Dataset.open(path) as dataset:
        assert dataset.attributes["env"] == "two-room"
        for name, values in columns().items():
            found = dataset.frames(np.arange(19)) if name == "pixels" else dataset.column(name)
            np.testing.assert_allclose(found, values, rtol=1e-12, err_msg=name)
    assert diagnose(path).habits == ()
    with pytest.raises(DataError, match="exists already, from an earlier repair"):
        repair(path)


def test_a_file_that_is_ours_has_no_habits(tmp_path):
    found = diagnose(write(tmp_path / "a.h5", columns(), env="two-room"))
    assert (found.faults, found.habits, found.episodes) == ((), (), 3)
    with pytest.raises(DataError, match="there is nothing that a repair can mend"):
        repair(tmp_path / "a.h5")


def test_states_of_two_room_are_fractions_wherever_they_are_read(tmp_path):
    from lewm.world_states import states_of

    with Dataset.open(write(tmp_path / "a.h5", in_pixels(columns()))) as dataset:
        np.testing.assert_allclose(states_of(dataset, world("two-room")), columns()["state"])


def without_index(file):
    del file["ep_len"], file["ep_offset"]


def wrong_offsets(file):
    file["ep_offset"][1] = 7


def without_offsets(file):
    del file["ep_offset"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_index, "'ep_len' is missing or empty; 'episode_idx' tells the episodes apart"),
        (wrong_offsets, NAMED),
        (without_offsets, NAMED),
    ],
)
def test_an_index_is_made_again(tmp_path, change, fault):
    path = write(tmp_path / "a.h5", columns())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError):
        Dataset.open(path)
    assert diagnose(path).faults == (fault,)
    repair(path)
    assert_holds(path, [0, 1, 2])


def assert_holds(path, episodes):
    with Dataset.open(path) as dataset:
        assert dataset.lengths.tolist() == [LENGTHS[one] for one in episodes]
        for number, one in enumerate(episodes):
            rows = slice(begins()[one], ends()[one])
            for name, values in dataset.episode(number).items():
                np.testing.assert_array_equal(values, columns()[name][rows], err_msg=name)
        assert verify(dataset).differing == ()


def test_an_action_that_is_no_number_ends_an_episode_and_no_frame_is_lost(tmp_path):
    made = columns()
    made["action"][13] = np.inf
    made["step_idx"] = np.concatenate([np.arange(rows) for rows in LENGTHS]).astype(np.int32)
    made["episode_seed"] = np.repeat([7, 8, 9], LENGTHS)
    made["reward"][2] = np.nan
    made["episode_idx"] += 5
    names = {"5": "a.mp4", "6": "b.mp4", "7": "c.mp4"}
    path = write(tmp_path / "a.h5", made, sources=json.dumps(names), action_names='["x", "y"]')
    with pytest.raises(DataError, match="not finite at step"):
        Dataset.open(path)
    found = diagnose(path)
    assert found.faults == (
        "1 actions within episodes are no numbers; a repair ends the episode there, and leaves out episode_seed, which "
        "is of whole episodes",
        "rewards within episodes are no numbers; a repair makes them 0",
    )
    assert found.episodes == 4
    repair(path)
    with Dataset.open(path) as dataset:
        assert dataset.lengths.tolist() == [6, 4, 4, 5]
        np.testing.assert_array_equal(dataset.frames(np.arange(19)), made["pixels"])
        assert np.isnan(dataset.column("action")[13]).all()
        assert dataset.column("reward")[2] == 0
        assert dataset.column("step_idx")[10:].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
        assert dataset.column("episode_idx")[dataset.offsets].tolist() == [0, 1, 2, 3]
        assert "episode_seed" not in dataset.columns
        assert [dataset.source_of(episode) for episode in range(4)] == ["a.mp4", "b.mp4", "c.mp4", "c.mp4"]
        assert dataset.action_names == ("x", "y")


def ours(path):
    with Writer.create(path) as writer:
        for number in range(40):
            writer.write_episode(numbered(number))


def theirs(path):
    with h5py.File(path, "w") as file:
        made = [numbered(number) for number in range(40)]
        file["action"] = np.concatenate([one["action"] for one in made])
        file["ep_len"], file["ep_offset"] = np.full(40, 30), np.arange(40) * 30
        frames = file.create_dataset("pixels", (1200, 16, 16, 3), np.uint8, chunks=(1, 16, 16, 3))
        for number, one in enumerate(made):
            for step, frame in enumerate(one["pixels"]):
                frames[30 * number + step] = frame


def numbered(number):
    action = np.full((30, 2), number, np.float32)
    action[-1] = np.nan
    return {"pixels": np.full((30, 16, 16, 3), number, np.uint8), "action": action}


@pytest.mark.parametrize("share", [0.9, 0.4])
@pytest.mark.parametrize("write", [ours, theirs])
def test_a_file_that_is_cut_short_keeps_its_whole_episodes(tmp_path, write, share):
    path = tmp_path / "a.h5"
    write(path)
    size = int(path.stat().st_size * share)
    os.truncate(path, size)
    with pytest.raises(DataError, match=r"truncated, its end is missing\n.*lewm data verify .* --repair"):
        Dataset.open(path)
    found = diagnose(path)
    assert 0 < len(found.lost) < 40 * (1.1 - share)
    assert f"{len(found.lost)} of 40 episodes are not whole; the others can be kept" in found.faults
    done = repair(path)
    assert done.diagnosis.lost == found.lost
    assert Path(done.original).stat().st_size == size
    with Dataset.open(path) as dataset:
        assert dataset.num_episodes == done.diagnosis.episodes == 40 - len(found.lost)
        for place, number in enumerate(sorted(set(range(40)) - set(found.lost))):
            np.testing.assert_array_equal(dataset.episode(place)["pixels"], numbered(number)["pixels"])
            np.testing.assert_array_equal(dataset.episode(place)["action"], numbered(number)["action"])
        assert verify(dataset).differing == ()


def test_a_damaged_chunk_costs_its_episode_alone(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = columns()
        for name, values in made.items():
            file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]), compression="gzip")
        file["ep_len"], file["ep_offset"] = np.array(LENGTHS, np.int32), np.zeros(3)
        place = file["pixels"].id.get_chunk_info_by_coord((8, 0, 0, 0)).byte_offset
    with path.open("r+b") as stream:
        stream.seek(place + 4)
        stream.write(b"\xff" * 8)
    done = repair(path)
    assert done.diagnosis.lost == (1,)
    assert done.diagnosis.faults == (NAMED,)
    assert_holds(path, [0, 2])


KILLED = """
import os, signal, sys
import h5py, numpy as np
with h5py.File(sys.argv[1], "w", libver=sys.argv[2]) as file:
    for name, values in np.load(sys.argv[3]).items():
        file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("libver", ["earliest", "v110"])
def test_the_file_of_a_killed_writer_is_repaired_by_the_command_that_is_named(tmp_path, libver):
    path = tmp_path / "a.h5"
    index = {"ep_len": np.array(LENGTHS, np.int32), "ep_offset": begins()}
    np.savez(tmp_path / "made.npz", **columns(), **index)
    subprocess.run([sys.executable, "-c", KILLED, path, libver, tmp_path / "made.npz"], check=False)
    try:
        Dataset.open(path).close()
    except DataError as error:
        assert f"lewm data verify {path} --repair" in error.remedy  # noqa: PT017  # older formats open without a remark
        repair(path)
    else:
        assert libver == "earliest"
    assert_holds(path, [0, 1, 2])


def test_what_cannot_be_repaired_says_so(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"not HDF5 at all" * 100)
    with pytest.raises(DataError, match=r"is not an HDF5 file\nGive a dataset"):
        repair(tmp_path / "a.h5")
    path = write(
        tmp_path / "b.h5", {name: values for name, values in columns().items() if name != "episode_idx"}, False
    )
    with pytest.raises(DataError, match="nothing says where its episodes begin"):
        repair(path)
    path = write(tmp_path / "c.h5", {"action": columns()["action"]})
    with pytest.raises(DataError, match="no column 'pixels'"):
        repair(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.h5", "b.h5", "c.h5"]
