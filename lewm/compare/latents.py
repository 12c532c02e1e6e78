"""The figures of latents in a comparison: how they collapse over training, and how they lie at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lewm.compare import words
from lewm.compare.result import Row, WorldResult
from lewm.page import elements, forest
from lewm.page.chart import Axes, Line, Style, kept_chart
from lewm.page.shelf import Shelf

COLLAPSED: tuple[Style, ...] = ("other", "third", "theirs")  # the styles of methods that collapsed, beside "ours"


def collapse(world: WorldResult, shelf: Shelf) -> str:
    """The spread of the latents over training, of the reference and of the methods that collapsed."""
    rows = _each_run(words.named_rows(world))
    collapsed = [(name, row) for name, row in rows if words.collapses(name, row)]
    if not any(any(row.curve) for _, row in rows):
        return ""
    if not collapsed:
        return elements.paragraph("The latents of no finished training in this world were collapsed at its end.")
    told = " ".join(words.collapses(*one) for one in collapsed)
    others = [one for one in collapsed if one[1].method != world.reference]
    drawn = zip(COLLAPSED, others, strict=False)
    shown: list[tuple[Style, str, Row]] = [
        *(("ours", name, row) for name, row in rows if row.method == world.reference and any(row.curve)),
        *((style, name, row) for style, (name, row) in drawn),
    ]
    figures = [
        kept_chart(
            shelf,
            f"collapse-{name}",
            title,
            [line for style, label, row in shown for line in _course(label, row, at, style)],
            Axes(powers=powers),
        )
        for at, name, title, powers in (
            (1, "std", "Mean standard deviation of the latents, held-out data", True),
            (2, "rank", "Effective rank of the latents, held-out data", False),
        )
    ]
    key = elements.key([(style, label) for style, label, _ in shown])
    if len(others) > len(COLLAPSED):
        told += f" The first {len(COLLAPSED)} of these {len(others)} methods are drawn."
    told += " A dot is where the collapse set in."
    return elements.paragraph(told) + elements.grid(figures, "pairs") + key


def _course(name: str, row: Row, at: int, style: Style) -> list[Line]:
    """A line for each seed, of this place in `Row.curve`, and a dot where the collapse set in."""
    lines = []
    for seed, curve, collapsed in zip(row.seeds, row.curve, row.collapsed_at, strict=True):
        points = tuple((float(point[0]), float(point[at])) for point in curve)
        lines.append(Line(points, style, f"{name}, seed {seed}", marks="none"))
        onset = tuple(point for point in points if point[0] == collapsed)
        if onset:
            lines.append(Line(onset, style, f"{name}, seed {seed}, collapse sets in", marks="alone"))
    return lines


def embeddings(world: WorldResult, shelf: Shelf) -> str:
    """Spread, effective rank and coverage at the end, a row for each training; empty where nothing is known."""
    rows = [(name, row) for name, row in _each_run(words.named_rows(world)) if any(row.embeddings)]
    if not rows:
        return ""
    normal = words.mean(
        [value for _, row in rows for value in embedded(row, "cover_used", "mutual_coverage_of_normal", "value")]
    )
    marks = () if normal is None else ((100 * normal, "bound"),)
    spread = (
        forest.Track("Standard deviation", digits=3, low=0.0),
        forest.Track("Effective rank", low=0.0),
    )
    cover = (
        forest.Track("Mutual coverage in all directions", "%", low=0.0, high=100.0),
        forest.Track("In those that are used", "%", low=0.0, high=100.0, marks=marks),
    )
    of_spread, of_cover = [], []
    for name, row in rows:
        title = f"{name}, collapsed" if words.collapses(name, row) else name
        deviations = [None if one is None else one**0.5 for one in embedded(row, "mean_variance")]
        shares = [
            [_percent(one) for one in embedded(row, which, "mutual_coverage", "value")]
            for which in ("cover", "cover_used")
        ]
        measured = (deviations, embedded(row, "effective_rank"))
        of_spread.append(forest.Row(title, tuple(_span(one, row, world) for one in measured), "-"))
        of_cover.append(forest.Row(title, tuple(_span(one, row, world) for one in shares), "-"))
    told = "of held-out frames: the mean of the seeds, and the least and the greatest of them"
    key = (
        ""
        if normal is None
        else elements.key([("bound", f"samples of N(0, I) themselves, in the directions that are used: {normal:.1%}")])
    )
    return (
        forest.forest(shelf, "embeddings", f"Spread of the embeddings {told}", of_spread, spread)
        + forest.forest(shelf, "embeddings-cover", f"Coverage of the embeddings {told}", of_cover, cover)
        + key
    )


def _each_run(rows: Sequence[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """The first of the named rows with the same runs, which differ in planning alone; none that needs no run."""
    found: dict[tuple[str | None, ...], tuple[str, Row]] = {}
    for name, row in rows:
        if any(row.runs) and not words.is_bound(row):
            found.setdefault(row.runs, (name, row))
    return list(found.values())


def embedded(row: Row, *keys: str) -> list[float | None]:
    """A number of each seed's embeddings; None where it is not known, as in runs of other versions."""
    values: list[float | None] = []
    for one in row.embeddings:
        value: Any = one
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        values.append(float(value) if isinstance(value, int | float) else None)
    return values


def _span(values: Sequence[float | None], row: Row, world: WorldResult) -> forest.Bar | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    style: Style = "ours" if row.method == world.reference else "other"
    return forest.Bar(sum(known) / len(known), (min(known), max(known)), style)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
