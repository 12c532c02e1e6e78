"""Times that a recorder wrote, in seconds.

Letters: R rows, T pictures of a video.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from lewm_data.errors import DataError

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # seconds
NAMED = {"s": "s", "sec": "s", "ms": "ms", "millis": "ms", "us": "us", "micros": "us", "ns": "ns", "nanos": "ns"}
SLOWEST_STEP = 5.0  # seconds between two rows; what seems longer is in a smaller unit


def in_seconds(where: Path, stamps: Float64[np.ndarray, " R"], name: str) -> tuple[Float64[np.ndarray, " R"], str]:
    """Times in seconds, and the unit in which they were.

    The unit is the one in the column's name ("time_ms"). Where there is none, it is the largest with which the median
    distance of two rows is at most `SLOWEST_STEP`.

    Raises:
        DataError: They do not ascend.
    """
    if not (np.isfinite(stamps).all() and (np.diff(stamps) > 0).all()):
        row = int((~(np.diff(stamps, prepend=-np.inf) > 0)).argmax())
        raise DataError(
            f"{where}: the time in column '{name}' does not ascend at row {row}, counted from 0", "Sort or correct it."
        )
    unit = NAMED.get(name.lower().rpartition("_")[2])
    if unit is None:
        step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
        unit = next((one for one, seconds in UNITS.items() if step * seconds <= SLOWEST_STEP), "ns")
    return stamps * UNITS[unit], unit


def on_video(seconds: Float64[np.ndarray, " R"], duration: float) -> tuple[Float64[np.ndarray, " R"], bool]:
    """Times from the first picture of a video on, and whether the first row was taken as the first picture.

    Times that begin within the video are from its first picture already; others, such as the time of day, count from
    the first row.
    """
    relative = not 0 <= seconds[0] < duration
    return (seconds - seconds[0] if relative else seconds), relative
