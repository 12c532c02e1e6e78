"""Surprise over time: scores and p-values of frames, and the events that flagged frames merge into.

n frames, D latent width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lewm.surprise.calibration import WINDOW, Calibration, windowed
from lewm.surprise.meter import Meter


@dataclass(frozen=True)
class SurpriseTrace:
    """Consecutive frames of a video. Scores are NaN for the first frames, whose context is not complete.

    Attributes:
        frame: Numbers of the frames, from 0.
        time: Seconds from the beginning, or the frame's number where the video has no clock.
        surprise: Mean squared error of the predicted embedding; without actions, the least over actions.
        windowed: Its mean over three model steps.
        score: The larger of the two, each in units of its 99 % quantile on clean frames.
        p_value: Share of clean frames that are at least as surprising, where every clean episode counts alike.
        flagged: Whether the p-value is at most alpha.
    """

    frame: Int64[np.ndarray, " n"]
    time: Float64[np.ndarray, " n"]
    surprise: Float64[np.ndarray, " n"]
    windowed: Float64[np.ndarray, " n"]
    score: Float64[np.ndarray, " n"]
    p_value: Float64[np.ndarray, " n"]
    flagged: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Event:
    """Flagged frames that follow one another with gaps of less than a model step.

    A sudden change is seen for as long as the window spans it, so an event may outlast its cause by three model steps.

    Attributes:
        begin, end, peak: Numbers of frames; the peak has the highest score.
        begin_time, end_time, peak_time: The times of these frames, in seconds.
        surprise, p_value: Surprise and p-value at the peak.
        score: Score at the peak.
    """

    begin: int
    end: int
    peak: int
    begin_time: float
    end_time: float
    peak_time: float
    surprise: float
    p_value: float
    score: float


class Detector:
    """Turns the latents of a video, in order, into a trace.

    Args:
        meter: Scores the latents.
        calibration: Calibration of scores that were made in the same way.
        alpha: Share of clean frames that are flagged: false alarms.
    """

    def __init__(self, meter: Meter, calibration: Calibration, alpha: float) -> None:
        self.meter, self.calibration = meter, calibration
        self.alpha, self.threshold = alpha, calibration.threshold(alpha)
        self._recent = np.empty(0)  # surprise that the window still reaches

    def push(self, latents: Float[Tensor, "n D"], times: Float64[np.ndarray, " n"]) -> SurpriseTrace:
        """The trace of the next frames."""
        first, frameskip = self.meter.seen, self.meter.frameskip
        surprise = self.meter.push(latents).double().cpu().numpy()
        together = np.concatenate([self._recent, surprise])
        mean = windowed(together, frameskip)[len(self._recent) :]
        self._recent = together[-(WINDOW - 1) * frameskip :]
        score = self.calibration.combined(surprise, mean)
        p_value = self.calibration.p_value(score)
        flagged = np.nan_to_num(p_value, nan=1.0) <= self.alpha
        return SurpriseTrace(first + np.arange(len(times)), times, surprise, mean, score, p_value, flagged)


class EventMerger:
    """Merges the flagged frames of a trace, which comes in pieces, into events."""

    def __init__(self, frameskip: int) -> None:
        self.frameskip = frameskip
        self.open: Event | None = None

    def push(self, trace: SurpriseTrace) -> list[Event]:
        """The events that ended."""
        ended = []
        for i in np.flatnonzero(trace.flagged):
            now = _event(trace, int(i))
            if self.open is not None and now.begin - self.open.end <= self.frameskip:
                self.open = _joined(self.open, now)
            else:
                ended += self.finish()
                self.open = now
        if self.open is not None and len(trace.frame) and trace.frame[-1] - self.open.end > self.frameskip:
            ended += self.finish()
        return ended

    def finish(self) -> list[Event]:
        """The event that has not ended yet, if there is one."""
        last, self.open = self.open, None
        return [] if last is None else [last]


def _event(trace: SurpriseTrace, i: int) -> Event:
    frame, time = int(trace.frame[i]), float(trace.time[i])
    scores = (float(values[i]) for values in (trace.surprise, trace.p_value, trace.score))
    return Event(frame, frame, frame, time, time, time, *scores)


def _joined(first: Event, then: Event) -> Event:
    peak = then if then.score > first.score else first
    return Event(
        first.begin,
        then.end,
        peak.peak,
        first.begin_time,
        then.end_time,
        peak.peak_time,
        peak.surprise,
        peak.p_value,
        peak.score,
    )
