"""Times that a recorder wrote, in seconds.

Letters: R rows, T pictures of a video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from lewm_data.convert.roles import UNIT
from lewm_data.errors import DataError

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # seconds
NAMED = {
    **dict.fromkeys(("s", "sec", "secs", "seconds"), "s"),
    **dict.fromkeys(("ms", "millis"), "ms"),
    **dict.fromkeys(("us", "micros"), "us"),
    **dict.fromkeys(("ns", "nanos"), "ns"),
}
SLOWEST_STEP = 5.0  # seconds between two rows of pictures; what seems longer is in a smaller unit
SAME_SPAN = 30.0  # a table and its video are of the same recording where their lengths differ by less than this factor


@dataclass(frozen=True)
class Clock:
    """How the times of a source are understood, the same for all its recordings.

    Attributes:
        column: The column that they are in.
        unit: Their unit.
        relative: Whether they count from the first row; else from the first picture of the video.
    """

    column: str
    unit: str
    relative: bool

    def in_words(self) -> str:
        """What was assumed."""
        zero = "the first row" if self.relative else "the first picture"
        return f"column {self.column}, in {self.unit} from {zero} on"

    def seconds(self, where: Path, stamps: Float64[np.ndarray, " R"]) -> Float64[np.ndarray, " R"]:
        """Times in seconds.

        Raises:
            DataError: They are not finite, or do not ascend.
        """
        wrong = ~np.isfinite(stamps)
        if wrong.any():
            raise DataError(
                f"{where}: the time in column '{self.column}' is no number at row {wrong.argmax()}, counted from 0",
                "Correct it.",
            )
        backwards = np.diff(stamps) <= 0
        if backwards.any():
            raise DataError(
                f"{where}: the time in column '{self.column}' does not ascend at row {backwards.argmax() + 1}, counted "
                "from 0",
                "Sort or correct it.",
            )
        seconds = stamps * UNITS[self.unit]
        return seconds - seconds[0] if self.relative else seconds


def clock_of(where: Path, column: str, stamps: Float64[np.ndarray, " R"], duration: float | None) -> Clock:
    """How the times of a table are understood.

    The unit is the one in the column's name ("time_ms"). Where there is none, it is that in which the table is about as
    long as its video. Times that begin within the length of the video, before or after its first picture, count from
    that picture; others, such as the time of day, from the first row.

    Args:
        where: The table, for errors.
        column: The column.
        stamps: Its numbers.
        duration: Seconds of the video; None where they are not known, which counts as the length of the table.

    Raises:
        DataError: In no unit are table and video about as long.
    """
    span = float(stamps[-1] - stamps[0]) if len(stamps) > 1 else 0.0
    named = UNIT.search(column.lower())
    unit = None if named is None else NAMED[named[1]]
    if unit is None and (duration is None or span <= 0):
        step = span / max(len(stamps) - 1, 1)
        unit = next((one for one, seconds in UNITS.items() if step * seconds <= SLOWEST_STEP), "ns")
    if unit is None:
        assert duration is not None
        apart = {one: abs(math.log(span * seconds / duration)) for one, seconds in UNITS.items()}
        unit = min(apart, key=lambda one: apart[one])
        if apart[unit] > math.log(SAME_SPAN):
            raise DataError(
                f"{where}: column '{column}' spans {span:g}, the video {duration:.2f} s: the unit is not known",
                f"Name the unit at the end of the column's name, for example {column}_ms.",
            )
    begin = float(stamps[0]) * UNITS[unit] if len(stamps) else 0.0
    length = span * UNITS[unit] if duration is None else duration
    return Clock(column, unit, not -length < begin < length)
