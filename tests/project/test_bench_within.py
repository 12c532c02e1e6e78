"""What a recipe reaches in given times: each stage has its limit, and nothing is left behind."""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def within(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("bench_within")


def test_a_short_training_that_is_not_done_in_time_gives_no_number_of_steps(within, monkeypatch, tmp_path):
    limits = {}

    def run_command(home, *command, limit):
        out = Path(command[command.index("--out") + 1])
        limits[out.name] = limit
        out.mkdir(parents=True)
        if out.name == "trial":
            raise subprocess.TimeoutExpired("lewm", limit)
        steps = int(command[command.index("--steps") + 1])
        (out / "metrics.jsonl").write_text(json.dumps({"step": steps}) + "\n")
        return {}, 1.0

    monkeypatch.setattr(within, "run", run_command)
    options = argparse.Namespace(recipe="paper", frame_size=96, train=[], device="cpu", steps=None, train_seconds=100)
    trained = within.trained(options, str(tmp_path), tmp_path / "data.h5")
    assert limits["trial"] == 25
    assert limits["within"] <= 115
    assert trained["steps_guessed"]
    assert trained["steps"] == trained["last"]["step"] == within.STEPS
    assert not (tmp_path / "runs" / "trial").exists()


def test_collection_ends_with_its_time_and_keeps_what_is_finished(within, tmp_path):
    options = argparse.Namespace(world="two-room", frame_size=16, episodes=10_000, collect_seconds=0)
    data = within.collected(options, tmp_path / "data.h5")
    assert 0 < data["episodes"] < 10_000
    assert data["frames"] >= data["episodes"]
    assert data["ended_by"] == "the time or the disk"


def test_a_planning_that_is_not_done_in_time_ends_without_a_result(within, monkeypatch, tmp_path):
    def run_command(*command, limit):
        raise subprocess.TimeoutExpired("lewm", limit)

    monkeypatch.setattr(within, "run", run_command)
    monkeypatch.setattr(within, "collected", lambda *_: {"seconds": 1.0})
    monkeypatch.setattr(within, "trained", lambda *_: {"seconds": 2.0})
    limits = ["--collect-seconds", "1", "--train-seconds", "2", "--plan-seconds", "3"]
    monkeypatch.setattr(sys, "argv", ["bench_within.py", "push-t", *limits, "--json", str(tmp_path / "within.json")])
    with pytest.raises(SystemExit, match="plan: not done after 3 s"):
        within.main()
    (result,) = json.loads((tmp_path / "within.json").read_text())["results"]
    assert result["train"] == {"seconds": 2.0}
    assert "plan" not in result
