"""Datasets made into one."""

import json

import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import pieces as module
from lewm_data.store.dataset import Dataset
from lewm_data.store.merge import merge
from lewm_data.store.verify import verify
from lewm_data.store.writer import Writer


def write(path, lengths, first=0, extra=None, dtype=np.float32, **attributes):
    rng = np.random.default_rng(first)
    with Writer.create(path, {"env": "arm", "fps": 10.0, **attributes}) as writer:
        for number, rows in enumerate(lengths, first):
            action = rng.normal(size=(rows, 2)).astype(dtype)
            action[-1] = np.nan
            made = {
                "pixels": rng.integers(0, 256, (rows, 6, 6, 3), dtype=np.uint8),
                "action": action,
                "episode_idx": np.full(rows, number, np.int32),
            }
            writer.write_episode(made | ({extra: np.zeros(rows)} if extra else {}))
    return path


def episodes(path):
    with Dataset.open(path) as dataset:
        assert verify(dataset).differing == ()
        return [dataset.episode(i) for i in range(dataset.num_episodes)], dataset.attributes


def assert_same(found, expected, *names):
    for one, other in zip(found, expected, strict=True):
        for name in names:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("piece", [16 << 20, 300])
def test_episodes_follow_in_the_order_of_the_files(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(module, "PIECE_BYTES", piece)
    one = write(tmp_path / "1.h5", [5, 7], seed=1)
    other = write(tmp_path / "2.h5", [4], first=2, seed=2)
    shares = []
    merged = merge([one, other], tmp_path / "all.h5", on_share=shares.append)
    found, attributes = episodes(tmp_path / "all.h5")
    assert_same(found, episodes(one)[0] + episodes(other)[0], "pixels", "action", "episode_idx")
    assert (merged.episodes, merged.frames, merged.left_out) == (3, 16, ("attribute seed",))
    assert (attributes["env"], attributes["fps"]) == ("arm", 10.0)
    assert shares == [1 / 3, 2 / 3, 1]


def test_the_same_numbers_become_new_ones(tmp_path):
    one, other = write(tmp_path / "1.h5", [5, 7]), write(tmp_path / "2.h5", [4, 3], first=1)
    merge([one, other], tmp_path / "all.h5")
    found, _ = episodes(tmp_path / "all.h5")
    assert [int(one["episode_idx"][0]) for one in found] == [0, 1, 2, 3]


def test_columns_that_not_all_have_are_left_out(tmp_path):
    one, other = write(tmp_path / "1.h5", [5], extra="state"), write(tmp_path / "2.h5", [4], first=1)
    assert merge([one, other], tmp_path / "all.h5").left_out == ("column state",)
    assert "state" not in episodes(tmp_path / "all.h5")[0][0]


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"dtype": np.float64}, r"column 'action' float64 \(N, 2\), expected 'action' float32"),
        ({"env": "leg"}, "env is 'leg', in .* it is 'arm'"),
        ({"fps": 20.0}, "fps is 20.0, in .* it is 10.0"),
        ({"fit": "letterbox"}, "fit is 'letterbox', in .* it is None"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, other, problem):
    files = [write(tmp_path / "1.h5", [5]), write(tmp_path / "2.h5", [4], **other)]
    with pytest.raises(DataError, match=problem):
        merge(files, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_what_was_interrupted_goes_on(tmp_path):
    files = [write(tmp_path / "1.h5", [5, 6]), write(tmp_path / "2.h5", [4, 3], first=2)]

    def interrupt(share):
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(files, tmp_path / "all.h5", on_share=interrupt)
    assert 2 <= len(episodes(tmp_path / "all.h5")[0]) < 4
    merge(files, tmp_path / "all.h5")
    found, _ = episodes(tmp_path / "all.h5")
    assert_same(found, [*episodes(files[0])[0], *episodes(files[1])[0]], "pixels", "action")
    with pytest.raises(DataError, match="is complete already"):
        merge(files, tmp_path / "all.h5")
    with pytest.raises(DataError, match="was not made of these"):
        merge(files[::-1], tmp_path / "all.h5")
    with pytest.raises(DataError, match="is one of the datasets"):
        merge(files, files[0], overwrite=True)
    with pytest.raises(DataError, match="1 datasets, expected at least 2"):
        merge(files[:1], tmp_path / "other.h5")
    merge(files[::-1], tmp_path / "all.h5", overwrite=True)
    assert_same(episodes(tmp_path / "all.h5")[0][:2], episodes(files[1])[0], "pixels")


def test_what_is_there_twice_or_not_finished_is_refused(tmp_path):
    one = write(tmp_path / "1.h5", [5, 6], conversion='{"episodes": 4, "part": [1, 2]}')
    two = write(tmp_path / "2.h5", [4], first=2, conversion='{"episodes": 4, "part": [2, 2]}')
    again = write(tmp_path / "3.h5", [5, 6])
    with pytest.raises(DataError, match=r"3\.h5: has the same contents as .*1\.h5"):
        merge([one, again], tmp_path / "all.h5")
    with pytest.raises(DataError, match=r"2\.h5: 1 episodes of its part are not converted yet\n.*goes on"):
        merge([one, two], tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def sources(path):
    with Dataset.open(path) as dataset:
        return [dataset.source_of(episode) for episode in range(dataset.num_episodes)]


def named(path, lengths, names, first=0, **attributes):
    return write(path, lengths, first, sources=json.dumps(dict(enumerate(names, first))), **attributes)


def test_every_episode_keeps_the_name_of_its_recording(tmp_path):
    one = named(tmp_path / "1.h5", [5, 7], ["a.mp4", "b.mp4"], seed=1)
    other = named(tmp_path / "2.h5", [4], ["c.mp4"], first=2, seed=2)
    again = named(tmp_path / "3.h5", [3, 4], ["d.mp4", "a.mp4"], seed=3)
    unnamed = write(tmp_path / "4.h5", [6], first=3)
    merged = merge([one, other, unnamed], tmp_path / "all.h5")
    assert sources(tmp_path / "all.h5") == ["a.mp4", "b.mp4", "c.mp4", None]
    assert merged.left_out == ("attribute seed",)
    merge([other, again], tmp_path / "numbers.h5")  # they get new numbers where two have the same
    assert sources(tmp_path / "numbers.h5") == ["c.mp4", "d.mp4", "a.mp4"]
    merge([one, again], tmp_path / "names.h5")
    assert sources(tmp_path / "names.h5") == ["1: a.mp4", "1: b.mp4", "3: d.mp4", "3: a.mp4"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["x/clips.h5", "y/clips.h5"], ["x/clips", "y/clips"]),
        (["x/a/clips.h5", "y/a/clips.h5", "y/b/more.h5"], ["x/a/clips", "y/a/clips", "y/b/more"]),
        (["x/clips.h5", "clips.h5"], ["x/clips", "all/clips"]),
        (["clips.h5", "clips.hdf5"], ["clips (1)", "clips (2)"]),
    ],
)
def test_files_of_one_name_are_told_apart(tmp_path, files, told):
    paths = [tmp_path / "all" / file for file in files]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        named(path, [3], ["episode 0"], first=number)
    merge(paths, tmp_path / "all.h5")
    assert sources(tmp_path / "all.h5") == [f"{one}: episode 0" for one in told]


def test_actions_whose_numbers_have_another_order_are_not_merged(tmp_path):
    one, other, more = (
        write(tmp_path / f"{number}.h5", [5], first=number, action_names=json.dumps(names))
        for number, names in enumerate((["x", "y"], ["y", "x"], ["left", "right"]))
    )
    unnamed = write(tmp_path / "3.h5", [5], first=3)
    with pytest.raises(DataError, match=r"1\.h5: an action is y, x, in .*0\.h5 it is x, y"):
        merge([one, other], tmp_path / "all.h5")
    for before in (unnamed, more):  # wherever the two stand
        with pytest.raises(DataError, match=r"1\.h5: an action is y, x, in .*0\.h5 it is x, y"):
            merge([before, one, other], tmp_path / "all.h5")
    assert merge([one, unnamed, more], tmp_path / "all.h5").left_out == ("attribute action_names",)
    assert "action_names" not in episodes(tmp_path / "all.h5")[1]
