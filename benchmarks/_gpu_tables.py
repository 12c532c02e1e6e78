"""The tables of the results of bench_ceilings.py, bench_training.py and bench_within.py on GPUs, for tables.py."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
NOTHING = ["", "GPU: not measured.", ""]


def ceilings() -> str:
    """The rates of a large copy and of large matrix products."""
    rows = ["| device | what | rate |", "|---|---|---|"]
    for report in _reports("ceilings"):
        for row in report["results"]:
            rate = f"{row['tb_per_s']:.2f} TB/s" if "tb_per_s" in row else f"{row['tflop_per_s']:.0f} TFLOP/s"
            rows.append(f"| {report['device']} | {row['what']} | {rate} |")
    return _finished(rows)


def training() -> str:
    """A training step with data from disk, as PyTorch runs it and compiled."""
    rows = [
        "| device | recipe | clips a step | path | ms a step (20 to 80 %) | clips/s | waiting for data | preparation "
        "| peak GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for report in _reports("training"):
        for row in report["results"]:
            if "skipped" in row:
                cells = [row["recipe"], "", row["path"], row["skipped"], "", "", "", ""]
            else:
                spread = "{median_ms:.3g} ({p20_ms:.3g} to {p80_ms:.3g})".format(**row)
                cells = [f"{row['recipe']}, {row['frame_size']} px", str(row["batch"]), row["path"], spread]
                cells += [f"{row['clips_per_second']:,.0f}", f"{row['waiting_for_data']:.0%}"]
                cells += [f"{row['preparation_s']:.0f} s", f"{row['peak_bytes'] / 2**30:.1f}"]
            rows.append(f"| {' | '.join([report['device'], *cells])} |")
    return _finished(rows)


def trained() -> str:
    """The results of gpu_train.sh."""
    rows = [
        "| device | world | recipe | frames | steps | solved | 95 % interval | random actions | collect | train "
        "| plan |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for report in _reports("world"):
        for row in report["results"]:
            plan, last = row.get("plan"), row.get("train", {}).get("last", {})
            cells = [row["world"], f"{row['recipe']}, {row['frame_size']} px", f"{row['data']['frames']:,}"]
            cells.append(f"{last['step']:,}" if last else "")
            if plan:
                low, high = plan["interval_95"]
                cells += [f"{plan['successes']} of {plan['episodes']} = {plan['success_rate']:.1%}"]
                cells += [f"{low:.1%} to {high:.1%}", f"{plan['random']['success_rate']:.1%}"]
                cells += [f"{row['seconds'][stage]:.0f} s" for stage in ("collect", "train", "plan")]
            else:
                cells += ["not done", "", "", "", "", ""]
            rows.append(f"| {' | '.join([report['device'], *cells])} |")
    return _finished(rows)


def _reports(kind: str) -> list[dict[str, Any]]:
    """The reports of machines with a GPU."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{kind}-*gpu*.json"))]
    return [report for report in found if report["device"] != "cpu"]


def _finished(rows: list[str]) -> str:
    """The table, with a last line where there is no row."""
    return "\n".join([*rows, *(NOTHING if len(rows) == 2 else [""])])
