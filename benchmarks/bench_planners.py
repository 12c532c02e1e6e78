"""Planners, costs, contexts and replanning on the same held-out tasks of one run.

    python benchmarks/bench_planners.py push-t --json benchmarks/results/planners-push-t-cpu.json

Without --run, it collects and trains with the small recipe. Settings that the JSON file already has for the same
weights are not planned again, so that an interrupted benchmark continues. The time of a plan is measured at the end, in
one process, one setting after the other in each of several turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from _planner_times import against_the_first, seconds_a_plan
from _report import write_report
from _work import LEAST, same_tasks, short
from bench_quickstart import run

from lewm.config import Planning

FEWER = ("--iterations", "10")
# Options of `lewm plan`, by world: the first setting is the paper's, with which the others are compared.
# A Two-Room run of the small recipe has no contexts: its predictor sees one latent.
PAPER = ("--planner", "cem", "--cost", "last", "--context", "1", "--execute", "5")
REPLANNING = [
    PAPER,
    FEWER,
    ("--execute", "2", *FEWER),
    ("--execute", "1", *FEWER),
    ("--execute", "1", "--horizon-end", "fixed", *FEWER),
    ("--execute", "1", "--warm-start", "on", *FEWER),
]
COSTS = [
    ("--cost", "min", *FEWER),
    ("--cost", "mean", *FEWER),
    ("--cost", "min", "--execute", "1", *FEWER),
    ("--cost", "mean", "--execute", "1", *FEWER),
]
PLANNERS = [
    ("--planner", "icem"),
    ("--planner", "icem", "--execute", "1"),
    ("--planner", "mppi"),
    ("--planner", "mppi", "--execute", "1"),
    ("--planner", "adam"),
]
CONTEXTS = [
    ("--context", "3", *FEWER),
    ("--context", "3", "--execute", "1", *FEWER),
    ("--context", "3", "--execute", "1", "--cost", "min", *FEWER),
    ("--context", "3", "--execute", "1", "--planner", "icem"),
]
SETTINGS = {"two-room": [*REPLANNING, *COSTS, *PLANNERS], "push-t": [*REPLANNING, *CONTEXTS, *PLANNERS, *COSTS]}


def main() -> None:
    """Plans with each setting on the same tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=sorted(SETTINGS))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a trained run; its dataset has to be where it was")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5, help="turns of timing")
    parser.add_argument("--only", type=int, help="only this many settings, from the first")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        directory = arguments.run or _trained(home, arguments.world)
        tasks = Path(home) / "tasks.json"
        saved = ("--episodes", str(arguments.tasks), "--save-tasks", str(tasks))
        drawn, _ = run(home, "plan", "--run", str(directory), *LEAST, *saved)
        results = [row for row in _measured(arguments.json) if same_tasks(row["plan"], drawn)]
        for setting in SETTINGS[arguments.world][: arguments.only]:
            options = _complete(setting)
            if any(row["options"] == options for row in results):
                continue
            planned, _ = run(home, "plan", "--run", str(directory), *options, "--tasks", str(tasks))
            results.append({"world": arguments.world, "options": options, "plan": short(planned)})
            write_report(arguments.json, f"planners in {arguments.world}", results)
            print(f"{' '.join(options)}: {planned['success_rate']:.1%}", flush=True)
        results.sort(key=lambda row: row["options"] != _complete(PAPER))  # with which the others are compared
        _add_times(results, directory, arguments.turns)
        write_report(arguments.json, f"planners in {arguments.world}", results)


def _add_times(results: list[dict[str, Any]], directory: Path, turns: int) -> None:
    names = Planning.model_fields
    settings = [
        Planning.model_validate({name: value for name, value in row["plan"]["planner"].items() if name in names})
        for row in results
    ]
    taken = seconds_a_plan(directory, settings, turns)
    for row, seconds, ratio in zip(results, taken, against_the_first(taken), strict=True):
        row |= {"seconds_a_plan": statistics.median(seconds), "times_the_first": ratio}


def _complete(setting: tuple[str, ...]) -> list[str]:
    """All options of a setting: those that it leaves out are the paper's."""
    given = dict(zip(PAPER[::2], PAPER[1::2], strict=True)) | dict(zip(setting[::2], setting[1::2], strict=True))
    return [word for pair in given.items() for word in pair]


def _trained(home: str, world: str) -> Path:
    data = Path(home) / "data.h5"
    run(home, "collect", "--env", world, "--episodes", "1000", "--out", str(data))
    return Path(run(home, "train", "--data", str(data), "--seed", "0")[0]["run"])


def _measured(path: Path) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(path.read_text())["results"] if path.exists() else []
    return results


if __name__ == "__main__":
    main()
