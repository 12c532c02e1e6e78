"""The picture of curves: success, latents and open loop over the seconds of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lewm.curves.curve import Curve, Errors, Point
from lewm.figures import figure

WIDTH, HEIGHT = 4.3, 3.6  # size of a panel, in inches
PALE, GREEN = "#8c8c8c", "#1a7f37"
LEWM = "#3b4cc0"
COLOURS = (LEWM, "#dd8452", "#55a868", "#8172b3", "#c44e52")  # of quantities
LEAST_R2 = -0.25  # what is lower is drawn here: the probe reads nothing
DASHED = "--"
LEGEND: dict[str, Any] = {"fontsize": "small", "frameon": True, "framealpha": 0.8, "edgecolor": "none"}

Value = Callable[[Point], float | None]


def draw_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Draws the curves of one world, one for each training seed, in six panels.

    A line joins the points of one stage of a training; where there are several stages, the panel of success names them.

    Raises:
        LewmError: Matplotlib is not installed.
    """
    with figure(path, 3 * WIDTH, 2 * HEIGHT + 0.4) as drawn:
        from matplotlib import ticker

        panels = drawn.subplots(2, 3)
        (success, reading, share), (rank, follows, error) = panels
        _draw_success(success, curves)
        _draw_reading(reading, curves)
        _draw_open_loop(share, error, curves)
        _lines(rank, curves, lambda point: point.effective_rank, LEWM)
        rank.set(title="Effective rank of the latents", ylim=(0, None))
        _lines(follows, curves, lambda point: point.distance_correlation, LEWM)
        follows.set(title="Rank correlation of latent and true distance", ylim=(min(0.0, follows.get_ylim()[0]), 1.02))
        for panel in panels.flat:
            panel.set(xscale="log", xlabel="training, seconds")
            panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter(lambda seconds, place: f"{seconds:g}")
            panel.xaxis.set_minor_formatter(ticker.NullFormatter())
        seeds = ", ".join(str(curve.seed) for curve in curves)
        drawn.suptitle(f"{curves[0].world}, training {'seed' if len(curves) == 1 else 'seeds'} {seeds}")


def _draw_success(panel: Any, curves: Sequence[Curve]) -> None:  # noqa: ANN401
    _lines(panel, curves, lambda point: point.plan["success_rate"], LEWM, "LeWM, 95 % interval")
    for curve in curves:
        for stage, points in _stages(curve):
            seconds = [point.train_seconds for point in points]
            low, high = zip(*(point.plan["interval_95"] for point in points), strict=True)
            panel.vlines(seconds, low, high, color=LEWM, alpha=0.4, linewidth=4)
            if stage is not None and curve is curves[0]:
                place = (seconds[-1], points[-1].plan["success_rate"])
                panel.annotate(stage, place, xytext=(4, 5), textcoords="offset points", fontsize="small")
    random = [point.plan["random"]["success_rate"] for curve in curves for point in curve.points]
    panel.axhline(sum(random) / len(random), color=PALE, linestyle=":", label="random actions")
    oracles = [curve.oracle for curve in curves if curve.oracle is not None]
    if oracles:
        solved, tasks = (sum(oracle[name] for oracle in oracles) for name in ("successes", "episodes"))
        panel.axhline(solved / tasks, color=GREEN, linestyle=DASHED, label=f"oracle: {solved} of {tasks} tasks")
    panel.set(title="Tasks solved", ylim=(-0.02, 1.04))
    panel.legend(**LEGEND)


def _draw_reading(panel: Any, curves: Sequence[Curve]) -> None:  # noqa: ANN401
    for name, colour in zip(curves[0].points[0].r2, COLOURS, strict=False):
        for probe, style, label in (("mlp", "-", name), ("linear", DASHED, None)):
            value = _r2(name, probe)
            _lines(panel, curves, value, colour, label, style)
    panel.set(title="What a probe reads, R² (dashed: linear)", ylim=(min(-0.02, panel.get_ylim()[0]), 1.02))
    panel.legend(**LEGEND)


def _draw_open_loop(share: Any, error: Any, curves: Sequence[Curve]) -> None:  # noqa: ANN401
    measured = [point.open_loop for curve in curves for point in curve.points if point.open_loop is not None]
    if not measured:
        share.set_axis_off()
        error.set_axis_off()
        return
    for what, style, label in (("imagined", "-", "imagined"), ("seen", DASHED, "read from the true frame")):
        _lines(share, curves, _solved(what), LEWM, label, style)
        for name, colour in zip(measured[0].units, COLOURS, strict=False):
            _lines(error, curves, _relative(what, name), colour, name if what == "imagined" else None, style)
    error.axhline(1, color=PALE, linestyle=":", label="nothing moves")
    share.set(title=f"{measured[0].steps} steps ahead: share within the tolerance", ylim=(-0.02, 1.04))
    error.set(title="Its median error (dashed: true frame)", ylabel="1: nothing moves", yscale="log")
    error.yaxis.set_major_formatter(lambda ratio, place: f"{ratio:g}")
    for panel in (share, error):
        panel.legend(**LEGEND)


def _r2(name: str, probe: str) -> Value:
    return lambda point: max(LEAST_R2, point.r2[name][probe].value)


def _errors(point: Point, what: str) -> Errors | None:
    """The open loop's errors `imagined`, `seen` or `still`."""
    return None if point.open_loop is None else getattr(point.open_loop, what)


def _solved(what: str) -> Value:
    return lambda point: None if (errors := _errors(point, what)) is None else errors.solved


def _relative(what: str, name: str) -> Value:
    """The median error of a quantity, divided by the error of "nothing moves"."""

    def value(point: Point) -> float | None:
        errors, still = _errors(point, what), _errors(point, "still")
        return None if errors is None or still is None else errors.median[name] / still.median[name]

    return value


def _stages(curve: Curve) -> list[tuple[str | None, list[Point]]]:
    """The stages of a training, each with its points."""
    return [(stage, list(points)) for stage, points in groupby(curve.points, key=lambda point: point.stage)]


def _lines(
    panel: Any,  # noqa: ANN401
    curves: Sequence[Curve],
    value: Value,
    colour: str,
    label: str | None = None,
    style: str = "-",
) -> None:
    """A line for each stage of each curve, of the points that have the value; one of them has the label."""
    for curve in curves:
        for _, points in _stages(curve):
            told = [(point.train_seconds, number) for point in points if (number := value(point)) is not None]
            if told:
                panel.plot(*zip(*told, strict=True), style, color=colour, marker="o", markersize=3, linewidth=1.4,
                           label=label)  # fmt: skip
                label = None
