"""Frames that are not square: made square as `fit` says, which training and whatever opens a run say in the same words.

The frames of a dataset and a video of the same recording become the same picture, whoever makes them square.
"""

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lewm
from lewm.checkpoints.run import DatasetIdentity, Recorded, write_config
from lewm.config import Model, resolve
from lewm.evaluation.from_env import read_goal
from lewm.model.frames import fitted, warn_if_reshaped
from lewm.opened_run import open_run
from lewm.training.loop import train
from lewm_data.envs.gymnasium.drawing import square
from lewm_data.store.writer import Writer
from lewm_data.video import fit as of_data
from lewm_data.video.placing import FITS, covering, place

SAID = {
    "crop": "24 x 16 frames are cut to their middle, 16 x 16.",
    "letterbox": "24 x 16 frames get black bars, for the shape 16 x 16.",
    "stretch": "24 x 16 frames are stretched to the shape 16 x 16.",
}


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    with Writer.create(tmp_path / "wide.h5", {"env": "two-room"}) as writer:
        for _ in range(8):
            action = rng.normal(size=(30, 2)).astype(np.float32)
            state = rng.random((30, 2)).astype(np.float32)
            pixels = rng.integers(0, 256, (30, 16, 24, 3), dtype=np.uint8)
            writer.write_episode({"pixels": pixels, "action": action, "state": state})
    return tmp_path / "wide.h5"


@pytest.mark.parametrize("fit", SAID)
def test_training_and_a_run_tell_what_becomes_of_frames(tiny, dataset, tmp_path, caplog, fit):
    warn_if_reshaped.cache_clear()
    config = resolve(tiny, None, {"training.steps": 1, "model.fit": fit})
    train(config, dataset, tmp_path / "run", torch.device("cpu"))
    assert [message for message in caplog.messages if "24 x 16 frames" in message] == [SAID[fit]]
    caplog.clear()
    warn_if_reshaped.cache_clear()  # as if this were another process
    lewm.load(tmp_path / "run")
    assert caplog.messages == [SAID[fit]]


@pytest.mark.parametrize("fit", SAID)
def test_a_goal_picture_too(tmp_path, caplog, fit):
    image = pytest.importorskip("matplotlib.image")
    warn_if_reshaped.cache_clear()
    picture = np.full((16, 24, 3), 200, np.uint8)
    image.imsave(tmp_path / "goal.png", picture)
    goal = read_goal(tmp_path / "goal.png", 16, fit)
    assert caplog.messages == [SAID[fit]]
    black = (goal == 0).all(axis=(1, 2)).sum()
    assert black == (5 if fit == "letterbox" else 0)  # 16 x 24 becomes 11 x 16


def nearest(pixels, size):
    return F.interpolate(pixels, size, mode="nearest")


@pytest.mark.parametrize(
    ("shape", "size", "fit", "rows", "columns", "bars"),
    [  # the rows and columns of the recorded frame that are kept, and the bars (above, below, left, right)
        ((16, 24), (8, 8), "crop", (0, 16), (4, 20), (0, 0, 0, 0)),
        ((24, 16), (8, 8), "crop", (4, 20), (0, 16), (0, 0, 0, 0)),
        ((16, 24), (8, 8), "stretch", (0, 16), (0, 24), (0, 0, 0, 0)),
        ((8, 16), (8, 8), "letterbox", (0, 8), (0, 16), (2, 2, 0, 0)),
        ((16, 8), (8, 8), "letterbox", (0, 16), (0, 8), (0, 0, 2, 2)),
        ((6, 8), (8, 8), "crop", (0, 6), (1, 7), (0, 0, 0, 0)),
        ((12, 16), (6, 8), "crop", (0, 12), (0, 16), (0, 0, 0, 0)),
        ((12, 12), (6, 8), "letterbox", (0, 12), (0, 12), (0, 0, 1, 1)),
    ],
)
def test_what_is_kept_and_where_bars_are(shape, size, fit, rows, columns, bars):
    frames = torch.arange(1, 1 + 3 * shape[0] * shape[1], dtype=torch.float32).reshape(1, 3, *shape)
    found = fitted(frames, size, fit, nearest)
    inner = (size[0] - bars[0] - bars[1], size[1] - bars[2] - bars[3])
    kept = nearest(frames[..., slice(*rows), slice(*columns)], inner)
    expected = torch.zeros(1, 3, *size)
    expected[..., bars[0] : size[0] - bars[1], bars[2] : size[1] - bars[3]] = kept
    assert torch.equal(found, expected)


