"""The tables of the committed results of `lewm compare`, for tables.py."""

from __future__ import annotations

from collections.abc import Callable

from _cells import RESULTS, between, duration, points

from lewm.compare.result import Comparison, Row, read_comparison
from lewm.compare.words import several_versions
from lewm.measures.intervals import Estimate

COLUMNS = (
    "method",
    "seed: solved",
    "interquartile mean",
    "95 % interval",
    "points more than {reference}",
    "p",
    "ms a plan",
    "of {reference}'s",
    "training",
    "trained numbers",
)


def comparison(name: str) -> Callable[[], str]:
    """A function that makes the tables of a comparison, or says that it was not measured."""

    def tables() -> str:
        path = RESULTS / f"compare-{name}-cpu.json"
        return _tables(read_comparison(path)) if path.exists() else "Not measured.\n"

    return tables


def _tables(found: Comparison) -> str:
    lines: list[str] = []
    for world in found.worlds:
        lines += [
            "| " + " | ".join(COLUMNS).format(reference=world.reference_title) + " |",
            "|---" * len(COLUMNS) + "|",
        ]
        for group in world.groups:
            lines.append(f"| **{world.world}: {group.title}** " + "| " * (len(COLUMNS) - 1) + "|")
            lines += [f"| {' | '.join(_cells(row))} |" for row in group.rows]
        lines.append("")
    machine = found.machine
    took = f"in {_time(found.elapsed)}, of {_time(found.seconds)} added up over the processes"
    lines += [f"Measured on {machine['cores']} cores of an {machine['cpu']}, {found.made[:10]}, {took}.", ""]
    lines += [f"{said}\n"] if (said := several_versions(found)) else []
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"


def _cells(row: Row) -> list[str]:
    solved = [
        f"{seed}: {_solved(counts, why)}" for seed, counts, why in zip(row.seeds, row.solved, row.missing, strict=True)
    ]
    return [
        row.title,
        "; ".join(solved),
        "-" if row.success is None else f"{row.success.value:.1%}",
        "-" if row.success is None else between(row.success),
        "" if row.difference is None else points(row.difference),
        "" if row.p_holm is None else _p(row.p_holm),
        "-" if row.seconds_per_plan is None else f"{1000 * row.seconds_per_plan:.1f}",
        "" if row.ratio is None else _ratio(row.ratio),
        "-" if None in row.train_seconds else duration(row.train_seconds),
        _trained(row),
    ]


def _solved(counts: tuple[int, int] | None, missing: str) -> str:
    """The share that a seed solved, or why it is not known."""
    if counts is not None:
        return f"{counts[0] / counts[1]:.1%}"
    return "failed" if "failed" in missing else "not measured"


def _trained(row: Row) -> str:
    """Numbers that are trained with the model, and those that are trained on its latents."""
    if row.parameters is None:
        return "-"
    learnt = row.learnt_parameters or 0
    with_model = row.parameters - learnt - (row.frozen_parameters or 0)
    return f"{with_model:,}" + (f" + {learnt:,} on its latents" if learnt else "")


def _ratio(ratio: Estimate) -> str:
    low, high = ratio.interval_95
    return f"{ratio.value:.2g} ({low:.2g} to {high:.2g})"


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.2g}"
