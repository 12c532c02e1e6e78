"""The picture of a world."""

import sys

import numpy as np
import pytest
from PIL import Image

from lewm_data.collection.collect import collect
from lewm_data.envs.gallery import LEAST_SIDE, SHOWN, draw_gallery, play_strips
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

WORLD = world("two-room")


def test_strips_are_the_episodes_that_collect_records(tmp_path):
    path = tmp_path / "a.h5"
    collect(WORLD, path, 3, policy="expert", noise=2.0, frame_size=16, seed=3, vary="door.position,agent.color")
    strips = play_strips(WORLD, "expert", 16, 3, 3, ("agent.color", "door.position"))
    with Dataset.open(path) as dataset:
        for index, strip in enumerate(strips):
            episode = dataset.episode(index)
            assert strip.steps[0] == 0
            assert strip.steps[-1] == len(episode["pixels"]) - 1
            assert len(strip.steps) == SHOWN
            np.testing.assert_array_equal(strip.frames, episode["pixels"][list(strip.steps)])
            assert (strip.solved is not None) == (episode["reward"].max() == 1)
            assert strip.solved in (None, strip.steps[-1])
    assert len({strip.goal.tobytes() for strip in strips}) == 3
    assert {strip.solved is None for strip in strips} == {True, False}


def test_the_picture_shows_every_policy(tmp_path):
    out = tmp_path / "new" / "rooms.png"
    draw_gallery(WORLD, out, frame_size=16, episodes=1)
    picture = np.asarray(Image.open(out))
    assert [file.name for file in out.parent.iterdir()] == ["rooms.png"]
    for policy in ("expert", "random", "smooth"):
        (strip,) = play_strips(WORLD, policy, 16, 1, 0, ())
        factor = LEAST_SIDE // 16
        for frame in (strip.goal, *strip.frames):
            shown = frame.repeat(factor, axis=0).repeat(factor, axis=1)
            assert contains(picture, shown)


def contains(picture, part):
    """Whether `part` is somewhere in `picture`: looked for where its first row is."""
    height, width, _ = part.shape
    rows = np.lib.stride_tricks.sliding_window_view(picture, (width, 3), axis=(1, 2))[:, :, 0]  # (Y, X', width, 3)
    candidates = np.argwhere((rows[:, :, ::9] == part[0, ::9]).all(axis=(2, 3)))
    return any(np.array_equal(picture[y : y + height, x : x + width], part) for y, x in candidates.tolist())


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r'Did you mean "agent\.color"'):
        draw_gallery(WORLD, tmp_path / "a.png", vary="agent.colour")
    with pytest.raises(DataError, match=r"pixels, at most .* are drawn"):
        draw_gallery(WORLD, tmp_path / "a.png", episodes=10**9)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.ImageDraw", None)
    with pytest.raises(DataError, match=r'Pillow, which is not installed\nRun .*: pip install -e "\.\[video\]"'):
        draw_gallery(WORLD, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
