"""The table of the results of bench_patches.py, for tables.py, with what its numbers say."""

import json
import textwrap
from typing import Any

from _cells import RESULTS, machines

LEWM, RELEASED, LARGE = "lewm", "released", "dino-wm-sized"
PATHS = (LEWM, RELEASED, LARGE)
PAPER = {RELEASED: 0.98, LARGE: 47.0}  # seconds a plan on an NVIDIA L40S, read off a plot. Source: arXiv 2603.19312
CANDIDATES, ITERATIONS = 300, 30  # of such a plan
Row = dict[str, Any]


def patch_ratio() -> str:
    """Arithmetic and times of one plan by LeWM, by the released loop, and by a model of DINO-WM's size."""
    table = [
        "| | LeWM | released loop | DINO-WM's size | times LeWM | times the released loop |",
        "|---|---|---|---|---|---|",
    ]
    reports = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("patches-*.json"))]
    if not reports:
        return "\n".join([*table, "", "Nothing is measured yet.", ""])
    counts = {row["path"]: row for row in reports[0]["results"] if row["stage"] == "arithmetic"}
    table += [
        _counted("tokens through the layers, a candidate", counts, "tokens", 1, ""),
        _counted("multiply-adds a candidate", counts, "multiply_adds", 1e6, " M"),
        _counted("predictor's weights", counts, "weights", 1e6, " MB"),
        _counted("operators of a rollout on a GPU", counts, "launches", 1, ""),
    ]
    for report in reports:
        table += _timed(report)
    paper = " | ".join(f"{PAPER[path]:g} s" for path in (RELEASED, LARGE))
    table.append(f"| a plan, as the paper states it for an L40S | | {paper} | | {_published():.0f} |")
    busy = " Other programs were at work meanwhile: provisional." if reports[0]["results"][0]["provisional"] else ""
    timed = [row for report in reports for row in report["results"] if row["stage"] == "plan" and row["path"] == LARGE]
    return "\n".join([*table, "", *_words(counts, timed), "", machines(reports) + busy, ""])


def _counted(name: str, counts: dict[str, Row], key: str, unit: float, said: str) -> str:
    values = [counts[path][key] for path in PATHS]
    cells = [f"{value / unit:,.0f}{said}" for value in values]
    grows = key in ("tokens", "multiply_adds")
    more = [f"{values[2] / other:,.0f}" if grows else "" for other in values[:2]]
    return f"| {name} | {' | '.join([*cells, *more])} |"


def _timed(report: Row) -> list[str]:
    """A line for each stage, number of candidates and precision: the time of every path and the ratios."""
    groups: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in report["results"]:
        if row["stage"] != "arithmetic":
            groups.setdefault((row["stage"] == "plan", row["precision"], row["samples"]), {})[row["path"]] = row
    lines = []
    for (is_plan, precision, samples), found in sorted(groups.items()):
        one = found[LARGE]
        threads = f"CPU, {one['threads']} thread{'s' * (one['threads'] > 1)}"
        where = report["device"] if one["device"] != "cpu" else threads
        what = "a plan" if is_plan else f"the same {samples} candidates"
        times = [_time(found[path]) for path in PATHS]
        ratios = [_ratio(one["ratios"][other]) for other in (LEWM, RELEASED)]
        lines.append(f"| {what}, {where}, {precision} | {' | '.join([*times, *ratios])} |")
    return lines


def _words(counts: dict[str, Row], timed: list[Row]) -> list[str]:
    """Where the ratios come from."""
    ours, loop, large = (counts[path] for path in PATHS)
    tokens = large["tokens"] / loop["tokens"]
    each = (large["products"] / large["tokens"]) / (loop["products"] / loop["tokens"])
    attention = (large["multiply_adds"] / large["products"]) / (loop["multiply_adds"] / loop["products"])
    whole, once = large["multiply_adds"] / loop["multiply_adds"], loop["multiply_adds"] / ours["multiply_adds"]
    rates = {path: 2 * CANDIDATES * ITERATIONS * counts[path]["multiply_adds"] / PAPER[path] / 1e12 for path in PAPER}
    started = ITERATIONS * loop["launches"]
    least, most = _published() * loop["launches"] / ours["launches"], large["multiply_adds"] / ours["multiply_adds"]
    text = (
        f"The large model does {whole:,.0f} times the arithmetic of the released loop: {tokens:,.0f} times the tokens, "
        f"{each:.1f} times the products for each, and {attention:.1f} times all that for its attention. Our operator "
        f"needs {once:.1f} times less than the loop. {_on_cpu(timed, whole, once)}On the paper's GPU the large model "
        f"runs at {rates[LARGE]:.0f} TFLOP/s and the small one at {rates[RELEASED]:.1f}, "
        f"{rates[LARGE] / rates[RELEASED]:.0f} times less, which turns {whole:,.0f} into {_published():.0f}: its plan "
        f"starts at least {started:,} operators one after the other, {1e6 * PAPER[RELEASED] / started:.0f} µs for "
        f"each, and each is too small to fill a GPU. On such a GPU we expect our operator to be {least:,.0f} times as "
        f"fast as the large model, if each of its {ours['launches']} operators takes as long as one of the loop's, and "
        f"at most {most:,.0f} times."
    )
    return textwrap.wrap(text, 120, break_on_hyphens=False)


def _on_cpu(timed: list[Row], whole: float, once: float) -> str:
    """What whole plans on a CPU show, as the end of a sentence and one more; nothing where none was measured."""
    found = next((row["ratios"] for row in timed if row["device"] == "cpu"), None)
    if found is None:
        return ""
    loop, ours = found[RELEASED]["value"], found[LEWM]["value"]
    return (
        f"A CPU is kept busy by both, so arithmetic decides: {loop:,.0f} times were measured for these {whole:,.0f}, "
        f"and our operator computes {ours / loop / once:.1f} times as fast as the loop beside saving arithmetic. Few "
        f"candidates are too little work even for a CPU: the small model's time then hardly grows with them. "
    )


def _published() -> float:
    return PAPER[LARGE] / PAPER[RELEASED]


def _time(row: Row) -> str:
    seconds = row["median_ms"] / 1e3
    time = f"{1e3 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
    if seconds >= 3600:
        time = f"{seconds / 3600:.1f} h"
    if "measured_candidates" in row:
        return f"{time} ({row['measured_candidates']} candidates measured)"
    if "measured_iterations" in row:
        return f"{time} ({row['measured_iterations']} iterations measured)"
    return time


def _ratio(one: Row) -> str:
    value, (low, high) = one["value"], one["interval_95"]
    return f"{value:,.0f} ({low:,.0f} to {high:,.0f})"
