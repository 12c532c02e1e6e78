from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.writer import Writer
from lewm_data.video import sources
from lewm_data.video.sources import open_source, split_episode
from lewm_data.video.video import resized
from lewm_data.video.video_writer import write_video

LENGTHS = (5, 40, 1)


def episode(rows, seed):
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(rows, 2)).astype(np.float32)
    action[-1] = np.nan
    return {"pixels": rng.integers(0, 256, (rows, 8, 12, 3), dtype=np.uint8), "action": action}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.h5"
    with Writer.create(path) as writer:
        for seed, rows in enumerate(LENGTHS):
            writer.write_episode(episode(rows, seed))
    return path


def test_an_episode_brings_its_frames_and_actions(path):
    expected = episode(40, 1)
    with open_source(f"{path}#1") as source:
        assert (source.name, source.fps, source.count) == (f"{path}#1", None, 40)
        np.testing.assert_array_equal(source.actions, expected["action"][:-1])
        assert source.actions.dtype == np.float32
        frames = list(source.frames())
    assert [frame.time for frame in frames] == list(range(40))
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), expected["pixels"])


def test_the_clock_of_an_episode(path):
    pixels = episode(40, 1)["pixels"]
    with open_source(f"{path}#1") as source:
        frames = list(source.frames(fps=20.0, start=0.5, stop=0.7))
        assert [frame.time for frame in frames] == [10 / 20, 11 / 20, 12 / 20, 13 / 20]
        np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), pixels[10:14])
        assert [frame.time for frame in source.frames(start=37.5)] == [38, 39]
        with pytest.raises(DataError, match=r"data\.h5#1: ends at 2 s, asked to start at 2 s"):
            next(source.frames(fps=20.0, start=2.0))
        with pytest.raises(DataError, match="Ask for 1e-05 to 1000"):
            source.frames(fps=0.0)


def test_an_episode_is_read_a_few_frames_at_a_time(path, monkeypatch):
    monkeypatch.setattr(sources, "READ_TOGETHER", 7)
    with open_source(f"{path}#1") as source:
        dataset, asked = source._media.dataset, []
        read = dataset.frames
        monkeypatch.setattr(dataset, "frames", lambda rows: asked.append(len(rows)) or read(rows))
        frames = source.frames()
        next(frames)
        assert asked == [7]
        found = np.stack([frame.pixels for frame in frames])
    assert asked == [7, 7, 7, 7, 7, 5]
    np.testing.assert_array_equal(found, episode(40, 1)["pixels"][1:])


def test_resized_as_videos_are(path):
    pixels = episode(5, 0)["pixels"]
    with open_source(f"{path}#0") as source:
        small = [frame.pixels for frame in source.frames(size=(4, 6))]
        same = [frame.pixels for frame in source.frames(size=(8, 12))]
    np.testing.assert_array_equal(np.stack(small), np.stack([resized(frame, (4, 6)) for frame in pixels]))
    assert np.abs(np.stack(small).mean(axis=(1, 2)) - pixels.mean(axis=(1, 2))).max() < 16
    np.testing.assert_array_equal(np.stack(same), pixels)


def test_an_episode_of_one_frame_has_no_actions(path):
    with open_source(f"{path}#2") as source:
        assert source.actions.shape == (0, 2)
        assert len(list(source.frames())) == source.count == 1


def test_a_video(tmp_path):
    pixels = np.repeat(np.arange(8, dtype=np.uint8)[:, None, None, None] * 30, 3, 3) + np.zeros(
        (1, 16, 16, 1), np.uint8
    )
    write_video(tmp_path / "take#2.mp4", pixels, 10.0)
    with open_source(str(tmp_path / "take#2.mp4")) as source:
        assert (source.fps, source.count, source.actions) == (10, 8, None)
        found = np.stack([frame.pixels for frame in source.frames(5.0, (8, 8), 0.2, 0.7)])
        assert np.abs(found.astype(int) - pixels[2:7:2, :8, :8]).max() <= 3
        left = source.frames()
        next(left)
    assert list(left) == []


def test_what_is_no_source(path):
    with pytest.raises(DataError, match=rf"{path}: is a dataset, .*\nName an episode: {path}#0"):
        open_source(str(path))
    for number in (3, -1):
        with pytest.raises(DataError, match=f"no episode {number}, it has 3"):
            open_source(f"{path}#{number}")
    for number in ("one", "", "1.5"):
        with pytest.raises(DataError, match=f"expected the number of an episode after.*\nFor example: {path}#0"):
            open_source(f"{path}#{number}")
    with pytest.raises(DataError, match="No such file"):
        open_source(f"{path.with_name('none.h5')}#0")
    with pytest.raises(DataError, match="No such file"):
        open_source(str(path.with_name("none.mp4")))


def test_only_datasets_have_episodes():
    assert split_episode("a#b/data.hdf5#17") == (Path("a#b/data.hdf5"), 17)
    assert split_episode("data.h5") == (Path("data.h5"), None)
    assert split_episode("take#2.mp4") == (Path("take#2.mp4"), None)
    assert split_episode("frames#2") == (Path("frames#2"), None)


def test_an_episode_that_was_changed_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["pixels"][7] = 0
    open_source(f"{path}#0").close()
    problem = "the frame at step 2 of episode 1 is not the one that was written"
    with open_source(f"{path}#1") as source, pytest.raises(DataError, match=problem):
        list(source.frames())
