"""The tables of the results of bench_planning.py, for tables.py."""

import json
from pathlib import Path
from typing import Any

from _planning_paths import family

RESULTS = Path(__file__).resolve().parent / "results"
BASELINES = ("reference", "reference-compiled", "stable-worldmodel")
SAME = ("model", "part", "stage", "environments", "samples", "horizon", "of", "path", "precision")
Row = dict[str, Any]


def planning() -> str:
    """One iteration's costs and whole solves: the time of every path, and the baselines' times as multiples of it."""
    table = [
        "| model | what | path | device | time (20 to 80 %) | reference | compiled reference | stable-worldmodel "
        "| matrix rate | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in _rows("a", "rollout") + _rows("b", "solve") + _rows("c", "solve"):
        peak = row.get("peak_extra_bytes")
        ratios = [_ratio(row, name) for name in BASELINES]
        rest = [_matrix_rate(row), "" if peak is None else f"{peak / 2**20:.0f}"]
        cells = [row["model"], _what(row), _path(row), row["where"], _spread(row), *ratios, *rest]
        table.append(f"| {' | '.join(cells)} |")
    return _finished(table)


def stages() -> str:
    """The parts of a solve's time."""
    names = ("encode", "sample", "rollout", "select")
    table = [f"| model | what | precision | device | {' | '.join(names)} |", "|---|---|---|---|---|---|---|---|"]
    by_solve: dict[tuple[str, int, str, str], dict[str, Row]] = {}
    for row in _rows("b") + _rows("c"):
        if row["path"] == "lewm" and row["stage"] in names:
            key = (row["model"], row["environments"], row["precision"], row["where"])
            by_solve.setdefault(key, {})[row["stage"]] = row
    for (model, _, precision, where), found in by_solve.items():
        times = [_spread(found[name]).partition(" (")[0] if name in found else "" for name in names]
        table.append(f"| {' | '.join([model, _what(found['rollout']), precision, where, *times])} |")
    return _finished(table)


def on_gpus() -> list[str]:
    """For README.md, a row for each solve on a GPU: the library's in its fastest precision."""
    fastest: dict[tuple[str, str, str], Row] = {}
    for row in _rows("b", "solve") + _rows("c", "solve"):
        if row["path"] == "lewm" and row["device"] != "cpu" and "skipped" not in row:
            key = (row["where"], row["model"], row["part"])
            fastest[key] = min(row, fastest.get(key, row), key=lambda row: row["median_ms"])
    rows = []
    for row in fastest.values():
        what = f"{_what(row)}, {row['model']} model, {row['where']}, {row['precision']}"
        ratios = {"the reference": _ratio(row, "reference"), "it compiled": _ratio(row, "reference-compiled")}
        slower = ", ".join(f"{name} {ratio}" for name, ratio in ratios.items() if ratio)
        rows.append(f"| {what} | {_spread(row)}; {slower} |")
    return rows


def patches() -> str:
    """A plan from a frame, against a world model of DINO-WM's size."""
    table = ["| path | device | time (20 to 80 %) | of DINO-WM's size |", "|---|---|---|---|"]
    for row in _rows("d", "plan"):
        ratio = _ratio(row, "dino-wm-sized", "dino-wm-sized-compiled")
        table.append(f"| {_path(row)} | {row['where']} | {_spread(row)} | {ratio} |")
    return _finished(table)


def growth() -> str:
    """The time of one iteration for growing sizes."""
    table = ["| model | device | B, S, H | time (20 to 80 %) | µs a candidate and block |", "|---|---|---|---|---|"]
    for row in _rows("growth"):
        if "skipped" in row:
            continue
        sizes = [row[size] for size in ("environments", "samples", "horizon")]
        each = 1e3 * row["median_ms"] / (sizes[0] * sizes[1] * sizes[2])
        cells = [row["model"], row["where"], ", ".join(map(str, sizes)), _spread(row), f"{each:.1f}"]
        table.append(f"| {' | '.join(cells)} |")
    return _finished(table)


def _rows(part: str, stage: str | None = None) -> list[Row]:
    """The rows of all machines; `where` says on which.

    A path that was measured in several files, with other baselines each time, is one row: the first, with all ratios.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for file in sorted(RESULTS.glob("planning-*.json")):
        report = json.loads(file.read_text())
        for row in report["results"]:
            if row["part"] == part and stage in (None, row["stage"]):
                where = (
                    report["device"]
                    if row["device"] != "cpu"
                    else f"CPU, {row['threads']} thread{'s' * (row['threads'] > 1)}"
                )
                key = (where, *(row.get(name) for name in SAME))
                first = found.get(key)
                if first is None or "skipped" in first:
                    found[key] = {**row, "where": where}
                else:
                    found[key] = {**first, "ratios": row["ratios"] | first["ratios"]}
    return list(found.values())


def _finished(table: list[str]) -> str:
    """The table, with a last line on the paths that it lacks."""
    lines = table[2:]
    if not lines:
        return "\n".join([*table, "", "Nothing is measured yet.", ""])
    only_cpu = all("| CPU, " in line for line in lines)
    return "\n".join([*table, "", *["GPU: not measured.", ""] * only_cpu])


def _what(row: Row) -> str:
    one = row["environments"] == 1
    what = "one iteration" if row["part"] == "a" else "a solve"
    together = "" if one else f", {row['environments']} environments"
    if row.get("together", row["environments"]) < row["environments"]:
        together += f", {row['together']} at a time"
    measured = (
        f" ({row['measured_iterations']} of {row['iterations']} iterations measured)"
        if "measured_iterations" in row
        else ""
    )
    return what + together + measured


def _path(row: Row) -> str:
    measured = f" ({row['measured_candidates']} candidates measured)" if "measured_candidates" in row else ""
    return f"{row['path']} {row['precision']}{measured}"


def _ratio(row: Row, *baselines: str) -> str:
    """The ratio of the fastest form of some baselines: any precision, under a graph or not."""
    ratios = [ratio for name, ratio in row["ratios"].items() if family(name.split()[0]) in baselines]
    if not ratios or row["path"].startswith("products"):
        return ""
    return f"{min(ratios):.3g} ×" if min(ratios) < 1000 else f"{min(ratios):,.0f} ×"


def _matrix_rate(row: Row) -> str:
    """The share of the matrix rate that a path reaches; for the products alone, the rate."""
    if "skipped" in row:
        return ""
    if row["path"].startswith("products"):
        candidates = row["environments"] * row["samples"]
        rate = 2 * row["multiply_adds_a_candidate"] * candidates / (1e6 * row["median_ms"])
        return f"{rate:,.0f} GFLOP/s"
    return f"{row['share_of_matrix_rate']:.0%}" if "share_of_matrix_rate" in row else ""


def _spread(row: Row) -> str:
    """The time, or the reason why there is none."""
    if "skipped" in row:
        return row["skipped"]
    times = [row[name] for name in ("median_ms", "p20_ms", "p80_ms")]
    if times[0] < 1000:
        return "{:.3g} ms ({:.3g} to {:.3g})".format(*times)
    return "{:,.1f} s ({:,.1f} to {:,.1f})".format(*(time / 1000 for time in times))
