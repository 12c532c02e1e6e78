"""The figures and tables of a comparison's page; each keeps its numbers beside the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lewm.compare import words
from lewm.compare.latents import embedded
from lewm.compare.result import Group, Row, WorldResult
from lewm.measures.intervals import Estimate
from lewm.page import elements, forest
from lewm.page.chart import Axes, Line, Style, kept_chart
from lewm.page.shelf import Shelf, write_csv


def success(group: Group, name: str, world: WorldResult, shelf: Shelf) -> str:
    """A forest plot of success, and of the differences to the reference, with the bounds as lines through all rows."""
    reference = words.reference_of(world)
    bounds = [row for row in words.rows_of(world) if words.is_bound(row) and row.success is not None]
    lines = [(100.0 * row.success.value, "bound", row.title) for row in bounds if row.success is not None]
    if reference is not None and reference.success is not None:
        lines.append((100.0 * reference.success.value, "ours", reference.title))
    tracks = [forest.Track("Solved", "%", low=0.0, high=100.0, marks=tuple((x, style) for x, style, _ in lines))]
    if any(row.difference is not None for row in group.rows):
        tracks.append(forest.Track("Difference in points", marks=((0.0, "zero"),), signed=True))
    rows = [
        forest.Row(
            f"{words.titled(row)} (reference)" if words.is_reference(row, world) else words.titled(row),
            tuple(_bar(one, row, world) for one in (row.success, row.difference)[: len(tracks)]),
        )
        for row in group.rows
    ]
    key = elements.key([(style, f"{title}: {x:.1f}%") for x, style, title in lines])
    title = f"{group.title}: solved tasks, with 95% intervals"
    if len(tracks) > 1:
        title += f", and the differences to {world.reference_title} on the same tasks"
    return forest.forest(shelf, f"{name}-success", title, rows, tracks) + key


def _bar(estimate: Estimate | None, row: Row, world: WorldResult) -> forest.Bar | None:
    if estimate is None:
        return None
    low, high = estimate.interval_95
    style: Style = "ours" if words.is_reference(row, world) else "theirs" if words.is_bound(row) else "other"
    return forest.Bar(100 * estimate.value, (100 * low, 100 * high), style)


def along_axis(group: Group, name: str, world: WorldResult, shelf: Shelf) -> str:
    """Success and effective rank over the axis of a group, whose values stand at equal distances."""
    placed = sorted((row for row in group.rows if row.x is not None), key=lambda row: row.x or 0.0)
    if group.axis is None or not placed:
        return ""
    axes = Axes(across=group.axis, names=tuple(f"{row.x:g}" for row in placed))
    rates = [(float(at), row.success) for at, row in enumerate(placed) if row.success is not None]
    line = Line(
        tuple((x, 100 * one.value) for x, one in rates),
        "other",
        group.title,
        tuple((100 * one.interval_95[0], 100 * one.interval_95[1]) for _, one in rates),
        marks="all",
    )
    lines = [line]
    reference = words.reference_of(world)
    if reference is not None and reference.success is not None:
        lines += _level(100 * reference.success.value, reference, placed)
    success = Axes(axes.across, "%", 100.0, axes.names)
    figures = [kept_chart(shelf, f"{name}-curve", f"{group.title}: solved tasks", lines, success)]
    if any(any(row.embeddings) for row in placed):
        ranks = [(float(at), words.mean(embedded(row, "effective_rank"))) for at, row in enumerate(placed)]
        rank = Line(tuple((x, y) for x, y in ranks if y is not None), "other", "mean of the seeds", marks="all")
        title = f"{group.title}: effective rank of the embeddings"
        lines = [rank]
        if reference is not None:
            lines += _level(words.mean(embedded(reference, "effective_rank")), reference, placed)
        figures.append(kept_chart(shelf, f"{name}-rank", title, lines, axes))
    key = "" if reference is None else elements.key([("theirs", reference.title)])
    told = elements.paragraph(
        f"The values of {group.axis} stand at equal distances, whatever lies between them.", "quiet"
    )
    return elements.grid(figures, "pairs") + key + told


def _level(value: float | None, reference: Row, placed: Sequence[Row]) -> list[Line]:
    """A line through the whole axis at a number of the reference; none where it is not known."""
    if value is None:
        return []
    return [Line(((-0.5, value), (len(placed) - 0.5, value)), "theirs", reference.title, marks="none")]


def details(group: Group, name: str, shelf: Shelf) -> str:
    """Everything else that is known of the rows of a group, and all of it as files."""
    title = f"{group.title}: tests and times"
    tested = elements.table(
        ("method", "p (Holm)", "P(better)", "a decision", "of the reference's", "training"),
        [
            (
                row.title,
                words.p_value(row.p_holm),
                words.share(row.improvement),
                words.seconds(row.seconds_per_plan),
                words.times(row.ratio),
                words.trained(row),
            )
            for row in group.rows
        ],
        title,
        elements.data_link(_keep(group, f"{name}.csv", shelf), f"{name}.csv", title),
        "small",
    )
    title = f"{group.title}: sizes and settings"
    sized = elements.table(
        ("method", "parameters", "solved, by seed", "what differs"),
        [
            (
                row.title,
                words.parameters(row),
                " · ".join("-" if one is None else f"{one[0]}/{one[1]}" for one in row.solved),
                ", ".join(f"{key.partition('.')[2]} {value}" for key, value in row.settings.items()) or "-",
            )
            for row in group.rows
        ],
        title,
        elements.data_link(_keep_settings(group, f"{name}-settings.csv", shelf), f"{name}-settings.csv", title),
        "small",
    )
    unpaired = [f"{row.title}, {row.unpaired}" for row in group.rows if row.unpaired]
    told = f"Not paired with the reference: {'; '.join(unpaired)}." if unpaired else ""
    below = "".join(elements.paragraph(words_of, "quiet") for words_of in (words.notes(group), told) if words_of)
    return tested + sized + below


def _keep(group: Group, name: str, shelf: Shelf) -> str | None:
    head = [
        *("method", "title", group.axis or "x", "seeds", "solved", "tasks"),
        *("success", "success low", "success high", "difference", "difference low", "difference high"),
        *("p", "p holm", "p better", "p better low", "p better high"),
        *("seconds per plan", "ratio", "ratio low", "ratio high"),
        *("train seconds", "collapsed at", "missing"),
    ]
    rows = [
        [
            *(row.method, row.title, row.x, _joined(row.seeds)),
            *(_joined(None if one is None else one[at] for one in row.solved) for at in (0, 1)),
            *_three(row.success),
            *_three(row.difference),
            *(row.p, row.p_holm),
            *_three(row.improvement),
            row.seconds_per_plan,
            *_three(row.ratio),
            _joined(row.train_seconds),
            *(_joined(row.collapsed_at), _joined(row.missing)),
        ]
        for row in group.rows
    ]
    return write_csv(shelf, name, head, rows)


def _keep_settings(group: Group, name: str, shelf: Shelf) -> str | None:
    """A row for each setting that differs from the reference's, and one for each method that has none."""
    rows = [
        [row.method, row.title, row.parameters, row.learnt_parameters, row.frozen_parameters, key, value]
        for row in group.rows
        for key, value in (row.settings or {"": None}).items()
    ]
    head = ["method", "title", "parameters", "learnt parameters", "frozen parameters", "setting", "value"]
    return write_csv(shelf, name, head, rows)


def _three(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if estimate is None else (estimate.value, *estimate.interval_95)


def _joined(values: Any) -> str:  # noqa: ANN401
    return "; ".join("" if value is None else str(value) for value in values)
