"""A small chart, as SVG in the page: its colours are the page's own, light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lewm.page.elements import data_link, text
from lewm.page.shelf import Shelf, write_csv

WIDTH, HEIGHT = 320, 200  # of the drawing, in its own units, which the page scales
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 8, 36  # margins, which hold the numbers of the axes
MOST_TICKS = 5
STEPS = (1, 2, 5, 10)  # ticks are multiples of one of them times a power of ten
LONGEST_NUMBER = 5  # characters that fit beside the vertical axis
LEAST = 1e-300  # least positive number on an axis of powers of ten; lower ones count as 0

Point = tuple[float, float]
Interval = tuple[float, float]
Style = Literal["ours", "theirs", "other", "third"]  # of the run or the method that the page is about, and of others


@dataclass(frozen=True)
class Line:
    """A line of a chart; a line of one point is a dot.

    Attributes:
        points: What it goes through, from left to right.
        style: Whose it is: "theirs" is quiet.
        label: What it is called in the file of its points.
        intervals: The interval of each point, drawn as a bar, or None; empty where no point has one.
        marks: Which points are dots. "alone": all of them, and no line joins them.
    """

    points: tuple[Point, ...]
    style: Style
    label: str = ""
    intervals: tuple[Interval | None, ...] = ()
    marks: Literal["ends", "all", "alone", "none"] = "ends"


@dataclass(frozen=True)
class Axes:
    """What the axes of a chart say.

    Attributes:
        across: Words below the horizontal axis.
        unit: Written behind the numbers of the vertical axis.
        top: The upper end of the vertical axis; else it is what the lines need.
        names: In place of numbers at 0, 1, 2, ... of the horizontal axis.
        powers: Whether the vertical axis is one of powers of ten. Numbers that are not positive lie at its lower end,
            below all others.
    """

    across: str = "training step"
    unit: str = ""
    top: float | None = None
    names: tuple[str, ...] = ()
    powers: bool = False


STEP_AXES = Axes()


def kept_chart(shelf: Shelf, name: str, title: str, lines: Sequence[Line], axes: Axes = STEP_AXES) -> str:
    """A chart with a link to its points, which are kept as the file `name`.csv; empty without a point."""
    if not _has_place(lines, axes):
        return ""
    rows = [
        (line.label, *point, *(interval or (None, None)))
        for line in lines
        for point, interval in zip(line.points, line.intervals or (None,) * len(line.points), strict=True)
    ]
    head = ("line", axes.across, title, "interval_low", "interval_high")
    return chart(title, lines, axes, data_link(write_csv(shelf, f"{name}.csv", head, rows), f"{name}.csv", title))


def chart(title: str, lines: Sequence[Line], axes: Axes = STEP_AXES, link: str = "") -> str:
    """A chart; empty without a point.

    Args:
        title: What the lines show.
        lines: The lines. Points that are not finite are left out.
        axes: What the axes say.
        link: HTML behind the title.
    """
    if not _has_place(lines, axes):
        return ""
    lines = [_finite(one) for one in lines]
    xs = [x for one in lines for x, _ in one.points]
    ys = [y for one in lines for y in (*(y for _, y in one.points), *(y for ends in one.intervals for y in ends or ()))]
    if axes.names:
        across, names = [-0.5, len(axes.names) - 0.5], [(float(x), name) for x, name in enumerate(axes.names)]
    else:
        across = ticks(0.0, max(xs))
        names = [(x, _number(x)) for x in across]
    if axes.powers:
        positive = [y for y in ys if y >= LEAST]
        up = [10.0**power for power in _powers([*positive, min(positive) / (10 if len(positive) < len(ys) else 1)])]
    else:
        up = ticks(min(0.0, *ys), max(ys) if axes.top is None else axes.top)
    scale = _logarithm if axes.powers else float

    def place(x: float, y: float) -> Point:
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        low, high = scale(up[0]), scale(up[-1])
        share = min(max((scale(y) - low) / (high - low), 0.0), 1.0)
        left = (x - across[0]) / (across[-1] - across[0])
        return round(LEFT + width * left, 1), round(HEIGHT - BOTTOM - height * share, 1)

    drawn = [_grid(place(across[0], y), f"{_number(y)}{axes.unit}") for y in up]
    drawn += [_number_below(place(x, up[0]), text(name)) for x, name in names]
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{text(axes.across)}</text>')
    for one in sorted(lines, key=lambda line: (line.style != "theirs", line.style == "ours")):  # ours above the others
        drawn.append(_line([place(*point) for point in one.points], one))
        for (x, _), interval in zip(one.points, one.intervals, strict=False):
            if interval is not None:
                drawn.append(_line([place(x, end) for end in interval], one, bar=True))
    said = text(title)
    svg = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(drawn)}</svg>'
    return f"<figure>{svg}<figcaption>{said}{link}</figcaption></figure>"


def _has_place(lines: Iterable[Line], axes: Axes) -> bool:
    """Whether there is a point to draw; an axis of powers of ten needs a positive one."""
    return any(y >= LEAST or not axes.powers for one in lines for _, y in _finite(one).points)


def _finite(line: Line) -> Line:
    """The line without points that are not finite."""
    intervals = line.intervals or (None,) * len(line.points)
    kept = [
        (point, interval)
        for point, interval in zip(line.points, intervals, strict=True)
        if all(map(math.isfinite, (*point, *(interval or ()))))
    ]
    return replace(line, points=tuple(p for p, _ in kept), intervals=tuple(i for _, i in kept))


def _line(points: Iterable[Point], line: Line, bar: bool = False) -> str:
    places = list(points)
    path = " ".join(f"{x},{y}" for x, y in places)
    joined = "" if line.marks == "alone" and not bar else f'<polyline points="{path}"></polyline>'
    radius = 2 if line.marks == "alone" and len(places) > 1 else 2 if line.style == "theirs" else 3.5
    dotted = [] if bar or line.marks == "none" else places[:1] + places[1:][-1:] if line.marks == "ends" else places
    circles = "".join(f'<circle cx="{x}" cy="{y}" r="{radius}"></circle>' for x, y in dotted)
    return f'<g class="{line.style}">{joined}{circles}</g>'


def _grid(at: Point, words: str) -> str:
    x, y = at
    line = f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"></line>'
    return f'{line}<text x="{x - 6}" y="{y + 4}" text-anchor="end">{words}</text>'


def _number_below(at: Point, words: str) -> str:
    x, y = at
    return f'<text x="{x}" y="{y + 16}" text-anchor="middle">{words}</text>'


def ticks(low: float, high: float) -> list[float]:
    """Round numbers, few and evenly spaced, the first at most `low` and the last at least `high`."""
    reach = (high - low) or 1
    power = 10.0 ** math.floor(math.log10(reach / MOST_TICKS))
    step = next(power * one for one in STEPS if reach / (power * one) <= MOST_TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _powers(values: Sequence[float]) -> list[int]:
    """Powers of ten, few and evenly spaced, with all values between the first and the last."""
    first, last = math.floor(_logarithm(min(values))), math.ceil(_logarithm(max(values)))
    every = max(1, -(-(last - first) // MOST_TICKS))
    return list(range(last - every * max(1, -(-(last - first) // every)), last + 1, every))


def _logarithm(value: float) -> float:
    return math.log10(max(value, LEAST))


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    plain = f"{round(value, 12):g}" if abs(value) > 1e-6 else f"{value:g}"
    return plain if len(plain) <= LONGEST_NUMBER or abs(value) >= 1 else _power(value)


def _power(value: float) -> str:
    """A small number as a power of ten, with a digit after the point if that is needed."""
    short = f"{value:.0e}"
    return short if math.isclose(float(short), value) else f"{value:.1e}"
