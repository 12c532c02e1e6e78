"""The course of a run's training beside that of the runs that come with lewm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from lewm.curves.committed import committed_curves
from lewm.curves.curve import Curve
from lewm.page import elements
from lewm.page.chart import Axes, Line, Style, kept_chart
from lewm.page.shelf import Shelf
from lewm.planning.policy import NAMES
from lewm.training.health import collapsed_from

RUN, COMMITTED = "this run", "what comes with lewm"
TASKS = ("protocol", "goal_offset", "budget")  # equal where two success rates can be compared
KEY = elements.key([("ours", RUN), ("theirs", COMMITTED)])

Moment = tuple[str | None, int]  # a stage of the training and a step of it


def health_over_training(env: str, lines: Sequence[dict[str, Any]], shelf: Shelf) -> str:
    """The spread of a run's latents over its training, beside committed curves where the world has some.

    Says from which step on the latents of the last training were collapsed, if they were.

    Args:
        env: The run's world.
        lines: Its metrics, those of its stages included.
        shelf: The place for the points of the charts.
    """
    curves = committed_curves(env)
    told = _collapse(lines)
    if curves:
        ends = ", ".join(f"{curve.points[-1].effective_rank:.1f}" for curve in curves)
        told += elements.paragraph(f"At the end of training, {_which(curves)} had an effective rank of {ends}.") + KEY
    figures = [
        kept_chart(
            shelf,
            name,
            title,
            [*_of_run(lines, name), *(line for curve in curves for line in _of_curve(curve, _values(curve, name)))],
            Axes(powers=name == "std_mean"),
        )
        for name, title in (
            ("std_mean", "Mean standard deviation of the latents, held-out data"),
            ("effective_rank", "Effective rank of the latents"),
            ("distance_correlation", "Rank correlation of latent distance and the shortest path in the world"),
        )
    ]
    return told + elements.grid(filter(None, figures), "pairs")


def collapse_of(lines: Sequence[dict[str, Any]]) -> int | None:
    """The step from which on the latents of the last training are collapsed; None where they are not."""
    return collapsed_from(_checks(lines))


def _checks(lines: Sequence[dict[str, Any]]) -> list[tuple[int, float, float]]:
    return [
        (line["step"], line["health"]["std_mean"], line["health"]["effective_rank"])
        for line in lines
        if "health" in line and "stage" not in line
    ]


def _collapse(lines: Sequence[dict[str, Any]]) -> str:
    """A warning where the latents of the last training are collapsed."""
    checks, step = _checks(lines), collapse_of(lines)
    if step is None:
        return ""
    _, std_mean, rank = checks[-1]
    return elements.paragraph(
        f"Collapsed from step {step:,} on: at step {checks[-1][0]:,} the mean standard deviation of the latents is "
        f"{std_mean:.2g} and their effective rank is {rank:.1f}, so that the model no longer tells frames apart.",
        "warning",
    )


def success_beside(env: str, lines: Sequence[dict[str, Any]], report: Mapping[str, Any], shelf: Shelf) -> str:
    """Success of a run; empty where the world has no committed curve, a sentence where tasks or agents differ.

    Args:
        env: The run's world.
        lines: Its metrics, those of its stages included.
        report: Its report of `lewm plan`, with the weights that it has now.
        shelf: The place for the points of the chart.
    """
    every = committed_curves(env)
    curves = [one for one in every if all(report[key] == one.points[-1].plan[key] for key in TASKS)]
    if not every or not lines:
        return ""
    if not curves:
        plan = every[0].points[-1].plan
        return elements.paragraph(
            f"Success is not compared: the tasks of {_which(every)} have goals {plan['goal_offset']} steps ahead and a "
            f"budget of {plan['budget']}, and their protocol is {plan['protocol']}.",
            "quiet",
        )
    ours_acts, theirs_acts = (plan["planner"]["agent"] for plan in (report, curves[0].points[-1].plan))
    if ours_acts != theirs_acts:
        return elements.paragraph(
            f"Success is not compared: here {_agent(ours_acts)} acts, and in {_which(curves)} {_agent(theirs_acts)}.",
            "quiet",
        )
    rates = ", ".join(f"{curve.points[-1].plan['success_rate']:.1%}" for curve in curves)
    low, high = report["interval_95"]
    told = (
        f"This run solved {report['success_rate']:.1%} of its tasks ({low:.1%} to {high:.1%}). At the end of "
        f"training, {_which(curves)} solved {rates}."
    )
    ours = Line(
        ((_steps(lines)[-1], 100.0 * report["success_rate"]),), "ours", RUN, intervals=((100.0 * low, 100.0 * high),)
    )
    rates_of = ((curve, [100 * point.plan["success_rate"] for point in curve.points]) for curve in curves)
    theirs = [line for curve, values in rates_of for line in _of_curve(curve, values)]
    drawn = kept_chart(shelf, "success", "Solved tasks", [ours, *theirs], Axes(unit=" %", top=100.0))
    return elements.paragraph(told) + KEY + elements.grid([drawn], "pairs")


def _agent(agent: str) -> str:
    """What an agent of `lewm plan` is, in a sentence."""
    others = {"planner": "a search", "random": "chance", "expert": "the world's demonstrator"}
    return others.get(agent) or f"a policy ({NAMES[agent]})"  # type: ignore[index]  # the other agents are policies


def _which(curves: Sequence[Curve]) -> str:
    runs, come = ("run", "comes") if len(curves) == 1 else ("runs", "come")
    return f"the {runs} of this world that {come} with lewm"


def over_training(moments: Iterable[Moment]) -> list[float]:
    """Steps counted from the beginning of training: those of a stage follow the last step of the stage before."""
    counted = [0.0]
    before, stage = 0.0, None
    for name, step in moments:
        if name != stage:
            before, stage = counted[-1], name
        counted.append(before + step)
    return counted[1:]


def _steps(lines: Sequence[dict[str, Any]]) -> list[float]:
    return over_training((line.get("stage"), line["step"]) for line in lines)


def _of_run(lines: Sequence[dict[str, Any]], name: str) -> list[Line]:
    values = [line["health"][name] if "health" in line else None for line in lines]
    return _lines([line.get("stage") for line in lines], _steps(lines), values, "ours", RUN)


def _of_curve(curve: Curve, values: Sequence[float | None]) -> list[Line]:
    steps = over_training((point.stage, point.step) for point in curve.points)
    return _lines([point.stage for point in curve.points], steps, values, "theirs", f"{COMMITTED}, seed {curve.seed}")


def _lines(
    stages: list[str | None], steps: list[float], values: Sequence[float | None], style: Style, label: str
) -> list[Line]:
    """A line for each stage that has values: each stage has latents of its own."""
    known = [(stage, x, float(y)) for stage, x, y in zip(stages, steps, values, strict=True) if y is not None]
    by_stage = groupby(known, key=lambda one: one[0])
    return [
        Line(tuple((x, y) for _, x, y in some), style, label if stage is None else f"{label}, stage {stage}")
        for stage, some in by_stage
    ]


def _values(curve: Curve, name: str) -> list[float | None]:
    """What the points of a curve say; the files of curves do not have all that the health of a run has."""
    return [getattr(point, name, None) for point in curve.points]
