"""Cells that several tables of tables.py have."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lewm.measures.intervals import Estimate
from lewm.measures.several_runs import paired_difference, success_over_runs

RESULTS = Path(__file__).resolve().parent / "results"


def load(name: str) -> dict[str, Any]:
    """A report of the committed results, or one without results where it is not there."""
    path = RESULTS / name
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"results": []}
    return report


def success_of(plans: Sequence[dict[str, Any]]) -> Estimate:
    """Success of one agent over training seeds, from what `lewm plan` says of it; of one seed with its own interval."""
    if len(plans) == 1:
        low, high = plans[0]["interval_95"]
        return Estimate(plans[0]["success_rate"], (low, high))
    return success_over_runs([[(plan["successes"], plan["episodes"]) for plan in plans]])


def difference(first: Sequence[str], second: Sequence[str]) -> Estimate:
    """The second agent's success less the first's on the same tasks; a word of letters for each training seed."""
    ones, others = (np.array([list(tasks) for tasks in agent]) == "1" for agent in (first, second))
    return paired_difference(ones, others)


def each_seed(rows: Sequence[dict[str, Any]]) -> str:
    """The success of each training seed."""
    return "; ".join(f"{row['seed']}: {row['plan']['success_rate']:.1%}" for row in rows)


def between(estimate: Estimate) -> str:
    """The interval of a share."""
    low, high = estimate.interval_95
    return f"{low:.1%} to {high:.1%}"


def points(estimate: Estimate) -> str:
    """A difference of shares and its interval, in percentage points."""
    value, low, high = (f"{100 * one:+.1f}".replace("-", "−") for one in (estimate.value, *estimate.interval_95))
    return f"{value} ({low} to {high})"


def duration(seconds: Sequence[float | None]) -> str:
    """The median of several times; a dash where one was not measured."""
    known = [one for one in seconds if one is not None]
    if len(known) < len(seconds):
        return "-"
    median = statistics.median(known)
    return f"{median:.0f} s" if median < 100 else f"{median / 60:.1f} min"


def machines(reports: Iterable[dict[str, Any]]) -> str:
    """Where and when reports were measured."""
    days = {
        f"{report['cores']} cores of an {report['cpu']}, {report['time'][:10]}"
        for report in reports
        if report["results"]
    }
    return f"Measured on {'; '.join(sorted(days))}." if days else "Not measured."
