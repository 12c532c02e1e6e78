"""The benchmark of conversions runs, and memory does not grow with the source."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "bench_convert.py"


def test_memory_does_not_grow_with_the_source(tmp_path):
    pytest.importorskip("av")
    report = tmp_path / "convert.json"
    arguments = ["--videos", "1", "--seconds", "2", "--turns", "1", "--json", str(report)]
    subprocess.run([sys.executable, str(BENCHMARK), *arguments], check=True, capture_output=True)
    rows = json.loads(report.read_text())["results"]
    assert [(row["recorded_fps"], row["asked_fps"]) for row in rows] == [(10, None), (30, None), (30, 10)]
    for row in rows:
        more = 3 * 2 * row["recorded_fps"] * 640 * 480 * 3  # bytes of the pictures that the larger source has more
        assert row["peak_bytes_of_more"] - row["peak_bytes"] < min(2**25, more / 2)
        assert row["decoding_seconds"]["median"] < row["seconds"]["median"]
