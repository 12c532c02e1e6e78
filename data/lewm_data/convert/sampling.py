"""Rows of an episode at another rate.

Letters: R recorded rows, K rows that are taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from lewm_data.errors import DataError, unknown
from lewm_data.store.schema import ACTION, REWARD

HOLD, MEAN, SUM = "hold", "mean", "sum"
RESAMPLINGS = (HOLD, MEAN, SUM)
SLACK = 0.25  # of a recorded row: clocks of recorders jitter, and times are rounded
GAP = 2.0  # times the usual distance of two rows, from which on rows are missing between them
MOST_STEPS = 100  # a row, on average: a recording has gaps, but is not a hundred times longer than its rows
FASTER = 1.01  # how much faster than recorded one may ask for, because recorders round their rates


def rate_of(times: Float64[np.ndarray, " R"]) -> float:
    """Rows a second, by the mean distance of neighbouring times; gaps in a recording do not count."""
    steps = np.diff(times)
    return float(1 / steps[steps < GAP * np.median(steps)].mean())


def differ(rate: float, other: float) -> bool:
    """Whether two rates differ by more than recorders round them."""
    return max(rate, other) > FASTER * min(rate, other)


def rows_at(times: Float64[np.ndarray, " R"], fps: float, zero: float | None = None) -> Int64[np.ndarray, " K"]:
    """The row that is in force at each of the times k / fps after `zero`, up to the last row's.

    Args:
        times: The time of each row in seconds.
        fps: Rows a second.
        zero: Where k counts from; None means the first row. The first row is in force before it, too.

    Raises:
        DataError: There are fewer rows a second than are asked for.
    """
    if len(times) < 2:
        return np.arange(len(times))
    recorded = rate_of(times)
    if fps > FASTER * recorded:
        raise DataError(
            f"{recorded:.4g} rows a second were recorded, {fps:g} are asked for", f"Give --fps {recorded:.4g} or less."
        )
    if zero is None and fps * FASTER >= recorded:
        return np.arange(len(times))
    slack = SLACK / recorded
    zero = float(times[0]) if zero is None else zero
    count = int((times[-1] - zero + slack) * fps) + 1
    if count > MOST_STEPS * len(times):
        raise DataError(
            f"times from {zero:g} to {times[-1]:g} s have {count:,} steps, and there are {len(times)} rows",
            "Check the column of times, and its unit.",
        )
    return np.maximum(np.searchsorted(times, zero + np.arange(count) / fps + slack, side="right") - 1, 0)


def resampled(
    columns: Mapping[str, Shaped[np.ndarray, "R ..."]], rows: Int64[np.ndarray, " K"], how: str
) -> dict[str, Shaped[np.ndarray, "K ..."]]:
    """The columns at `rows`, with the actions from each to the next made into one.

    Where a row is taken several times, because rows after it are missing, what is added is added at the last time.

    Args:
        columns: All recorded rows. "action" may have a row less.
        rows: Rows that are taken, ascending.
        how: How actions become one: "hold" takes the first, "mean" their mean, "sum" their sum. Rewards are added.

    Raises:
        DataError: There is no such way.
    """
    if how not in RESAMPLINGS:
        raise unknown("way of resampling actions", how, RESAMPLINGS)
    found = {}
    for name, values in columns.items():
        if name not in (ACTION, REWARD) or (name == ACTION and how == HOLD):
            found[name] = values[np.minimum(rows, len(values) - 1)]
            continue
        begins = np.minimum(rows, len(values) - 1)
        sums = np.add.reduceat(values.astype(np.float64), begins, axis=0)  # one value where the next begins there, too
        counts = np.diff(np.append(begins, len(values)))
        if name == ACTION and how == MEAN:
            sums = sums / np.maximum(counts, 1).reshape(-1, *[1] * (values.ndim - 1))
        else:
            sums[counts == 0] = 0
        found[name] = sums.astype(values.dtype)
    return found
