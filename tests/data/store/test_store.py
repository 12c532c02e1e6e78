import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm_data.errors import DataError
from lewm_data.store.clips import Clips, action_statistics
from lewm_data.store.dataset import Dataset
from lewm_data.store.frames import PackedFrames, PlainFrames
from lewm_data.store.rows import StoredRows
from lewm_data.store.writer import Writer

GOLDEN = Path(__file__).parents[2] / "golden"
OFFICIAL = GOLDEN / "official_layout.h5"


def random_episode(rows, seed, size=(4, 6), width=2):
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(rows, width)).astype(np.float32)
    action[-1] = np.nan
    return {
        "pixels": rng.integers(0, 256, (rows, *size, 3), dtype=np.uint8),
        "action": action,
        "state": rng.normal(size=(rows, 3)),
        "step_idx": np.arange(rows, dtype=np.int32),
    }


def write(path, episodes, **attributes):
    with Writer.create(path, attributes) as writer:
        for episode in episodes:
            writer.write_episode(episode)
    return path


def assert_equal_episodes(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)  # NaN equals NaN


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    width=st.integers(1, 3),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_episodes_come_back_as_they_were_written(tmp_path_factory, lengths, size, width):
    path = tmp_path_factory.mktemp("round") / "a.h5"
    episodes = [random_episode(rows, seed, size, width) for seed, rows in enumerate(lengths)]
    with Dataset.open(write(path, episodes)) as dataset:
        assert dataset.lengths.tolist() == lengths
        assert dataset.offsets.tolist() == (np.cumsum(lengths) - lengths).tolist()
        assert (dataset.num_episodes, dataset.num_steps) == (len(lengths), sum(lengths))
        assert (dataset.action_dim, dataset.frame_size) == (width, size)
        for index, episode in enumerate(episodes):
            assert_equal_episodes(dataset.episode(index), episode)
        together = np.concatenate([episode["state"] for episode in episodes])
        np.testing.assert_array_equal(dataset.column("state"), together)
        backwards = np.arange(sum(lengths))[::-1]
        pixels = np.concatenate([episode["pixels"] for episode in episodes])
        np.testing.assert_array_equal(dataset.frames(backwards), pixels[::-1])


def test_attributes_come_back_as_python_values(tmp_path):
    attributes = {"env": "two-room", "seed": 3, "noise": 0.5, "ready": True}
    with Dataset.open(write(tmp_path / "a.h5", [random_episode(3, 0)], **attributes)) as dataset:
        assert dataset.attributes == {**attributes, "format_version": 1}
        assert {type(value) for value in dataset.attributes.values()} == {str, int, float, bool}


def test_reads_the_published_layout_and_writes_a_file_equal_to_it(tmp_path):
    with Dataset.open(OFFICIAL) as official:
        assert not official.interrupted
        assert official.lengths.tolist() == [30, 21, 12, 20]
        write(tmp_path / "copy.h5", [official.episode(index) for index in range(4)])
    with h5py.File(OFFICIAL) as expected, h5py.File(tmp_path / "copy.h5") as found:
        assert {*expected, "row_hash"} == set(found)
        for name in expected:
            assert expected[name].dtype == found[name].dtype
            np.testing.assert_array_equal(expected[name][:], found[name][:], err_msg=name)
        assert found["pixels"].chunks == expected["pixels"].chunks == (1, 16, 16, 3)
        assert found["pixels"].compression is None


def test_published_clips_statistics_and_samples(tmp_path):
    golden = json.loads((GOLDEN / "official_layout_clips.json").read_text())
    with Dataset.open(OFFICIAL) as dataset:
        clips = Clips(dataset, golden["num_steps"], golden["frameskip"])
        episodes, starts = clips.locate(np.arange(len(clips)))
        assert [[int(e), int(s)] for e, s in zip(episodes, starts, strict=True)] == golden["clips"]
        mean, std = action_statistics(dataset)
        np.testing.assert_allclose(mean, golden["action_mean"], rtol=0, atol=1e-7)
        np.testing.assert_allclose(std, golden["action_std_ddof1"], rtol=1e-6)
        for index, sample in golden["samples"].items():
            clip = clips.read(np.array([int(index)]))
            channels_first = np.moveaxis(clip.frames[0], -1, 1)
            assert list(channels_first.shape) == sample["pixels_shape"]
            assert int(clip.frames.sum(dtype=np.int64)) == sample["pixels_sum"]
            np.testing.assert_array_equal(channels_first[:, 0, 0, :4], sample["pixels_first_row"])
            expected = np.array(sample["action"], np.float32)
            np.testing.assert_array_equal(clip.actions[0], np.where(expected == -99, 0, expected))


