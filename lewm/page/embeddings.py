"""The page's part on the distribution of held-out embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lewm.page import elements
from lewm.page.chart import Axes, Line, Point, Style, kept_chart
from lewm.page.content import Content, other_weights
from lewm.page.forest import Bar, Row, Track, forest
from lewm.page.shelf import Shelf
from lewm.report_files import read_report

AIM = "N(0, I), as many samples"
MEASURES = (
    ("coverage", "share of N(0, I) that is covered"),
    ("reverse_coverage", "share of the embeddings covered by it"),
    ("density", "density within it"),
)
KEY = elements.key([("ours", "embeddings"), ("theirs", AIM)])


def embeddings(path: Path, shelf: Shelf) -> Content:
    """embeddings.json: moments, spectrum, normality and coverage, each beside what N(0, I) gets."""
    found = read_report(path)
    rank, aim = found["effective_rank"], found["effective_rank_of_normal"]
    beside = "" if aim is None else f"; {AIM}: {aim:.1f}"
    least, mean, greatest = (found[f"{which}_variance"] for which in ("least", "mean", "greatest"))
    facts = [
        ("Frames", f"{found['frames']:,} frames of {found['episodes']:,} held-out episodes"),
        ("Effective rank", f"{rank:.1f} of {found['dimensions']:,}{beside}"),
        ("Variance of a dimension", f"{mean:.3g} on average, {least:.3g} to {greatest:.3g}"),
        ("Size of the mean", f"{found['mean_size']:.3g}, root mean square over the dimensions"),
        ("Constant dimensions", f"{found['constant']:,}"),
    ]
    if found["normality"] is not None:
        tested = sum(p is not None for p in found["normality"]["p_values"])
        facts.append(("Not normal", f"{found['normality']['rejected']:,} of {tested:,} tested dimensions"))
    figures = [
        _spectrum(found, shelf),
        *_moments(found, shelf),
        _p_values(found["normality"], shelf),
    ]
    body = other_weights(path, found) + elements.facts(facts) + KEY + elements.grid(figures, "pairs")
    body += _cover(found, shelf)
    body += "".join(elements.paragraph(sentence, "quiet") for sentence in found["left_out"])
    told = "SIGReg aims at N(0, I)."
    if found["cover"] is not None:
        told += (
            " Moments and spectrum are of all frames; normality and coverage are of "
            f"{found['episodes']:,} frames, one of each episode, because frames of an episode are alike. A dimension "
            "counts as not normal at the level 0.05 of all tests together (D'Agostino and Pearson, Holm's correction); "
            "with few frames, few are found."
        )
    return Content(body + elements.paragraph(told, "quiet"))


def _spectrum(found: Mapping[str, Any], shelf: Shelf) -> str:
    lines = [_line(found["eigenvalues"], "ours", "embeddings")]
    if found["eigenvalues_of_normal"] is not None:
        lines.append(_line(found["eigenvalues_of_normal"], "theirs", AIM))
    axes = Axes(across="eigenvalue, the greatest first", powers=True)
    return kept_chart(shelf, "spectrum", "Eigenvalues of the covariance", lines, axes)


def _moments(found: Mapping[str, Any], shelf: Shelf) -> list[str]:
    return [
        kept_chart(
            shelf,
            name,
            title,
            [
                Line(_counted(found[name]), "ours", "embeddings", marks="alone"),
                Line(((1.0, aim), (max(2.0, float(len(found[name]))), aim)), "theirs", "N(0, 1)"),
            ],
            Axes(across="dimension"),
        )
        for name, title, aim in (
            ("means", "Mean of each dimension", 0.0),
            ("variances", "Variance of each dimension", 1.0),
        )
        if found[name]
    ]


def _p_values(normality: Mapping[str, Any] | None, shelf: Shelf) -> str:
    """P-values in order: those of normal dimensions follow the line of uniform ones."""
    known = sorted(p for p in normality["p_values"] if p is not None) if normality else []
    if not known:
        return ""
    lines = [
        Line(tuple(((rank + 0.5) / len(known), p) for rank, p in enumerate(known)), "ours", "embeddings"),
        Line(((0.0, 0.0), (1.0, 1.0)), "theirs", "normal dimensions"),
    ]
    axes = Axes(across="share of the dimensions", top=1.0)
    return kept_chart(shelf, "p_values", "P-values of normality, in order", lines, axes)


def _cover(found: Mapping[str, Any], shelf: Shelf) -> str:
    """Coverage and density in all directions, and in those that the embeddings use."""
    spaces = (
        (found["cover"], f"All {found['dimensions']} dimensions"),
        (found["cover_used"], f"The {found['used']} used" if found["used"] > 1 else "The one that is used"),
    )
    rows = [
        Row(f"{where}: {title}", _bars(cover, name))
        for cover, where in spaces
        if cover is not None
        for name, title in MEASURES
    ]
    if not rows:
        return ""
    neighbours = found["cover"]["neighbours"]
    title = f"Coverage and density, with {neighbours} neighbours; the interval is over samples of N(0, I)"
    told = (
        "Coverage of N(0, I) falls where embeddings spread too far, its coverage of them where they spread too little, "
        "as in a collapse. Density rises where embeddings crowd together in the middle. As many leading principal "
        "directions as the effective rank says are looked at by themselves, scaled to variance 1: whether the "
        "embeddings fill the space that they use."
    )
    most = max(end for row in rows for bar in row.bars if bar is not None for end in bar.interval or (bar.value,))
    tracks = [Track(whose, digits=2, low=0.0, high=most) for whose in ("embeddings", AIM)]
    return forest(shelf, "cover", title, rows, tracks) + elements.paragraph(told, "quiet")


def _bars(cover: Mapping[str, Any], name: str) -> tuple[Bar, Bar]:
    """A measure of the embeddings, and of N(0, I)."""
    ours, normal = cover[name], cover[f"{name}_of_normal"]
    low, high = ours["interval_95"]
    least, most = normal["interval_95"]
    return Bar(ours["value"], (low, high), "ours"), Bar(normal["value"], (least, most), "theirs")


def _line(values: Sequence[float], style: Style, label: str) -> Line:
    return Line(_counted(values), style, label)


def _counted(values: Sequence[float]) -> tuple[Point, ...]:
    return tuple((float(place), value) for place, value in enumerate(values, 1))
