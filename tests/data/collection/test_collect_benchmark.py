import json
import subprocess
import sys
from pathlib import Path

from lewm_data.collection.collect import cores

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "bench_collect.py"
# Hides MuJoCo from lewm, as if it were not installed.
PROGRAM = """
import runpy, sys
from lewm_data.envs import overview
there = overview.is_installed
overview.is_installed = lambda extra: extra != "mujoco" and there(extra)
sys.path.insert(0, str(sys.argv[1]).rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_benchmark_runs_small_and_names_what_it_leaves_out(tmp_path):
    report = tmp_path / "collect.json"
    arguments = ["--worlds", "two-room", "cube", "--seconds", "0.01", "--repeats", "2", "--json", str(report)]
    command = [sys.executable, "-c", PROGRAM, str(BENCHMARK), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    *rooms, cube = json.loads(report.read_text())["results"]
    assert cube == {"world": "cube", "skipped": 'needs pip install -e ".[mujoco]"'}
    assert [(row["world"], row["path"]) for row in rooms] == [
        ("two-room", path) for path in ("bare loop", "collect", "collect, every core")
    ]
    assert [row["cores"] for row in rooms] == [1, 1, cores()]
    assert rooms[0]["share_of_bare"] == 1
    assert len({(row["episodes"], row["frames"]) for row in rooms}) == 1
    assert all(row["p20"] <= row["frames_per_second"] <= row["p80"] for row in rooms)
