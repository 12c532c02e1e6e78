"""The tables that `lewm compare` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lewm_cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.compare.result import Comparison, Row, WorldResult
    from lewm.measures.intervals import Estimate


def tables(comparison: Comparison) -> Iterator[Table | str]:
    """A table for each group of each world, what is missing, and what the columns are."""
    from lewm.compare.reading import briefly
    from lewm.compare.words import missing_of, several_versions

    if said := several_versions(comparison):
        yield said
    for world in comparison.worlds:
        for group in world.groups:
            found = output.plain_table(
                group.title, "solved", "its 95 %", "difference", "its 95 %", "p", "decision", "ratio", "training"
            )
            found.title, found.title_justify = _title(world), "left"
            for row in group.rows:
                found.add_row(*_cells(row))
            yield found
    yield from sorted({f"{title}, seed {seed}: {why}" for _, title, seed, why in missing_of(comparison)})
    yield briefly()


def _title(world: WorldResult) -> str:
    return (
        f"{world.world}: {world.tasks} tasks a seed, goals {world.goal_offset} steps ahead, {world.budget} allowed; "
        f"compared with {world.reference_title}"
    )


def _cells(row: Row) -> list[str]:
    from lewm.compare import words

    return [
        words.titled(row),
        "" if row.success is None else f"{row.success.value:.1%}",
        _interval(row.success),
        "" if row.difference is None else f"{100 * row.difference.value:+.1f}",
        _interval(row.difference),
        "" if row.p_holm is None else words.p_value(row.p_holm),
        words.seconds(row.seconds_per_plan),
        "" if row.ratio is None else f"{row.ratio.value:.3g}",
        words.seconds(words.mean(row.train_seconds)),
    ]


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    low, high = (100 * end for end in estimate.interval_95)
    return f"{low:.1f} to {high:.1f}"
