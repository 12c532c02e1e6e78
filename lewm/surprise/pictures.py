"""surprise.png: the curve of a whole video, with what was seen at its peaks.

Only a bounded part of a video is kept while it passes: a curve of at most 2048 bins, and pictures of the six highest
peaks.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lewm.figures import figure
from lewm.surprise.trace import Detector, Event, SurpriseTrace

BINS = 2048
PEAKS = 6
SIDE = 256  # the most pixels a side of a kept picture
RED, GREY, DARK = "#c0392b", "#8a8f98", "#2c3e50"


class Curve:
    """Score over time at a bounded number of points: neighbouring bins are joined when there are too many.

    Each bin keeps the time of its first frame, its highest score and whether any of its frames was flagged.
    """

    def __init__(self) -> None:
        self.width = 1  # frames a bin
        self._rows: list[tuple[float, float, bool]] = []
        self._filled = 0  # frames in the last bin

    def push(self, trace: SurpriseTrace) -> None:
        """Takes the next frames."""
        for time, score, flagged in zip(trace.time, trace.score, trace.flagged, strict=True):
            row = (float(time), float(score), bool(flagged))
            if self._rows and self._filled < self.width:
                self._rows[-1] = _both(self._rows[-1], row)
                self._filled += 1
            else:
                self._rows.append(row)
                self._filled = 1
            if len(self._rows) == BINS and self._filled == self.width:
                self._halve()

    def points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times, scores and flags."""
        times, scores, flags = zip(*self._rows, strict=True)
        return np.array(times), np.array(scores), np.array(flags)

    def _halve(self) -> None:
        self._rows = [_both(a, b) for a, b in zip(self._rows[::2], self._rows[1::2], strict=True)]
        self.width, self._filled = 2 * self.width, 2 * self.width


def _both(first: tuple[float, float, bool], then: tuple[float, float, bool]) -> tuple[float, float, bool]:
    return first[0], float(np.fmax(first[1], then[1])), first[2] or then[2]


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
    path: Path, name: str, curve: Curve, peaks: Peaks, detector: Detector, how: str, fps: float | None
) -> None:
    """The score over time, flagged stretches shaded, and the pictures at the highest peaks in order of time.

    Args:
        how: How surprise was measured.
        fps: Frames a second; None where times are numbers of frames.
    """
    kept = sorted(peaks.kept, key=lambda kept: kept[0].begin)
    with figure(path, 11.0, 3.4 + 1.7 * bool(kept)) as drawn:
        upper, lower = drawn.subfigures(2, 1, height_ratios=(2, 1 if kept else 1e-3))
        panel = upper.subplots()
        _draw_curve(panel, curve, detector, [event for event, *_ in kept])
        panel.set_xlabel("seconds" if fps else "frame")
        upper.suptitle(f"{Path(name).name}: actions {how}", fontsize=11)
        if kept:
            panels = lower.subplots(1, 2 * PEAKS)
            for panel in panels:
                panel.set_axis_off()
            for number, (event, before, peak) in enumerate(kept):
                left, right = panels[2 * number : 2 * number + 2]
                left.imshow(before, interpolation="nearest")
                left.set_title(f"{number + 1}  before", fontsize=8, color=RED)
                right.imshow(peak, interpolation="nearest")
                moment = f"{event.peak_time:.4g} s" if fps else f"frame {event.peak}"
                right.set_title(moment, fontsize=8, color=RED)


def _draw_curve(panel: Any, curve: Curve, detector: Detector, events: list[Event]) -> None:  # noqa: ANN401
    times, scores, flags = curve.points()
    lowest = max(1e-3, float(np.nanmin(np.where(scores > 0, scores, np.nan), initial=0.5)))
    scores = np.maximum(scores, lowest)
    panel.fill_between(times, lowest, scores, color=DARK, alpha=0.15, linewidth=0)
    panel.plot(times, scores, color=DARK, linewidth=1.2)
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
    height = panel.get_xaxis_transform()
    panel.fill_between(times, 0, 1, where=flags, color=RED, alpha=0.12, linewidth=0, transform=height)
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
    highest = max(detector.threshold, float(np.nanmax(scores)))
    panel.set(xlim=(times[0], max(times[-1], times[0] + 1e-9)), ylim=(lowest, 2 * highest))
