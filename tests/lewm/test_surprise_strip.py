"""The strip under an annotated video: what happened is seen, whatever the range of the scores."""

import numpy as np
import pytest

from lewm.surprise import strip as strips
from lewm.surprise.strip import HEIGHT, SHOWN, Strip

WIDTH = 480
TOP, BOTTOM = int(strips.TOP), int(strips.BOTTOM)


def strip_of(scores, flagged=(), rate=10.0, frames=None, threshold=1.2):
    strip = Strip(threshold, 0.01, rate, frames)
    for frame, score in enumerate(scores):
        strip.push(frame / (rate or 1), score, frame in flagged)
    return strip


def colour(pixels, name):
    """Where the pixels have a colour of the strip."""
    red, green, blue = (int(name[i : i + 2], 16) for i in (1, 3, 5))
    return (np.abs(pixels.astype(int) - [red, green, blue]) < 12).all(axis=-1)


def test_an_event_of_a_single_frame_is_shaded_over_the_whole_height():

    def rose(strip):
        return colour(strip.drawn(WIDTH)[TOP + 2 : HEIGHT - BOTTOM - 2], strips.ROSE)

    for frame in (0, 60, SHOWN - 1):
        shade = rose(strip_of([0.1] * SHOWN, {frame}))
        assert (shade.mean(axis=0) > 0.8).sum() >= (
            2 if frame in (0, SHOWN - 1) else 3
        )  # half of it lies beyond the axis there
        assert shade.any(axis=1).mean() > 0.9
    assert (rose(strip_of([0.1] * SHOWN)).mean(axis=0) < 0.1).all()


@pytest.mark.parametrize("largest", [3.0, 900.0, 1e5])
def test_small_scores_are_seen_beside_a_large_one_and_the_large_one_is_not_cut(largest):
    scores = [0.05, 0.2] * 50 + [largest, largest / 3]
    strip = strip_of(scores)
    low, high = strip.decades()
    assert 10.0**low <= 0.05
    assert 10.0**high >= largest
    drawn = strip.drawn(WIDTH)
    ink = colour(drawn[TOP : HEIGHT - BOTTOM], strips.INK)
    rows = np.flatnonzero(ink[:, 60:300].any(axis=1))
    assert rows.max() - rows.min() >= 6, "the curve is not flat"
    assert np.flatnonzero(ink.any(axis=1)).min() < 0.4 * (HEIGHT - TOP - strips.BOTTOM), "the large one stands out"


def test_the_axis_comes_back_when_the_large_score_has_passed():
    strip = strip_of([5000.0] + [0.1] * (SHOWN - 1))
    assert strip.decades()[1] == 4
    strip.push(12.0, 0.1, False)
    assert strip.decades() == (-2, 1)


def test_scores_that_an_axis_cannot_hold_are_drawn_at_its_ends():
    strip = strip_of([np.nan, np.nan, 0.0, 1e300, np.inf, 1e-300], {3, 4})
    assert strip.decades() == (strips.LOWEST, strips.HIGHEST)
    assert strip.drawn(WIDTH).shape == (HEIGHT, WIDTH, 3)
    assert strip_of([np.nan] * 3).drawn(WIDTH + 2).shape == (HEIGHT, WIDTH + 2, 3)


def test_the_present_is_marked_where_the_curve_ends_and_a_short_video_takes_the_whole_width():
    for frames, end in ((None, 0.5), (60, 1.0)):
        drawn = strip_of([0.1] * 60, frames=frames).drawn(WIDTH)
        cursor = colour(drawn[TOP + 3 : TOP + 20], strips.GREY).all(axis=0)
        (column,) = {int(np.median(np.flatnonzero(cursor)))}
        axis = WIDTH - strips.LEFT - strips.RIGHT
        assert (column - strips.LEFT) / axis == pytest.approx(end, abs=0.02)


def test_times_are_seconds_or_numbers_of_frames():
    def said(strip):
        texts = []
        text = strips._Axes.text
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strips._Axes, "text", lambda self, *all_of: texts.append(all_of[2]) or text(self, *all_of))
            strip.drawn(WIDTH)
        return texts

    clocked = said(strip_of([0.1] * 41, {40}))
    assert {"flagged  4.0 s", "0 s", "5 s", "10 s", "0.01", "1", "10"} <= set(clocked)
    assert "red line: 0.01 of clean frames lie above" in clocked
    assert {"frame 40", "0", "50", "100"} <= set(said(strip_of([0.1] * 41, rate=None)))
