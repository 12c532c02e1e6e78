"""The tables of the results of bench_collect.py, bench_verdicts.py and bench_worlds.py, for tables.py."""

import json
from typing import Any

from _cells import RESULTS, between, duration, each_seed, machines, success_of

PATHS = ("bare loop", "collect", "collect, every core")


def collecting() -> str:
    """Frames a second of every world: the simulator alone, recorded on one core, and on all."""
    header = "| world | simulator alone, one core | `lewm collect`, one core | of the simulator alone | every core |"
    rows = [header, "|---|---|---|---|---|"]
    path = RESULTS / "collect-cpu.json"
    if not path.exists():
        return "\n".join([*rows, "| every world | not measured | - | - | - |", ""])
    report = json.loads(path.read_text())
    for name in dict.fromkeys(row["world"] for row in report["results"]):
        found = [row for row in report["results"] if row["world"] == name]
        if "skipped" in found[0]:
            rows.append(f"| {name} | {found[0]['skipped']} | - | - | - |")
            continue
        alone, one, every = (_row(found, kind) for kind in PATHS)
        cells = [
            _spread(alone),
            _spread(one),
            f"{one['share_of_bare']:.0%}",
            f"{_spread(every)}, {every['cores']} cores",
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    sides = {row["frame_size"] for row in report["results"] if "skipped" not in row}
    what = f"Frames of {' and '.join(map(str, sides))} px a second, median and 20 to 80 %"
    return "\n".join([*rows, "", f"{what}; {report['cpu']}, {report['time'][:10]}.", ""])


def drawing() -> str:
    """Time and difference of the ways to draw the worlds of MuJoCo."""
    report = json.loads((RESULTS / "drawing-cpu.json").read_text())
    rows = [
        "| world | px | drawn by | ms a frame | mean difference of 255 | PSNR | collected frames a second |",
        "|---|---|---|---|---|---|---|",
    ]
    named = {"MuJoCo itself": "MuJoCo itself", "before": "lewm before these limits"}
    for row in report["results"]:
        way = named.get(row["way"], "lewm" if row["way"] == row["world"] else f"lewm, {row['way']}")
        apart, rate = row.get("to MuJoCo itself"), row.get("collected_a_second")
        psnr = "-" if apart is None or apart["psnr"] is None else f"{apart['psnr']:.1f} dB"
        cells = [row["world"], str(row["frame_size"]), way, f"{row['ms_a_frame']:.1f}"]
        cells += ["-" if apart is None else f"{apart['mean']:.2f}", psnr, "-" if rate is None else f"{rate:.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", f"Seconds of the processor, one core; {report['cpu']}, {report['time'][:10]}.", ""])


def worlds() -> str:
    """Success of the small recipe in each world: each training seed, and all of them together."""
    rows = [
        "| world | data | tasks a seed | seed: solved | interquartile mean | 95 % interval | random actions "
        "| collect | train | plan |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    reports = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("world-*-cpu.json"))]
    for report in reports:
        results = report["results"]
        data, plans = results[0]["data"], [result["plan"] for result in results]
        planned, floor = success_of(plans), success_of([plan["random"] for plan in plans])
        cells = [
            results[0]["world"],
            f"{data['episodes']:,} episodes, {data['frames']:,} frames, {data['policy']}",
            ", ".join(sorted({str(plan["episodes"]) for plan in plans})),
            each_seed(results),
            f"{planned.value:.1%}",
            between(planned),
            f"{floor.value:.1%} ({between(floor)})",
            *(duration(_shortest(results, stage)) for stage in ("collect", "train", "plan")),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", machines(reports), ""])


def verdicts() -> str:
    """Whether the states of Gymnasium environments tell success, and why not."""
    report = json.loads((RESULTS / "verdicts-cpu.json").read_text())
    rows = ["| environment | versions | success is | tried out in |", "|---|---|---|---|"]
    for row in report["results"]:
        if "skipped" in row:
            rows.append(f"| `{row['world']}` | - | not tried: {row['skipped']} | - |")
            continue
        versions = ", ".join(f"{name} {version}" for name, version in row["packages"].items())
        rows.append(f"| `{row['world']}` | {versions} | {row['said']} | {row['seconds']:.0f} s |")
    return "\n".join([*rows, "", machines([report]), ""])


def _shortest(results: list[dict[str, Any]], stage: str) -> list[float | None]:
    """The shortest time of the seeds, as a list: the others were disturbed more by what ran beside them."""
    seconds = [result["seconds"][stage] for result in results]
    return [None] if None in seconds else [min(seconds)]


def _row(rows: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [row for row in rows if row["path"] == kind]
    return found


def _spread(row: dict[str, Any]) -> str:
    return f"{row['frames_per_second']:,.0f} ({row['p20']:,.0f} to {row['p80']:,.0f})"
