"""The kernels' benchmarks run, and say what they measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run_quickly(name: str, json_file: Path) -> dict:
    command = [
        sys.executable,
        BENCHMARKS / f"bench_{name}.py",
        "--quick",
        "--device",
        "cpu",
        "--json",
        json_file,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(json_file.read_text())


def test_sigreg(tmp_path):
    report = run_quickly("sigreg", tmp_path / "sigreg.json")
    rows = {(row["pass"], row["path"]): row for row in report["results"]}
    assert set(rows) == {(p, q) for p in ("forward", "forward+backward") for q in ("definition", "torch")}
    for (_, path), row in rows.items():
        assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
        assert row["peak_extra_bytes"] > 0
        assert max(row["error_value"], row["error_gradient"]) < 1e-5
        assert (row["speedup"] == 1) == (path == "definition")
    # The definition keeps cosines and sines of every knot: two tensors of (T, N, M, K) float32.
    definition = rows["forward+backward", "definition"]
    T, N, M, K = (definition[letter] for letter in "TNMK")
    assert definition["peak_extra_bytes"] > 2 * 4 * T * N * M * K


def test_philox(tmp_path):
    report = run_quickly("philox", tmp_path / "philox.json")
    assert {row["path"] for row in report["results"]} == {"lewm_kernels.normal", "torch.randn"}
    assert all(row["ns_per_number"] > 0 for row in report["results"])


@pytest.mark.parametrize("name", ["sigreg", "philox"])
def test_committed_results_are_of_a_commit(name):
    report = json.loads((BENCHMARKS / "results" / f"{name}-cpu.json").read_text())
    assert report["benchmark"] == name
    assert len(report["commit"]) == 40
    assert report["results"]
