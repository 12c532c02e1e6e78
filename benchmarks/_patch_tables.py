"""The table of the results of bench_patches.py, for tables.py, with what its numbers say."""

import json
import textwrap
from typing import Any

from _cells import RESULTS, machines

LEWM, RELEASED, RECIPE, LARGE = "lewm", "released", "dino-wm", "dino-wm-sized"
PATHS = (LEWM, RELEASED, RECIPE, LARGE)
LIKE = ((RECIPE, LEWM), (LARGE, RELEASED))  # what is compared: both as users run them, and both as released
PAPER = {RELEASED: 0.98, LARGE: 47.0}  # seconds a plan on an NVIDIA L40S, read off a plot. Source: arXiv 2603.19312
CANDIDATES, ITERATIONS = 300, 30  # of such a plan
TOKENS = 200  # "~200x fewer tokens than DINO-WM" in the caption of that plot
Row = dict[str, Any]
Counts = dict[str, Row]


def patch_ratio() -> str:
    """Arithmetic and times of one plan by LeWM and by DINO-WM, each as users run it here and as it was released."""
    table = [
        "| | LeWM | its released loop | recipe dino-wm | DINO-WM's plain loop | dino-wm / LeWM | plain / released |",
        "|---|---|---|---|---|---|---|",
    ]
    reports = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("patches-*.json"))]
    if not reports:
        return "\n".join([*table, "", "Nothing is measured yet.", ""])
    counted = [row for row in reports[0]["results"] if row["stage"] == "arithmetic"]
    by_patches = {
        patches: {row["path"]: row for row in counted if row["patches"] in (1, patches)}
        for patches in sorted({row["patches"] for row in counted} - {1})
    }
    released, whole = by_patches.values()  # 196 patches, which are measured, and 256
    for patches, counts in by_patches.items():
        table += [
            _counted(f"tokens through the layers, a candidate, {patches} patches", counts, "tokens", 1, ""),
            _counted(f"multiply-adds a candidate, {patches} patches", counts, "multiply_adds", 1e6, " M"),
        ]
    table += [
        _counted("predictor's weights", released, "weights", 1e6, " MB"),
        _counted("operators of a rollout on a GPU", released, "launches", 1, ""),
    ]
    for report in reports:
        table += _timed(report)
    paper = f"{PAPER[RELEASED]:g} s | | {PAPER[LARGE]:g} s"
    table.append(f"| a plan, as the paper states it for an L40S | | {paper} | | {_published():.0f} |")
    busy = " Other programs were at work meanwhile: provisional." if reports[0]["results"][0]["provisional"] else ""
    timed = [row for report in reports for row in report["results"] if row["stage"] in ("plan", "rollout")]
    return "\n".join([*table, "", *_words(released, whole, timed), "", machines(reports) + busy, ""])


def _counted(name: str, counts: Counts, key: str, unit: float, said: str) -> str:
    cells = [f"{counts[path][key] / unit:,.0f}{said}" for path in PATHS]
    grows = key in ("tokens", "multiply_adds")
    more = [f"{counts[large][key] / counts[small][key]:,.0f}" if grows else "" for large, small in LIKE]
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
        some = f"{samples} candidate{'s' * (samples > 1)}"
        what = "a plan" if is_plan else f"the same {some}"
        times = [_time(found[path]) for path in PATHS]
        ratios = [_ratio(found[large]["ratios"][small]) for large, small in LIKE]
        lines.append(f"| {what}, {where}, {precision} | {' | '.join([*times, *ratios])} |")
    return lines


def _words(released: Counts, whole: Counts, timed: list[Row]) -> list[str]:
    """Where the ratios come from."""
    ours, loop, kept, large = (released[path] for path in PATHS)
    most = whole[LARGE]
    tokens = large["tokens"] / loop["tokens"]
    each = (large["products"] / large["tokens"]) / (loop["products"] / loop["tokens"])
    attention = (large["multiply_adds"] / large["products"]) / (loop["multiply_adds"] / loop["products"])
    more, less = (one["multiply_adds"] / loop["multiply_adds"] for one in (large, most))
    once, saved = (_times_less(*pair) for pair in ((loop, ours), (large, kept)))
    like = kept["multiply_adds"] / ours["multiply_adds"]
    like_most = whole[RECIPE]["multiply_adds"] / ours["multiply_adds"]
    rates = [2 * CANDIDATES * ITERATIONS * one["multiply_adds"] / PAPER[LARGE] / 1e12 for one in (large, most)]
    slow = 2 * CANDIDATES * ITERATIONS * loop["multiply_adds"] / PAPER[RELEASED] / 1e12
    started = ITERATIONS * loop["launches"]
    text = (
        f"DINO-WM's release shows its encoder {large['patches']} patches, and other code {most['patches']}. The "
        f"paper's figure of planning times speaks of about {TOKENS} times fewer tokens, so its {PAPER[LARGE]:g} s are "
        f"rather for {large['patches']}, which are measured here, than for {most['patches']}. Both loops as "
        f"released: DINO-WM does {more:,.0f} times LeWM's arithmetic with {large['patches']} patches and {less:,.0f} "
        f"times with {most['patches']}. The {more:,.0f} are {tokens:,.0f} times the tokens, {each:.1f} times the "
        f"products for each, and {attention:.1f} times all that for its attention. Both as users run them here: our "
        f"operator needs {once:.1f} times less than LeWM's loop, and the recipe's predictor, which keeps keys and "
        f"values, {saved:.1f} times less than DINO-WM's, which leaves {like:,.0f} and {like_most:,.0f} times. "
        f"{_on_cpu(timed, more, like)}On the paper's GPU DINO-WM runs at {rates[0]:.0f} or {rates[1]:.0f} TFLOP/s, by "
        f"the number of its patches, and LeWM at {slow:.1f}: LeWM's plan starts at least {started:,} operators one "
        f"after the other, {1e6 * PAPER[RELEASED] / started:.0f} µs for each, and each would be too small to fill a "
        f"GPU. So {more:,.0f} or {less:,.0f} times the arithmetic take {_published():.0f} times as long."
    )
    return textwrap.wrap(text, 120, break_on_hyphens=False)


def _times_less(more: Row, less: Row) -> float:
    return float(more["multiply_adds"] / less["multiply_adds"])


def _on_cpu(timed: list[Row], released: float, here: float) -> str:
    """What whole plans on a CPU show, as whole sentences; nothing where none was measured."""
    found = {(row["stage"], row["path"]): row for row in timed if row["device"] == "cpu"}
    if ("plan", LARGE) not in found:
        return ""
    (ours, theirs), candidates = LIKE, found["plan", LARGE]["measured_candidates"]
    plain, used = (_ratio(found["plan", large]["ratios"][small]) for large, small in (theirs, ours))
    growths = [found["rollout", path]["growth"] for path in (LARGE, RECIPE)]
    grown = " and ".join(f"{one['value']:.2f} times" for one in growths)
    return (
        f"On a CPU, whole plans come to {plain} times as long for these {released:,.0f}, and to {used} times for these "
        f"{here:,.0f}. The large models' plans are multiplied up from {candidates} candidates: for "
        f"{growths[0]['candidates']:g} times as many, the plain loop and the recipe's predictor took {grown} as long, "
        f"and the intervals cover both multiplying in proportion and along the line through the two sizes. "
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