@pytest.mark.parametrize("fit", SAID)
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 70)])
def test_a_recording_becomes_the_same_frame_in_data_and_model(fit, shape):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (1, 3, 6, 6), dtype=np.uint8)  # smooth, so that filters differ little
    smooth = F.interpolate(torch.from_numpy(coarse).float(), shape, mode="bicubic").clip(0, 255)
    picture = smooth[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    ours = fitted(smooth, (24, 24), fit, lambda x, size: F.interpolate(x, size, mode="bilinear", antialias=True))
    theirs = of_data.fitted(picture, (24, 24), fit)
    difference = (ours[0].permute(1, 2, 0) - torch.from_numpy(theirs).float()).abs()
    assert difference.mean() < 2


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(330, 640), (640, 330), (400, 600), (7, 31), (32, 32), (5, 64), (64, 69)])
def test_worlds_recordings_and_the_model_place_a_picture_alike(fit, shape):
    """The picture is white, so the filled part is; where a corner of what is kept is black, so is that of the frame."""
    size = (32, 32)
    placing = place(shape, size, fit)
    kept = np.zeros(shape, np.bool_)
    kept[placing.kept] = True
    picture = np.full((*shape, 3), 255, np.uint8)
    picture[~kept] = 0  # what is cut off
    expected = np.zeros((*size, 3), np.uint8)
    expected[placing.filled] = 255
    np.testing.assert_array_equal(square(picture, 32, fit), expected)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    np.testing.assert_array_equal(fitted(tensor, size, fit, nearest)[0].permute(1, 2, 0).numpy(), expected)
    decoded = of_data.fitted(picture, size, fit)
    black = (decoded == 0).all(axis=2)
    np.testing.assert_array_equal(black, (expected == 0).all(axis=2))
    if fit != "crop":  # the decoder has resized the whole picture before, so the edges are blurred with what is beside
        np.testing.assert_array_equal(decoded, expected)


def test_a_half_is_rounded_upwards():
    """330 rows of a picture 640 wide are 115.5 of 224; as a quotient of floats they would be 115.49999999999999.

    229 rows of one 448 wide are 114.5, which Python rounds to 114.
    """
    assert place((330, 640), (224, 224), "letterbox").inner == (116, 224)
    assert 330 * (224 / 640) < 115.5 == 330 * 224 / 640
    assert covering((320, 645), (224, 224)) == (224, 452)
    assert place((229, 448), (224, 224), "letterbox").inner == (115, 224)
    assert place((448, 229), (224, 224), "letterbox").inner == (224, 115)
    assert covering((448, 453), (224, 224)) == (224, 227)
    assert covering((448, 449), (224, 224)) == (224, 225)
    large = 2**60 + 2  # floats have no such odd number as the quotient
    assert covering((large, large + 1), (large, large)) == (large, large + 1)


@pytest.mark.parametrize("fit", FITS)
def test_the_sides_of_what_is_kept_have_the_shape_of_what_is_filled(fit):
    rng = np.random.default_rng(0)
    for *shown, rows, columns in rng.integers(1, 300, (500, 4)).tolist():
        shown, size = tuple(shown), (rows, columns)
        placing = place(shown, size, fit)
        kept = tuple(side.stop - side.start for side in placing.kept)
        inside = zip((*placing.kept, *placing.filled), (*shown, *size), strict=True)
        assert all(0 <= part.start < part.stop <= of for part, of in inside)
        assert fit == "crop" or kept == shown
        assert fit == "letterbox" or placing.inner == size
        assert shown != size or (kept, placing.inner) == (shown, size)
        over = covering(shown, size)
        assert all(a >= b for a, b in zip(over, size, strict=True))
        assert size[0] == over[0] or size[1] == over[1]
        if fit == "stretch":
            continue
        # Each side is off by at most half a pixel from that of a picture without distortion, or is one pixel.
        off = kept[0] * placing.inner[1] - kept[1] * placing.inner[0]
        most = (max(placing.inner) if fit == "crop" else max(shown)) / 2
        assert abs(off) <= most or 1 in (*kept, *placing.inner)


def test_the_fits_are_those_of_the_configuration():
    assert get_args(Model.model_fields["fit"].annotation) == FITS == tuple(SAID)


def test_the_data_say_what_they_lose():
    assert of_data.in_words((48, 64), (24, 24), "crop").endswith(
        "25% of each is cut off, left and right (--fit letterbox keeps all)"
    )
    assert of_data.in_words((64, 48), (24, 24), "letterbox").endswith("with black bars left and right")
    assert of_data.in_words((64, 48), (24, 24), "stretch").endswith(", stretched")
    assert of_data.in_words((24, 24), (24, 24), "crop") == "frames of 24 x 24, as recorded"


@pytest.mark.parametrize(
    ("size", "stated", "own", "expected"),
    [
        ((16, 16), "letterbox", "crop", "letterbox"),
        ((16, 16), None, "letterbox", None),
        ((16, 24), "crop", "letterbox", "letterbox"),  # the model makes them square
    ],
)
def test_the_fit_of_a_run_is_that_of_its_frames_or_where_they_are_not_square_the_models(
    tiny, tmp_path, size, stated, own, expected
):
    config = resolve(tiny, None, {"model.fit": own})
    data = DatasetIdentity("/data/a.h5", "ef" * 32, size, 20, "two-room", recorded=Recorded(fit=stated))
    write_config(tmp_path / "run", config, data)
    assert open_run(tmp_path / "run").fit == expected
