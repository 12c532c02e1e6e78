"""Goals far away: goal offset, cost and planner on the same held-out tasks of each run.

    python benchmarks/bench_far.py two-room --json benchmarks/results/far-two-room-cpu.json

It collects episodes long enough for the farthest goal. For each seed it trains a run, its temporal head and its policy.
With --run it takes trained runs, which have both already. What the JSON file has for the same weights and tasks is not
planned again, so that an interrupted benchmark with --run continues.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from _report import write_report
from bench_quickstart import run

from lewm.curves.curve import letters

BUDGETS = {25: 50, 50: 100, 100: 150}  # environment steps allowed, by goal offset
SEEDS = {"two-room": (0, 1, 2)}  # three where training is cheap
ONE_SEED = (0,)
STEPS = 200  # of an episode: twice the farthest goal
COSTS = ("last", "min", "head")
# The first setting is the one with which the others are compared. The policy uses no cost.
SETTINGS = [
    *(("--planner", planner, "--cost", cost) for planner in ("cem", "icem") for cost in COSTS),
    *(("--planner", "cem", "--warm-start", "idm", "--cost", cost) for cost in COSTS),
    ("--agent", "idm"),
]


def main() -> None:
    """Plans with each setting at each goal offset, for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--run", type=Path, nargs="+", help="trained runs with head and policy, one for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds; three in Two-Room, else one")
    parser.add_argument("--episodes", type=int, default=1000, help="episodes to collect")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--only", type=int, help="only this many settings, from the first")
    arguments = parser.parse_args()
    seeds = arguments.seeds or SEEDS.get(arguments.world, ONE_SEED)
    results = json.loads(arguments.json.read_text())["results"] if arguments.json.exists() else []
    with tempfile.TemporaryDirectory() as home:
        runs = arguments.run or _trained(home, arguments.world, arguments.episodes, seeds)
        for seed, directory in zip(seeds, runs, strict=True):
            for offset, budget in BUDGETS.items():
                tasks = Path(home) / f"tasks-{seed}-{offset}.json"
                least = ("--planner", "cem", "--iterations", "1", "--samples", "2", "--elites", "2")
                goals = ("--goal-offset", str(offset), "--budget", str(budget), "--episodes", str(arguments.tasks))
                drawn, _ = run(home, "plan", "--run", str(directory), *least, *goals, "--save-tasks", str(tasks))
                for setting in SETTINGS[: arguments.only]:
                    if any(row["options"] == list(setting) and _same(row["plan"], drawn) for row in results):
                        continue
                    planned, _ = run(home, "plan", "--run", str(directory), *setting, "--tasks", str(tasks))
                    planned["tasks"] = letters(planned["tasks"])
                    row = {"world": arguments.world, "seed": seed, "options": list(setting), "plan": planned}
                    results.append(row)
                    write_report(arguments.json, f"goals far away in {arguments.world}", results)
                    print(f"seed {seed}, goal {offset}, {' '.join(setting)}: {planned['success_rate']:.1%}", flush=True)


def _trained(home: str, world: str, episodes: int, seeds: tuple[int, ...]) -> list[Path]:
    data = Path(home) / "data.h5"
    longer = ("--episodes", str(episodes), "--max-steps", str(STEPS), "--out", str(data))
    run(home, "collect", "--env", world, *longer)
    runs = []
    for seed in seeds:
        trained, _ = run(home, "train", "--data", str(data), "--seed", str(seed))
        for command in ("train-head", "train-policy"):
            run(home, command, "--run", trained["run"])
        runs.append(Path(trained["run"]))
    return runs


def _same(plan: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two reports are of the same weights and the same tasks."""
    return all(plan[name] == other[name] for name in ("checkpoint_sha256", "tasks_sha256"))


if __name__ == "__main__":
    main()
