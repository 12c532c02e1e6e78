"""At which rate a video is read."""

from __future__ import annotations

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


def expected_frames(source: Source, fps: float | None) -> int | None:
    """How many frames are read of a source at a rate, or all if that is None; an estimate, where there is one."""
    if source.count is None or fps is None or source.fps is None:
        return source.count
    return 1 + int((source.count - 1) * fps / source.fps + 1e-9)