def test_closing_twice_closes_no_other_file(tmp_path):
    dataset = Dataset.open(OFFICIAL)
    dataset.close()
    with (tmp_path / "other").open("w") as other:  # gets the number of the descriptor that was closed
        dataset.close()
        other.write("all of it")
    assert (tmp_path / "other").read_text() == "all of it"


STORAGE = {
    "one frame a chunk": ({"chunks": (1, 4, 6, 3)}, PlainFrames),
    "contiguous": ({}, PlainFrames),
    "several frames a chunk": ({"chunks": (7, 4, 6, 3)}, PlainFrames),
    "parts of frames": ({"chunks": (7, 2, 6, 1)}, StoredRows),
    "gzip": ({"chunks": (1, 4, 6, 3), "compression": "gzip"}, PackedFrames),
    "gzip, several frames a chunk": ({"chunks": (7, 4, 6, 3), "compression": "gzip"}, PackedFrames),
    "gzip and others": (
        {"chunks": (2, 4, 6, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
        PackedFrames,
    ),
    "gzip, parts of frames": ({"chunks": (7, 2, 6, 1), "compression": "gzip"}, StoredRows),
    "lzf": ({"chunks": (1, 4, 6, 3), "compression": "lzf"}, StoredRows),
}


@pytest.mark.parametrize("storage", STORAGE)
def test_frames_of_any_storage_in_any_order(tmp_path, storage):
    options, reader = STORAGE[storage]
    path = write(tmp_path / "a.h5", [random_episode(20, 1), random_episode(13, 2)])
    with h5py.File(path, "r+") as file:
        pixels = file["pixels"][:]
        del file["pixels"]
        file.create_dataset("pixels", data=pixels, **options)
    rows = np.array([32, 0, 7, 7, 8, 9, 31, 0])
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.frames(rows), pixels[rows])
        assert dataset.frames(rows[:0]).shape == (0, 4, 6, 3)
        assert type(dataset._frames) is reader
        copy = dataset.frames(rows)
        copy[:] = 0  # never a view of the file
        np.testing.assert_array_equal(dataset.frames(rows), pixels[rows])
        with pytest.raises(IndexError, match="33"):
            dataset.frames(np.array([33]))


def test_fingerprint_is_of_the_contents(tmp_path):
    episodes = [random_episode(20, 1), random_episode(13, 2)]
    with Dataset.open(write(tmp_path / "a.h5", episodes, seed=0)) as dataset:
        original = dataset.fingerprint()
    assert len(original) == hashlib.sha256().digest_size * 2
    with Dataset.open(write(tmp_path / "b.h5", episodes, seed=1)) as dataset:
        assert dataset.fingerprint() == original
    changes = {"action": (4, 0), "state": (7, 1), "pixels": (19, 0, 0, 0)}
    for name, place in changes.items():
        changed = {key: values.copy() for key, values in episodes[0].items()}
        changed[name][place] += 1
        with Dataset.open(write(tmp_path / f"{name}.h5", [changed, episodes[1]])) as dataset:
            assert dataset.fingerprint() != original, name
    with Dataset.open(write(tmp_path / "swapped.h5", episodes[::-1])) as dataset:
        assert dataset.fingerprint() != original


def test_columns_of_chosen_episodes(tmp_path):
    episodes = [random_episode(rows, rows) for rows in (5, 3, 4)]
    with Dataset.open(write(tmp_path / "a.h5", episodes)) as dataset:
        chosen = dataset.column("state", np.array([2, 0]))
        np.testing.assert_array_equal(chosen, np.concatenate([episodes[2]["state"], episodes[0]["state"]]))
        chosen[:] = 0
        dataset.column("state")[:] = 0  # copies
        np.testing.assert_array_equal(dataset.column("state", np.array([1])), episodes[1]["state"])


def test_unknown_names_and_episodes(tmp_path):
    with Dataset.open(write(tmp_path / "a.h5", [random_episode(5, 0)])) as dataset:
        with pytest.raises(DataError, match=r'unknown column .*"sate"\nDid you mean "state"'):
            dataset.column("sate")
        with pytest.raises(DataError, match=r"frames\(rows\)"):
            dataset.column("pixels")
        for index in (-1, 1):
            with pytest.raises(DataError, match=f"no episode {index}, it has 1"):
                dataset.episode(index)
