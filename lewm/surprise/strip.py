"""The strip under an annotated video: the last scores on a logarithmic axis, with the threshold and flagged frames.

It is drawn twice as large as it is shown, so that lines and letters are smooth. Y and X are its sides.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

HEIGHT = 160  # pixels; an even number
SHOWN = 120  # the most frames that are shown
LEFT, RIGHT, TOP, BOTTOM = 46.0, 16.0, 30.0, 24.0  # pixels around the axes
BASELINE = 20.0  # row on which the words above the axes stand
DRAWN = 2  # how many times as large it is drawn
NARROWEST = 3.0  # pixels that a single flagged frame is shaded over at least
TICKS = 5  # the most labels of the time axis
LOWEST, HIGHEST = -3, 5  # decades that the axis has at most; a perfect prediction has a score of 0
USUAL = (-2, 1)  # decades that it has at least
INK, PAPER, GREY, PALE, RED, ROSE = "#2c3e50", "#ffffff", "#7f858d", "#e6e8eb", "#c0392b", "#f6d5d1"


class Strip:
    """The last scores, and how they look.

    Args:
        threshold: The score above which a frame is flagged.
        alpha: The share of clean frames whose score is higher.
        rate: Frames a second; None where times are numbers of frames.
        frames: How many frames there will be, if that is known.
    """

    def __init__(self, threshold: float, alpha: float, rate: float | None, frames: int | None) -> None:
        self.threshold, self.alpha, self.rate = threshold, alpha, rate
        self.shown = min(SHOWN, max(2, frames or SHOWN))
        self.recent: collections.deque[tuple[float, float, bool]] = collections.deque(maxlen=self.shown)

    def push(self, time: float, score: float, flagged: bool) -> None:
        """Takes the next frame; the score is NaN where it has none."""
        self.recent.append((time, score, flagged))

    def drawn(self, width: int) -> UInt8[np.ndarray, "Y X 3"]:
        """The strip as it is now; at least one frame has been taken."""
        from PIL import Image, ImageDraw

        canvas = Image.new("RGB", (DRAWN * width, DRAWN * HEIGHT), PAPER)
        axes = _Axes(ImageDraw.Draw(canvas), width, self.shown, self.decades())
        times, scores, flags = zip(*self.recent, strict=True)
        for place, flagged in enumerate(flags):
            if flagged:
                axes.shade(float(place))
        for decade in range(axes.low, axes.high + 1):
            axes.line([(0.0, 10.0**decade), (1.0, 10.0**decade)], PALE, 1)
            axes.text(LEFT - 6, axes.y(10.0**decade), f"{10.0**decade:g}", GREY, "rm")
        for at, label in self._ticks(times[0]):
            axes.text(axes.x(at), HEIGHT - BOTTOM + 5, label, GREY, "mt")
        axes.line([(0.0, self.threshold), (1.0, self.threshold)], RED, 1)
        points = [(place / (self.shown - 1), score) for place, score in enumerate(scores)]
        segments = list(zip(itertools.pairwise(points), flags[1:], strict=True))  # each in the colour of its later end
        for flagged, run in itertools.groupby(segments, key=lambda segment: segment[1]):
            ends = [end for end, _ in run]
            axes.line([ends[0][0], *(later for _, later in ends)], RED if flagged else INK, 2)
        axes.cursor(points[-1], RED if flags[-1] else INK)
        axes.text(LEFT, BASELINE, "surprise", INK, "ls", 14)
        axes.text(LEFT + 62, BASELINE, f"red line: {self.alpha:.3g} of clean frames lie above", RED, "ls")
        now = f"{times[-1]:.1f} s" if self.rate else f"frame {times[-1]:.0f}"
        axes.text(width - RIGHT, BASELINE, f"flagged  {now}" if flags[-1] else now, RED if flags[-1] else INK, "rs", 14)
        return np.asarray(canvas.reduce(DRAWN))

    def decades(self) -> tuple[int, int]:
        """The exponents of 10 between which the axis lies: it holds the threshold and all scores that are shown."""
        finite = [score for _, score, _ in self.recent if not math.isnan(score)]
        exponents = [math.log10(min(max(score, 10.0**LOWEST), 10.0**HIGHEST)) for score in (*finite, self.threshold)]
        return min(USUAL[0], math.floor(min(exponents))), max(USUAL[1], math.ceil(max(exponents)))

    def _ticks(self, first: float) -> Iterator[tuple[float, str]]:
        """Places and labels of round times."""
        rate = self.rate or 1.0  # places a unit of time
        length = (self.shown - 1) / rate
        step = next(step for step in _round_steps() if length / step <= TICKS)
        for number in range(math.ceil(first / step), math.floor((first + length) / step) + 1):
            yield (number * step - first) * rate, f"{number * step:.4g}" + (" s" if self.rate else "")


def _round_steps() -> Iterator[float]:
    for exponent in range(-3, 12):
        for step in (1, 2, 5):
            yield step * 10.0**exponent


@functools.cache
def _font(size: int) -> Any:  # noqa: ANN401
    from PIL import ImageFont

    return ImageFont.load_default(size)


class _Axes:
    """Draws between axes: x in places of frames, y in scores."""

    def __init__(self, draw: Any, width: int, shown: int, decades: tuple[int, int]) -> None:  # noqa: ANN401
        self.draw, self.width, self.shown = draw, width, shown
        self.low, self.high = decades

    def x(self, place: float) -> float:
        """Column of a frame, by its place among those that are shown."""
        return LEFT + place / (self.shown - 1) * (self.width - LEFT - RIGHT)

    def y(self, score: float) -> float:
        """Row of a score."""
        exponent = math.log10(max(score, 10.0**self.low))
        share = (min(exponent, self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def line(self, points: list[tuple[float, float]], colour: str, thick: int) -> None:
        """A line through points, which are shares of the width and scores; those without a score are left out."""
        scored = [(share, score) for share, score in points if not math.isnan(score)]
        at = [(DRAWN * self.x(share * (self.shown - 1)), DRAWN * self.y(score)) for share, score in scored]
        if len(at) > 1:
            self.draw.line(at, colour, DRAWN * thick, joint="curve")

    def shade(self, place: float) -> None:
        """A band over the whole height at a frame, wide enough to be seen."""
        half = max(NARROWEST, (self.width - LEFT - RIGHT) / (self.shown - 1)) / 2
        left, right = max(LEFT, self.x(place) - half), min(self.width - RIGHT + half, self.x(place) + half)
        self.draw.rectangle([DRAWN * left, DRAWN * TOP, DRAWN * right, DRAWN * (HEIGHT - BOTTOM)], ROSE)

    def cursor(self, point: tuple[float, float], colour: str) -> None:
        """A vertical line at the present frame, and a dot where it has a score."""
        share, score = point
        x = DRAWN * self.x(share * (self.shown - 1))
        self.draw.line([x, DRAWN * TOP, x, DRAWN * (HEIGHT - BOTTOM)], GREY, DRAWN)
        if not math.isnan(score):
            y, radius = DRAWN * self.y(score), DRAWN * 4
            self.draw.ellipse([x - radius, y - radius, x + radius, y + radius], colour)

    def text(self, x: float, y: float, text: str, colour: str, anchor: str, size: int = 11) -> None:
        """A line of text whose `anchor`, in Pillow's letters, lies at x and y."""
        self.draw.text((DRAWN * x, DRAWN * y), text, colour, _font(DRAWN * size), anchor=anchor)
