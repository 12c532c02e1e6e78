"""At which rate a video is read."""

from __future__ import annotations

import math

from lewm.checkpoints.run import Recorded
from lewm.errors import LewmError
from lewm_data.convert.sampling import differ
from lewm_data.video.sources import Source


def rate_of(source: Source, recorded: Recorded) -> float | None:
    """The rate at which a video is read: that of the training's data. None means every frame.

    Raises:
        LewmError: An episode of a dataset was recorded at another rate.
    """
    if recorded.fps is None:
        return None
    if source.steps_per_second is not None and differ(source.steps_per_second, recorded.fps):
        raise LewmError(
            f"{source.name}: has {source.steps_per_second:.4g} steps a second, the training's data {recorded.fps:.4g}",
            'Make its dataset with the same --fps: see "lewm data convert --help".',
        )
    return recorded.fps if source.fps is not None and differ(source.fps, recorded.fps) else None


def expected_frames(source: Source, fps: float | None, stop: float | None) -> int | None:
    """How many frames are read of a source at a rate, or all if that is None; an estimate, where there is one.

    Args:
        stop: Time in seconds at which reading ends; None means the end of the source.
    """
    count, rate = source.count, fps or source.fps
    if count is None or rate is None:
        return count
    if fps is not None and source.fps is not None:
        count = 1 + int((count - 1) * fps / source.fps + 1e-9)
    return count if stop is None else min(count, math.ceil(stop * rate - 1e-9))
