"""Numbers and sentences of a comparison, as its page says them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lewm.compare.result import Comparison, Group, Row, WorldResult
from lewm.measures.intervals import Estimate

LEVEL = 0.05  # of p-values, after Holm's correction
LEAST_P = 1e-4  # smaller ones are said to be below it
AGENT = "plan.agent"  # the setting that says who acts


def rows_of(world: WorldResult) -> list[Row]:
    """The rows of all groups, each method once, and the reference under its own title."""
    found: dict[str, Row] = {}
    for group in world.groups:
        for row in group.rows:
            own = replace(row, title=world.reference_title) if row.method == world.reference else row
            found.setdefault(row.method, own)
    return list(found.values())


def reference_of(world: WorldResult) -> Row | None:
    """The row that the others are compared with."""
    return next((row for row in rows_of(world) if row.method == world.reference), None)


def named_rows(world: WorldResult) -> list[tuple[str, Row]]:
    """The rows of all groups with a name that is clear without its group; those of the reference's group first."""
    own = [group for group in world.groups if any(_is_titled_reference(row, world) for row in group.rows)]
    others = [group for group in world.groups if group not in own]
    found: dict[str, tuple[str, Row]] = {}
    for group in (*own, *others):
        for row in group.rows:
            name = named(row, group) if group in own else f"{group.title}: {named(row, group)}"
            found.setdefault(row.method, (world.reference_title if row.method == world.reference else name, row))
    return sorted(found.values(), key=lambda named: named[1].method != world.reference)


def _is_titled_reference(row: Row, world: WorldResult) -> bool:
    return row.method == world.reference and row.title == world.reference_title


def named(row: Row, group: Group) -> str:
    """The title of a row; where that is only its number on the axis, with what this is a number of."""
    bare = group.axis is not None and row.x is not None and row.title == f"{row.x:g}"
    return f"{group.axis} = {row.title}" if bare else row.title


def is_reference(row: Row, world: WorldResult) -> bool:
    """Whether the row is the reference, under whichever title: a group may name it by its place on the axis."""
    reference = reference_of(world)
    same = reference is not None and any(row.plans) and row.plans == reference.plans
    return row.method == world.reference or same


def is_bound(row: Row) -> bool:
    """Whether the row is no method: random actions, which are the floor, or the demonstrator, the ceiling."""
    return row.settings.get(AGENT) in ("random", "expert")


def missing_of(comparison: Comparison) -> list[tuple[str, str, int, str]]:
    """World, title, seed and text of all that is missing."""
    return [
        (world.world, name, seed, said)
        for world in comparison.worlds
        for name, row in named_rows(world)
        for seed, said in zip(row.seeds, row.missing, strict=True)
        if said
    ]


def several_versions(comparison: Comparison) -> str:
    """That not all results were made by the same program; empty where they were."""
    several = [f"{name} {', '.join(found)}" for name, found in comparison.versions.items() if len(found) > 1]
    if not several:
        return ""
    return (
        f"Not all results were made by the same program: {'; '.join(several)}. With LEWM_HOME set to an empty folder, "
        "the same command makes all of them anew."
    )


def compared(world: WorldResult) -> str:
    """What was compared, on how many tasks and seeds."""
    rows = [row for row in rows_of(world) if not is_bound(row)]
    seeds = max((len(row.seeds) for row in rows), default=0)
    methods = {row.plans if any(row.plans) else row.method for row in rows}  # a group may have one under another title
    data = world.data
    said = f"{counted(len(methods), 'method')}, {counted(seeds, 'training seed')} each, {world.tasks:,} tasks a "
    said += f"seed; goals {world.goal_offset} steps ahead, {world.budget} steps allowed. "
    if _same_tasks(world):
        said += "With the same seed, all methods have the same tasks."
    else:
        said += "Not all methods have the same tasks; below is said which are not paired with the reference."
    if {"episodes", "frames"} <= set(data):
        by = f", collected by the policy {data['policy']}" if "policy" in data else ""
        said += f" The data are {data['episodes']:,} episodes with {data['frames']:,} frames{by}."
    return said


def notes(group: Group) -> str:
    """What the specification says of rows, each sentence once."""
    titles: dict[str, list[str]] = {}
    for row in group.rows:
        if row.note:
            titles.setdefault(row.note, []).append(named(row, group))
    return " ".join(f"{', '.join(rows)}: {note}" for note, rows in titles.items())


