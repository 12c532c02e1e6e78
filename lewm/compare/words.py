"""Numbers and sentences of a comparison, as its page says them."""

from __future__ import annotations

from collections.abc import Sequence

from lewm.compare.result import Comparison, Group, Row, WorldResult
from lewm.measures.intervals import Estimate

LEVEL = 0.05  # of p-values, after Holm's correction
LEAST_P = 1e-4  # smaller ones are said to be below it
AGENT = "plan.agent"  # the setting that says who acts

READING = (
    (
        "Solved",
        "The interquartile mean of the seeds' success rates: with up to three seeds their mean, with more the mean of "
        "the middle half. The interval is the middle 95% of a bootstrap, which draws seeds and tasks anew from those "
        "that there were. With three seeds it reaches about from the worst to the best of them, and misses the success "
        "of all trainings that could be made more often than in 5 of 100 cases.",
    ),
    (
        "Difference",
        "How much more the method solves than the reference, in percentage points, on the same tasks of the same "
        "seeds, with an interval over seeds and tasks of the same kind. An interval without 0 speaks for a difference.",
    ),
    (
        "p",
        "How probable it is that tasks which only one of the two solves fall to it as unevenly as here, or more "
        "unevenly, if both were equally good (McNemar's exact test, with the seeds as strata). It is about these runs: "
        "other trainings may turn out otherwise. It is corrected for the number of rows by Holm's method. A method is "
        "told apart from the reference where p is below 0.05 and the interval of the difference is without 0.",
    ),
    (
        "P(better)",
        "The probability that a run of the method solves more tasks than a run of the reference. It is 50% where they "
        "are alike; with three seeds it is known roughly only.",
    ),
    (
        "Time of a decision",
        "The median for one environment, and how many times as long as that of the reference. Both were timed in one "
        "process, one after the other in each round, so that other work on the machine slows both.",
    ),
    (
        "Effective rank, mutual coverage",
        "How many directions the embeddings of held-out frames use, and how far they and the normal distribution, at "
        "which SIGReg aims, cover each other in these: of two shares the lesser, of which one falls where embeddings "
        "crowd together, and the other where they lie outside. Both are measured at the end of training.",
    ),
)


def rows_of(world: WorldResult) -> list[Row]:
    """The rows of all groups, each method once."""
    found: dict[str, Row] = {}
    for group in world.groups:
        for row in group.rows:
            found.setdefault(row.method, row)
    return list(found.values())


def reference_of(world: WorldResult) -> Row | None:
    """The row that the others are compared with."""
    return next((row for row in rows_of(world) if row.method == world.reference), None)


def named_rows(world: WorldResult) -> list[tuple[str, Row]]:
    """The rows of all groups with a name that is clear without its group; those of the reference's group first."""
    own = [group for group in world.groups if any(row.method == world.reference for row in group.rows)]
    others = [group for group in world.groups if group not in own]
    found: dict[str, tuple[str, Row]] = {}
    for group in (*own, *others):
        for row in group.rows:
            found.setdefault(row.method, (row.title if group in own else f"{group.title}: {row.title}", row))
    return sorted(found.values(), key=lambda named: named[1].method != world.reference)


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


def compared(world: WorldResult) -> str:
    """What was compared, on how many tasks and seeds."""
    rows = [row for row in rows_of(world) if not is_bound(row)]
    seeds = max((len(row.seeds) for row in rows), default=0)
    methods = {row.plans if any(row.plans) else row.method for row in rows}  # a group may have one under another title
    data = world.data
    said = f"{counted(len(methods), 'method')}, {counted(seeds, 'training seed')} each, {world.tasks:,} tasks a "
    said += f"seed; goals {world.goal_offset} steps ahead, {world.budget} steps allowed. With one seed, all methods "
    said += "have the same tasks."
    if {"episodes", "frames"} <= set(data):
        by = f", collected by the policy {data['policy']}" if "policy" in data else ""
        said += f" The data are {data['episodes']:,} episodes with {data['frames']:,} frames{by}."
    return said


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
        said = f"{row.title} ({points(row.difference.value)})"
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
    seeds = [
        f"{'not' if step is None else f'from step {step:,} on'} with seed {seed}"
        for seed, step in zip(row.seeds, row.collapsed_at, strict=True)
        if step is not None or row.curve[row.seeds.index(seed)]
    ]
    return f"{name} collapsed {', '.join(seeds)}."


def points(value: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * value:+.1f} points".replace("-", "−")


def share(estimate: Estimate | None) -> str:
    """A share with its interval."""
    if estimate is None:
        return "-"
    low, high = estimate.interval_95
    return f"{estimate.value:.0%} ({low:.0%} to {high:.0%})"


def times(estimate: Estimate | None) -> str:
    """A ratio with its interval."""
    if estimate is None:
        return "-"
    low, high = estimate.interval_95
    return f"{estimate.value:.3g} × ({low:.3g} to {high:.3g})"


def p_value(p: float | None) -> str:
    """A p-value, none of which is 0."""
    if p is None:
        return "-"
    return f"< {LEAST_P:g}" if p < LEAST_P else f"{p:.2g}"


def seconds(value: float | None) -> str:
    """A time, in the unit that suits it."""
    if value is None:
        return "-"
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 90:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 5400 else f"{value / 3600:.3g} h"


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
