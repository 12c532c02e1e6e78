"""The tables of the results of bench_sigreg.py, bench_sigreg_exact.py and bench_philox.py, for tables.py."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

# Data sheet of the H100 SXM: 67 TFLOP/s of float32 outside the tensor cores, 3.35 TB/s
H100_MULTIPLY_ADDS, H100_BYTES = 33.5e12, 3.35e12


def sigreg() -> str:
    """The SIGReg operator, every measured row; without results of a GPU, a row that says so."""
    rows = [
        "| device | T, N, D, M, K | threads | pass | path | ms (20 to 80 %) | speed-up | over its best form | peak MiB "
        "| errors |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    reports = [_load(path.name) for path in sorted(RESULTS.glob("sigreg-*.json"))]
    reports = [report for report in reports if report["benchmark"] == "sigreg"]
    for report in sorted(reports, key=lambda report: report["device"] != "cpu"):
        device = "CPU" if report["device"] == "cpu" else report["device"]
        for r in report["results"]:
            shape = f"{r['T']}, {r['N']}, {r['D']}, {r['M']}, {r['K']}"
            row = f"| {device} | {shape} | {r['threads']} | {r['pass']} | {r['path']} "
            if "skipped" in r:
                rows.append(row + f"| {r['skipped']} | - | - | - | - |")
                continue
            speedup = f"{r['speedup']:.1f}" if "speedup" in r else "-"
            rows.append(
                row + f"| {_milliseconds(r)} | {speedup} | {_best(r, report['results'])} "
                f"| {r['peak_extra_bytes'] / 2**20:.1f} | {r['error_value']:.1e}, {r['error_gradient']:.1e} |"
            )
    if all(report["device"] == "cpu" for report in reports):
        rows.append("| GPU | every shape | - | both | every path | not measured | - | - | - | - |")
    return "\n".join([*rows, ""])


def exact() -> str:
    """The mean over all directions beside the sketch, and the number of embeddings from which the sketch is faster."""
    rows = [
        "| T, N, D | path | ms (20 to 80 %) | speed-up | peak MiB | errors |",
        "|---|---|---|---|---|---|",
    ]
    results = _load("sigreg-exact-cpu.json")["results"]
    for r in results:
        path = f"sketch, {r['M']} directions" if r["path"] == "sketch" else r["path"]
        rows.append(
            f"| {r['T']}, {r['N']}, {r['D']} | {path} | {_milliseconds(r)} | {r['ratio']:.1f} "
            f"| {r['peak_extra_bytes'] / 2**20:.1f} | {r['error_value']:.1e}, {r['error_gradient']:.1e} |"
        )
    T, D, M = (results[-1][letter] for letter in "TDM")
    ratios = {r["N"]: r["ratio"] for r in results if (r["T"], r["D"], r["path"]) == (T, D, "exact")}
    crossing = _crossing(sorted(ratios.items()))
    where = "at none of these numbers of embeddings"
    if math.isfinite(crossing):
        where = f"at about {float(f'{crossing:.2g}'):,.0f} embeddings"
    return "\n".join([*rows, "", f"With T {T}, D {D} and {M} directions, both take the same time {where}.", ""])


def _crossing(ratios: list[tuple[int, float]]) -> float:
    """The place where a falling ratio is 1, by straight lines between the logarithms; infinite if it never is."""
    for (N, above), (next_N, below) in pairwise(ratios):
        if above >= 1 > below:
            return N * (next_N / N) ** (math.log(above) / math.log(above / below))
    return math.inf


def floor() -> str:
    """The least work of SIGReg on an H100, forward and backward, from counts alone."""
    rows = [
        "| T, N, D, M, K | products, G multiply-adds | powers, G operations | MB moved | floor, µs |",
        "|---|---|---|---|---|",
    ]
    for T, N, D, M, K in (
        (4, 128, 192, 1024, 17),
        (4, 64, 32, 256, 17),
        (4, 4096, 192, 4096, 17),
        (2, 1024, 1024, 1024, 17),
    ):
        projections = T * N * M
        products = 3 * projections * D  # forward, projected again in backward, and the gradient
        powers = (6 + 4) * (K - 1) * projections  # rotate and add up; rotate for Horner
        moved = 4 * (
            3 * T * N * D + 3 * D * M + 4 * T * M * (K - 1)
        )  # z twice, its gradient, directions, sums and coefficients
        seconds = max((products + powers) / H100_MULTIPLY_ADDS, moved / H100_BYTES)
        cells = (products / 1e9, powers / 1e9, moved / 1e6, 1e6 * seconds)
        rows.append(f"| {T}, {N}, {D}, {M}, {K} | " + " | ".join(f"{cell:.3g}" for cell in cells) + " |")
    return "\n".join([*rows, ""])


def philox() -> str:
    """Normal numbers, every measured row."""
    rows = ["| B | threads | path | ns a number | 20 to 80 % |", "|---|---|---|---|---|"]
    for r in _load("philox-cpu.json")["results"]:
        spread = f"{r['p20_ns']:.1f} to {r['p80_ns']:.1f}"
        rows.append(f"| {r['B']} | {r['threads']} | {r['path']} | {r['ns_per_number']:.1f} | {spread} |")
    return "\n".join([*rows, ""])


def _milliseconds(row: dict[str, Any]) -> str:
    """Median and percentiles; a GPU's microseconds need three digits."""
    times = [row[name] for name in ("median_ms", "p20_ms", "p80_ms")]
    digits = "{:.1f} ({:.1f} to {:.1f})" if row["device"] == "cpu" else "{:.3g} ({:.3g} to {:.3g})"
    return digits.format(*times)


def _best(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The time of the definition's fastest form, compiled or under a graph, as a multiple of the row's."""
    same = [r for r in rows if all(r.get(name) == row[name] for name in ("shape", "pass", "threads"))]
    forms = [r["median_ms"] for r in same if r["path"].startswith("definition") and "median_ms" in r]
    return f"{min(forms) / row['median_ms']:.1f}" if forms else "-"


def _load(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text())