def _same_tasks(world: WorldResult) -> bool:
    """Whether all rows of a seed, as far as they are there, tried the same tasks."""
    known = {
        (seed, tasks)
        for row in rows_of(world)
        for seed, tasks in zip(row.seeds, row.tasks_sha256, strict=True)
        if tasks is not None
    }
    return len(known) == len({seed for seed, _ in known})


def findings(group: Group, world: WorldResult) -> str:
    """Which methods of a group solve more or fewer tasks than the reference.

    Two are told apart where the test of these runs and the interval over seeds both say so.
    """
    reference = reference_of(world)
    tested = [row for row in group.rows if not is_bound(row) and not is_reference(row, world)]
    tested = [row for row in tested if row.p_holm is not None and row.difference is not None]
    if not tested or reference is None:
        return ""
    more: list[str] = []
    fewer: list[str] = []
    alike: list[str] = []
    for row in tested:
        assert row.p_holm is not None
        assert row.difference is not None
        said = f"{named(row, group)} ({points(row.difference.value)})"
        low, high = row.difference.interval_95
        is_alike = row.p_holm >= LEVEL or low <= 0 <= high
        (alike if is_alike else more if row.difference.value > 0 else fewer).append(said)
    parts = [
        f"{begins}: {', '.join(names)}."
        for begins, names in (
            (f"More tasks than {reference.title} solve", more),
            (f"Fewer tasks than {reference.title} solve", fewer),
            (f"Not told apart from {reference.title}", alike),
        )
        if names
    ]
    return " ".join(parts)


def collapses(name: str, row: Row) -> str:
    """With which seeds, and from which steps on, the latents of a method were collapsed; empty where none were."""
    if all(step is None for step in row.collapsed_at):
        return ""
    steps = [*zip(row.seeds, row.collapsed_at, row.curve, strict=True)]
    told = ", ".join(f"from step {step:,} on with seed {seed}" for seed, step, _ in steps if step is not None)
    others = " and ".join(str(seed) for seed, step, curve in steps if step is None and curve)
    return f"{name}: collapsed {told}{f'; not at the end of seed {others}' if others else ''}."


def points(value: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * value:+.1f} points".replace("-", "−")


def share(estimate: Estimate | None) -> str:
    """A probability of improvement with its interval, of which there is none where all pairs of runs agree."""
    if estimate is None:
        return "-"
    low, high = estimate.interval_95
    return f"{estimate.value:.0%} " + ("(all pairs agree)" if low == high else f"({low:.0%} to {high:.0%})")


def times(estimate: Estimate | None) -> str:
    """A ratio with its interval."""
    if estimate is None:
        return "-"
    low, high = estimate.interval_95
    return f"{_digits(estimate.value)} × ({_digits(low)} to {_digits(high)})"


def p_value(p: float | None) -> str:
    """A p-value, none of which is 0."""
    if p is None:
        return "-"
    return f"< {LEAST_P:g}" if p < LEAST_P else f"{p:.2g}"


def seconds(value: float | None) -> str:
    """A time, in the unit that suits it."""
    if value is None:
        return "-"
    if value < 0.9995:
        return f"{1000 * value:.3g} ms"
    if value < 90:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 5400 else f"{value / 3600:.3g} h"


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def trained(row: Row) -> str:
    """What trainings took: the mean of the seeds and, where there are several, the least and the greatest."""
    known = [value for value in row.train_seconds if value is not None]
    span = f" ({seconds(min(known))} to {seconds(max(known))})" if len(known) > 1 else ""
    return seconds(mean(known)) + span


def titled(row: Row) -> str:
    """The title of a row, with how many of its seeds it shows where that is not all."""
    there = sum(one is not None for one in row.solved)
    return row.title if there in (0, len(row.seeds)) else f"{row.title}, {there} of {counted(len(row.seeds), 'seed')}"


def parameters(row: Row) -> str:
    """How many numbers are trained with the model, how many on its latents, and how many not at all."""
    if row.parameters is None:
        return "-"
    learnt, frozen = row.learnt_parameters or 0, row.frozen_parameters or 0
    parts = ((row.parameters - learnt - frozen, ""), (learnt, " on its latents"), (frozen, " frozen"))
    return " + ".join(f"{_amount(number)}{said}" for number, said in parts if number)


def _amount(number: int) -> str:
    return f"{number:,}" if number < 10_000 else f"{number / 1e6:.3g} M"


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
