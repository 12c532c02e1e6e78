import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "bench_reader.py"


def test_benchmark_runs_small(tmp_path):
    report = tmp_path / "reader.json"
    sizes = {"episodes": 6, "frame-size": 64, "repeats": 1, "gigabytes": 0.03, "batch": 8, "frames": 3000, "steps": 3}
    arguments = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    subprocess.run([sys.executable, str(BENCHMARK), *arguments, "--json", str(report)], check=True, capture_output=True)
    results = json.loads(report.read_text())["results"]
    found = {(row["part"], row.get("storage"), row["reader"]) for row in results}
    for storage in ("uncompressed", "gzip", "blosc2", "blosc"):
        for reader in ("lewm", "h5py, frames", "h5py, slices"):
            assert ("warm", storage, reader) in found
    assert {part for part, _, _ in found} == {"warm", "cold", "opening", "training"}
    assert all(row["median"] >= 0 for row in results)
    assert all(row["median"] > 0 for row in results if row["part"] == "warm")
