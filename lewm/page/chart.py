"""A small chart of lines, as SVG in the page: its colours are the page's own, light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lewm.page.elements import text

WIDTH, HEIGHT = 320, 200  # of the drawing, in its own units, which the page scales
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 8, 36  # margins, which hold the numbers of the axes
MOST_TICKS = 5
STEPS = (1, 2, 5, 10)  # ticks are multiples of one of them times a power of ten

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of a chart; a line of one point is a dot.

    Attributes:
        points: What it goes through, from left to right.
        ours: Whether it is of the run that the page shows; the others are quiet.
        interval: The interval of its last point, drawn as a bar.
    """

    points: tuple[Point, ...]
    ours: bool
    interval: tuple[float, float] | None = None


def chart(title: str, lines: Sequence[Line], unit: str = "", top: float | None = None) -> str:
    """A chart over training steps.

    Args:
        title: What the lines show.
        lines: At least one line with a point. Points that are not finite are left out.
        unit: Written behind the numbers of the vertical axis.
        top: The upper end of the vertical axis; else it is what the lines need.
    """
    lines = [Line(tuple(p for p in one.points if all(map(math.isfinite, p))), one.ours, one.interval) for one in lines]
    xs = [x for one in lines for x, _ in one.points]
    ys = [y for one in lines for y in (*(y for _, y in one.points), *(one.interval or ()))]
    if not xs:
        return ""
    across, up = _ticks(0.0, max(xs)), _ticks(min(0.0, *ys), max(ys) if top is None else top)

    def place(x: float, y: float) -> Point:
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        left, high = (x - across[0]) / (across[-1] - across[0]), (y - up[0]) / (up[-1] - up[0])
        return round(LEFT + width * left, 1), round(HEIGHT - BOTTOM - height * high, 1)

    drawn = [_grid(place(across[0], y), f"{_number(y)}{unit}") for y in up]
    drawn += [_number_below(place(x, up[0]), _number(x)) for x in across]
    drawn.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">training step</text>')
    for one in sorted(lines, key=lambda line: line.ours):  # ours above the others
        drawn.append(_line([place(*point) for point in one.points], one.ours))
        if one.interval and one.points:
            x = one.points[-1][0]
            drawn.append(_line([place(x, end) for end in one.interval], one.ours, dots=False))
    said = text(title)
    svg = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(drawn)}</svg>'
    return f"<figure>{svg}<figcaption>{said}</figcaption></figure>"


def _line(points: Iterable[Point], ours: bool, dots: bool = True) -> str:
    places = list(points)
    kind = "ours" if ours else "theirs"
    path = " ".join(f"{x},{y}" for x, y in places)
    radius, ends = 3.5 if ours else 2, places[:1] + places[-1:] if dots else []
    circles = "".join(f'<circle cx="{x}" cy="{y}" r="{radius}"></circle>' for x, y in ends)
    return f'<g class="{kind}"><polyline points="{path}"></polyline>{circles}</g>'


def _grid(at: Point, words: str) -> str:
    x, y = at
    line = f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"></line>'
    return f'{line}<text x="{x - 6}" y="{y + 4}" text-anchor="end">{words}</text>'


def _number_below(at: Point, words: str) -> str:
    x, y = at
    return f'<text x="{x}" y="{y + 16}" text-anchor="middle">{words}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, few and evenly spaced, the first at most `low` and the last at least `high`."""
    reach = (high - low) or 1
    power = 10.0 ** math.floor(math.log10(reach / MOST_TICKS))
    step = next(power * one for one in STEPS if reach / (power * one) <= MOST_TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"
