import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "bench_reader.py"


def test_benchmark_runs_small(tmp_path):
    report = tmp_path / "reader.json"
    arguments = ["--episodes", "6", "--repeats", "2", "--json", str(report)]
    subprocess.run([sys.executable, str(BENCHMARK), *arguments], check=True, capture_output=True)
    results = {row["case"]: row["median"] for row in json.loads(report.read_text())["results"]}
    assert set(results) >= {"read, plain", "read, HDF5", "read, gzip", "collect, Two-Room"}
    assert all(value > 0 for value in results.values())
