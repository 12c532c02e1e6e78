"""What Gymnasium environments draw, as frames: resized, made square, and kept so."""

import os
import sys

import numpy as np
import pytest

from lewm_data.collection.collect import collect
from lewm_data.envs.gymnasium import drawing
from lewm_data.envs.gymnasium.drawing import resized, square
from lewm_data.envs.mujoco import headless
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from tests.data.envs.lanes import PACKAGE, lane

pytestmark = pytest.mark.usefixtures("gymnasium_package")


def test_frames_are_stretched_by_averaging_over_areas():
    frame = np.random.default_rng(0).integers(0, 256, (10, 21, 3), np.uint8)
    fine = frame.repeat(6, axis=0).repeat(6, axis=1)  # whole numbers of these in each pixel
    expected = fine.reshape(6, 10, 6, 21, 3).mean(axis=(1, 3))
    small = resized(frame, 6, 6)
    assert np.abs(small - expected).max() <= 0.502
    np.testing.assert_array_equal(resized(frame[:, :10], 10, 10), frame[:, :10])
    np.testing.assert_array_equal(resized(frame[:4, :4], 8, 8), frame[:4, :4].repeat(2, axis=0).repeat(2, axis=1))
    assert resized(np.array([[[0, 1, 2]], [[1, 2, 3]]], np.uint8), 1, 1).tolist() == [[[1, 2, 3]]]  # halves go up


def test_mujocos_renderer_is_chosen_before_a_package_is_imported(tmp_path, monkeypatch):
    """A package that does without MuJoCo needs none."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MUJOCO_GL", "none yet")
    source = f"import os\nimport {PACKAGE}\nRENDERER = os.environ['MUJOCO_GL']\n"
    for name in ("lanes_drawn", "lanes_undrawn"):
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(headless, "choose_renderer", lambda: os.environ.update(MUJOCO_GL="osmesa"))
    world("lanes_drawn:Lane-v0")
    assert sys.modules["lanes_drawn"].RENDERER == "osmesa"

    def nothing_there():
        raise DataError("nothing to draw MuJoCo with", "Install something.")

    monkeypatch.setattr(headless, "choose_renderer", nothing_there)
    monkeypatch.setattr(drawing, "choose_renderer", nothing_there)
    world("lanes_undrawn:Lane-v0")
    with pytest.raises(DataError, match="nothing to draw MuJoCo with"):
        lane("DMControl")


@pytest.mark.parametrize(
    ("fit", "kept", "bars"),
    [
        ("stretch", np.s_[:, :], (0, 0)),
        ("crop", np.s_[:, 5:15], (0, 0)),
        ("letterbox", np.s_[:, :], (2, 3)),  # 10 x 20 becomes 5 x 10
    ],
)
def test_pictures_that_are_not_square_become_so_as_is_asked(fit, kept, bars):
    picture = np.random.default_rng(0).integers(1, 256, (10, 20, 3), np.uint8)
    frame = square(picture, 10, fit)
    inner = frame[bars[0] : 10 - bars[1]]
    np.testing.assert_array_equal(inner, resized(picture[kept], *inner.shape[:2]))
    assert (frame[: bars[0]] == 0).all()
    assert (frame[10 - bars[1] :] == 0).all()


def test_the_fit_of_collected_frames_is_kept_and_is_that_of_workers(tmp_path):
    cart = world("CartPole-v1")
    assert (cart.fit, cart.picture) == ("stretch", (400, 600))
    assert cart.fitted("stretch") is cart
    frames = {}
    for fit, workers in (("letterbox", 0), ("letterbox", 1), ("crop", 0)):
        path = tmp_path / f"{fit}-{workers}.h5"
        place = cart.fitted(fit)
        collect(place, path, 2, policy="random", noise=0.0, frame_size=32, seed=0, workers=workers)
        with Dataset.open(path) as dataset:
            assert dataset.attributes["fit"] == fit
            frames[path.stem] = dataset.episode(1)["pixels"]
    np.testing.assert_array_equal(frames["letterbox-0"], frames["letterbox-1"])
    assert (frames["letterbox-0"][:, :5] == 0).all()
    assert (frames["crop-0"][:, :5] == 255).all()
    with pytest.raises(DataError, match="asked to append with fit crop"):
        collect(
            cart.fitted("crop"),
            tmp_path / "letterbox-0.h5",
            3,
            policy="random",
            noise=0.0,
            frame_size=32,
            seed=0,
            mode="append",
        )
    with pytest.raises(DataError, match='unknown fit of CartPole-v1 "cut"'):
        cart.fitted("cut")
    with pytest.raises(DataError, match="its frames are drawn square"):
        world("two-room").fitted("crop")
