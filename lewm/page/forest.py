"""A forest plot, as a table: names, numbers, and between them each number with its interval on a common axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lewm.page.chart import Style, ticks
from lewm.page.elements import data_link, text
from lewm.page.shelf import Shelf, write_csv

EDGE = 6.0  # percent of a track's width that lie outside its axis on each side
MOST_DIGITS = 14  # of all numbers below an axis: every other one is left out where they have more


@dataclass(frozen=True)
class Bar:
    """A number with its interval.

    Attributes:
        value: The number, drawn as a dot.
        interval: Its ends, drawn as a line; None where there is none.
        style: Whose it is.
    """

    value: float
    interval: tuple[float, float] | None
    style: Style = "other"


@dataclass(frozen=True)
class Row:
    """A row: its name, and a bar or None for each track; `note` is said where there is no bar."""

    name: str
    bars: tuple[Bar | None, ...]
    note: str = ""


@dataclass(frozen=True)
class Track:
    """What one column of bars has in common.

    Attributes:
        title: Its heading.
        unit: Written behind its numbers.
        digits: How many digits its numbers have after the point.
        low, high: Ends of its axis; what the bars need if None.
        marks: Numbers at which a line crosses all rows, each with the style of that line.
        signed: Whether positive numbers have a plus.
    """

    title: str
    unit: str = ""
    digits: int = 1
    low: float | None = None
    high: float | None = None
    marks: tuple[tuple[float, str], ...] = ()
    signed: bool = False


def forest(shelf: Shelf, name: str, title: str, rows: Sequence[Row], tracks: Sequence[Track]) -> str:
    """A forest plot with a link to its numbers, which are kept as the file `name`.csv.

    It is a table with all its numbers as text, so that whoever cannot see the bars reads the same.
    """
    columns = [[row.bars[at] for row in rows] for at in range(len(tracks))]
    axes = [_axis(track, bars) for track, bars in zip(tracks, columns, strict=True)]
    heads = "".join(f'<th scope="col" colspan="2">{text(track.title)}</th>' for track in tracks)
    body = "".join(_row(row, tracks, axes) for row in rows)
    feet = "".join(
        f'<td class="track">{_numbers(track, axis)}</td><td class="value" data-track="{text(track.title)}"></td>'
        for track, axis in zip(tracks, axes, strict=True)
    )
    link = data_link(_keep(shelf, name, rows, tracks), f"{name}.csv", title)
    return (
        f'<div class="wide"><table class="forest"><caption><span>{text(title)}{link}</span></caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody>"
        f'<tfoot aria-hidden="true"><tr><td></td>{feet}</tr></tfoot></table></div>'
    )


def said(bar: Bar, track: Track) -> str:
    """A number with its interval in words: "61.2 % (55.0 to 67.1)"."""
    style = f"{'+' if track.signed else ''}.{track.digits}f"
    interval = (
        "" if bar.interval is None else " ({} to {})".format(*(_minus(format(end, style)) for end in bar.interval))
    )
    return f"{_minus(format(bar.value, style))}{track.unit}{interval}"


def _keep(shelf: Shelf, name: str, rows: Sequence[Row], tracks: Sequence[Track]) -> str | None:
    head = ["name", *(f"{track.title}{part}" for track in tracks for part in ("", " low", " high"))]
    table = [
        [row.name, *(number for bar in row.bars for number in ((None,) * 3 if bar is None else _three(bar)))]
        for row in rows
    ]
    return write_csv(shelf, f"{name}.csv", head, table)


def _three(bar: Bar) -> tuple[float | None, ...]:
    return (bar.value, *(bar.interval or (None, None)))


def _axis(track: Track, bars: Sequence[Bar | None]) -> list[float]:
    """The numbers of a track's axis, ascending."""
    shown = [number for bar in bars if bar is not None for number in _three(bar) if number is not None]
    shown += [value for value, _ in track.marks]
    finite = [number for number in shown if math.isfinite(number)] or [0.0, 1.0]
    low = min(finite) if track.low is None else track.low
    high = max(finite) if track.high is None else track.high
    return ticks(low, high)


def _row(row: Row, tracks: Sequence[Track], axes: Sequence[list[float]]) -> str:
    cells = "".join(_cells(row, *one) for one in zip(row.bars, tracks, axes, strict=True))
    return f'<tr><th scope="row">{text(row.name)}</th>{cells}</tr>'


def _cells(row: Row, bar: Bar | None, track: Track, axis: list[float]) -> str:
    words = row.note if bar is None else said(bar, track)
    empty = "" if words else " empty"
    return (
        f'<td class="track{empty}">{_drawn(bar, track, axis)}</td>'
        f'<td class="value{empty}" data-track="{text(track.title)}">{text(words)}</td>'
    )


def _drawn(bar: Bar | None, track: Track, axis: list[float]) -> str:
    marks = "".join(
        f'<line class="mark {style}" x1="{x}%" x2="{x}%" y1="0" y2="100%"></line>'
        for value, style in track.marks
        for x in [_place(value, axis)]
    )
    dot = ""
    if bar is not None and math.isfinite(bar.value):
        low, high = (_place(end, axis) for end in bar.interval or (bar.value, bar.value))
        dot = (
            f'<g class="{bar.style}"><line x1="{low}%" x2="{high}%" y1="50%" y2="50%"></line>'
            f'<circle cx="{_place(bar.value, axis)}%" cy="50%" r="4"></circle></g>'
        )
    return f'<svg aria-hidden="true">{marks}{dot}</svg>'


def _numbers(track: Track, axis: list[float]) -> str:
    numbers = [_minus(f"{round(value, 9):g}") for value in axis]
    every = 2 if len("".join(numbers)) > MOST_DIGITS else 1  # and 0 among them
    written = "".join(
        f'<text x="{_place(value, axis)}%" y="12" text-anchor="middle">{number}</text>'
        for value, number in zip(axis, numbers, strict=True)
        if round(value / (axis[1] - axis[0])) % every == 0
    )
    return f"<svg>{written}</svg>"


def _place(value: float, axis: list[float]) -> float:
    share = (value - axis[0]) / (axis[-1] - axis[0])
    return round(EDGE + (100 - 2 * EDGE) * min(max(share, 0.0), 1.0), 2)


def _minus(number: str) -> str:
    return number.replace("-", "−")  # the sign that is as wide as a plus
