"""surprise.png: the curve of a whole video, with what was seen at its peaks.

Only a bounded part of a video is kept while it passes: a curve of at most 2048 bins, and pictures of the six highest
peaks.

n points of a curve, Y and X the sides of a picture.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from lewm.figures import figure
from lewm.surprise.trace import Detector, Event, SurpriseTrace

BINS = 2048
PEAKS = 6
FEWEST = 4  # events that the row of pictures has room for at least
NARROWEST = 0.005  # share of the axis that an event is shaded over at least: five pixels
SIDE = 256  # the most pixels a side of a kept picture
RED, GREY, DARK = "#c0392b", "#8a8f98", "#2c3e50"


class Curve:
    """Score over time at a bounded number of points: neighbouring bins are joined when there are too many.

    Each bin keeps the time of its first frame and its highest score.
    """

    def __init__(self) -> None:
        self.width = 1  # frames a bin
        self._rows: list[tuple[float, float]] = []
        self._filled = 0  # frames in the last bin

    def push(self, trace: SurpriseTrace) -> None:
        """Takes the next frames."""
        for time, score in zip(trace.time, trace.score, strict=True):
            row = (float(time), float(score))
            if self._rows and self._filled < self.width:
                self._rows[-1] = _both(self._rows[-1], row)
                self._filled += 1
            else:
                self._rows.append(row)
                self._filled = 1
            if len(self._rows) == BINS and self._filled == self.width:
                self._halve()

    def points(self) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """Times and scores."""
        times, scores = zip(*self._rows, strict=True)
        return np.array(times), np.array(scores)

    def _halve(self) -> None:
        self._rows = [_both(a, b) for a, b in zip(self._rows[::2], self._rows[1::2], strict=True)]
        self.width, self._filled = 2 * self.width, 2 * self.width


def _both(first: tuple[float, float], then: tuple[float, float]) -> tuple[float, float]:
    return first[0], float(np.fmax(first[1], then[1]))


class Peaks:
    """Pictures at the peaks of the events with the highest scores, and pictures one model step before each peak."""

    def __init__(self, frameskip: int) -> None:
        self._recent: collections.deque[np.ndarray] = collections.deque(maxlen=frameskip)
        self._flagged: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by the frame's number
        self.kept: list[tuple[Event, UInt8[np.ndarray, "Y X 3"], UInt8[np.ndarray, "Y X 3"]]] = []

    def push(self, pictures: list[UInt8[np.ndarray, "Y X 3"]], trace: SurpriseTrace) -> None:
        """Takes the next frames."""
        for picture, frame, flagged in zip(pictures, trace.frame, trace.flagged, strict=True):
            small = shrunk(picture)
            if flagged:
                self._flagged[int(frame)] = (self._recent[0], small)
            self._recent.append(small)

    def sort_out(self, ended: list[Event], going_on: Event | None) -> None:
        """Keeps only pictures of the highest events among those that ended, and of the peak of the open event."""
        self.kept += [(event, *self._flagged[event.peak]) for event in ended]
        self.kept = sorted(self.kept, key=lambda kept: -kept[0].score)[:PEAKS]
        self._flagged = {} if going_on is None else {going_on.peak: self._flagged[going_on.peak]}


def shrunk(picture: UInt8[np.ndarray, "Y X 3"]) -> UInt8[np.ndarray, "y x 3"]:
    """Every k-th pixel, so that no side is longer than 256."""
    step = -(-max(picture.shape[:2]) // SIDE)
    return picture[::step, ::step].copy()


def draw_surprise(
    path: Path,
    name: str,
    curve: Curve,
    peaks: Peaks,
    events: Sequence[Event],
    detector: Detector,
    how: str,
    fps: float | None,
) -> None:
    """The score over time, all events shaded, and the pictures at the highest peaks in order of time.

    Args:
        how: How surprise was measured.
        fps: Frames a second; None where times are numbers of frames.
    """
    kept = sorted(peaks.kept, key=lambda kept: kept[0].begin)
    shown = [event for event, *_ in kept]
    with figure(path, 11.0, 3.8 + 1.9 * bool(kept)) as drawn:
        upper, lower = drawn.subfigures(2, 1, height_ratios=(2, 1 if kept else 1e-3))
        panel = upper.subplots()
        _draw_curve(panel, curve, detector, shown)
        _shade(panel, events, 1 / fps if fps else 1.0)
        panel.set_xlabel("seconds" if fps else "frame")
        count = {0: "no event", 1: "one event"}.get(len(events), f"{len(events):,} events")
        some = f", pictured the {len(kept)} highest" if len(kept) < len(events) else ""
        upper.suptitle(f"{Path(name).name}: {count}{some}; actions {how}", fontsize=11)
        if kept:
            panels = lower.subplots(1, 2 * max(FEWEST, len(kept)))
            for panel in panels:
                panel.set_axis_off()
            for number, (event, before, peak) in enumerate(kept):
                left, right = panels[2 * number : 2 * number + 2]
                left.imshow(before, interpolation="nearest")
                left.set_title(f"{number + 1}  before", fontsize=9, color=GREY)
                right.imshow(peak, interpolation="nearest")
                moment = f"{event.peak_time:.4g} s" if fps else f"frame {event.peak}"
                right.set_title(moment, fontsize=9, color=RED)


def _draw_curve(panel: Any, curve: Curve, detector: Detector, events: Sequence[Event]) -> None:  # noqa: ANN401
    """The score, the threshold and the numbers of the events that are pictured."""
    times, scores = curve.points()
    lowest, highest = score_limits(scores, detector.threshold)
    panel.fill_between(times, lowest, np.maximum(scores, lowest), color=DARK, alpha=0.15, linewidth=0)
    panel.plot(times, np.maximum(scores, lowest), color=DARK, linewidth=1.2)
    panel.axhline(detector.threshold, color=RED, linewidth=1, linestyle="--")
    panel.annotate(
        f"{detector.alpha:.3g} of clean frames lie above",
        (0, detector.threshold),
        xycoords=("axes fraction", "data"),
        xytext=(4, 4),
        textcoords="offset points",
        color=RED,
        fontsize=8,
    )
    for number, event in enumerate(events):
        panel.annotate(
            str(number + 1),
            (event.peak_time, event.score),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=RED,
            weight="bold",
        )
    panel.set(yscale="log", ylabel="surprise, in units of the\n99 % quantile of clean frames")
    panel.yaxis.set_major_formatter(lambda score, _: f"{score:g}")
    panel.set(xlim=(times[0], max(times[-1], times[0] + 1e-9)), ylim=(lowest, highest))


def score_limits(scores: Float64[np.ndarray, " n"], threshold: float) -> tuple[float, float]:
    """The ends of a logarithmic axis: above all scores there is room for a number; at most one in a hundred is below.

    A few frames that were predicted very well would else press all others together.
    """
    positive = scores[np.nan_to_num(scores) > 0]
    usual = float(np.quantile(positive, 0.01)) if len(positive) else threshold
    lowest = min(max(1e-3, usual / 1.5), threshold / 10)
    highest = float(np.nanmax(scores, initial=threshold))
    return lowest, highest * max(2.0, (highest / lowest) ** 0.12)


def _shade(panel: Any, events: Sequence[Event], frame: float) -> None:  # noqa: ANN401
    """Shades every event over the whole height; the axis of time has its limits already."""
    first, last = panel.get_xlim()
    spans = [shaded(event, frame, NARROWEST * (last - first)) for event in events]
    panel.broken_barh(
        spans, (0, 1), facecolor=RED, alpha=0.18, linewidth=0, transform=panel.get_xaxis_transform(), zorder=0.5
    )
    panel.set_xlim(first, last)


def shaded(event: Event, frame: float, narrowest: float) -> tuple[float, float]:
    """Where the shade of an event begins, and its width: half a frame more on each side, and at least `narrowest`."""
    middle = (event.begin_time + event.end_time) / 2
    width = max(event.end_time - event.begin_time + frame, narrowest)
    return middle - width / 2, width
