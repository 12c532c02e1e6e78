"""Goals far away: goal offset, cost and planner on the same held-out tasks of each run.

    python benchmarks/bench_far.py two-room --json benchmarks/results/far-two-room-cpu.json

It collects episodes long enough for the farthest goal; with --data it uses an existing file of such episodes. For each
seed it trains a run, its temporal head and its policy; with --run it takes trained runs, which have both already, and
which may have been trained on other data.

What the JSON file has for the same tasks and the same weights of model, head and policy is not measured again, nor what
the folder --work has. So an interrupted benchmark continues, and processes for one seed each may share both.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from _results import Results
from _work import (
    LEAST,
    add_seeds,
    add_work,
    collect_words,
    described,
    digest,
    once,
    recipe_data,
    same_tasks,
    seeds_of,
    short,
    working,
)

from lewm.checkpoints.run import read_config
from lewm.heads.files import HEAD, policy_file

BUDGETS = {25: 50, 50: 100, 100: 150}  # environment steps allowed, by goal offset
STEPS = 200  # of an episode: twice the farthest goal
PLANNERS, COSTS = ("cem", "icem"), ("last", "min", "head")
# The first setting is the one with which the others are compared. The policy uses no cost.
SETTINGS = [
    *(("--planner", planner, "--cost", cost) for planner in PLANNERS for cost in COSTS),
    *(("--planner", planner, "--warm-start", "idm", "--cost", cost) for planner in PLANNERS for cost in COSTS),
    ("--agent", "idm"),
    ("--agent", "idm", "--horizon", "5"),  # as many blocks as a search has by default, however far the goal is
]


def main() -> None:
    """Plans with each setting at each goal offset, for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    add_work(parser)
    parser.add_argument("--data", type=Path, help=f"an existing dataset, of episodes of up to {STEPS} steps")
    parser.add_argument("--run", type=Path, nargs="+", help="trained runs with head and policy, of different seeds")
    add_seeds(parser)
    parser.add_argument("--episodes", type=int, help="episodes to collect; else as many as the world's recipe has")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--goals", type=int, nargs="+", choices=BUDGETS, default=[*BUDGETS], help="goal offsets")
    numbers = range(len(SETTINGS))
    told = "the numbers of some settings: " + "; ".join(f"{one}: {' '.join(SETTINGS[one])}" for one in numbers)
    parser.add_argument("--only", type=int, nargs="+", choices=numbers, default=numbers, help=told)
    arguments = parser.parse_args()
    if arguments.run is not None and (arguments.seeds, arguments.data, arguments.episodes) != (None, None, None):
        parser.error("--seeds, --data and --episodes are for what is trained here, and --run is trained already")
    if arguments.data is not None and arguments.episodes is not None:
        parser.error("--episodes says how many to collect, and --data has them already")
    results = Results(arguments.json, f"goals far away in {arguments.world}", {"world": arguments.world}, _key)
    with working(arguments.work) as home:
        for one in arguments.run or seeds_of(arguments):
            run = one.resolve() if arguments.run else _trained(arguments, home, one)
            for offset in arguments.goals:
                _plan(arguments, home, run, offset, results)


def _key(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["seed"], row["plan"]["goal_offset"], SETTINGS.index(tuple(row["options"]))


def _trained(arguments: argparse.Namespace, home: Path, seed: int) -> Path:
    """A run with its head and its policy."""
    data, run = arguments.data, home / f"run-{seed}"
    if data is None:
        data = home / "data.h5"
        longer = {**recipe_data(arguments.world), "max-steps": STEPS}
        if arguments.episodes is not None:
            longer["episodes"] = arguments.episodes
        once(home, "collect", "collect", "--env", arguments.world, *collect_words(longer), out=data)
    once(home, f"train-{seed}", "train", "--data", str(data.resolve()), "--seed", str(seed), out=run)
    for command in ("train-head", "train-policy"):
        once(home, f"{command}-{seed}", command, "--run", str(run), "--seed", str(seed))
    return run


def _plan(arguments: argparse.Namespace, home: Path, run: Path, offset: int, results: Results) -> None:
    """Plans with each setting at one goal offset."""
    config, trained_on = read_config(run)
    seed, data = config.training.seed, described(Path(trained_on.path))
    tasks = home / f"tasks-{seed}-{offset}.json"
    goals = ("--goal-offset", str(offset), "--budget", str(BUDGETS[offset]), "--episodes", str(arguments.tasks))
    of = ("--run", str(run))
    drawn, _ = once(home, f"draw-{seed}-{offset}", "plan", *of, *LEAST, *goals, "--save-tasks", str(tasks))
    for number in arguments.only:
        setting = SETTINGS[number]
        row = results.find((seed, offset, number))
        if row is None or not same_tasks(row["plan"], drawn) or not _same_files(row["plan"], run):
            named = f"plan-{seed}-{offset}-{number}"
            planned, _ = once(home, named, "plan", *of, *setting, "--tasks", str(tasks))
            planned = short(planned)
            planned["planner"].get("cost", {}).pop("path", None)  # of a head: a path of this machine
            row = {"world": arguments.world, "data": data, "seed": seed, "options": list(setting), "plan": planned}
            results.put(row)
        print(f"seed {seed}, goal {offset}, {' '.join(setting)}: {row['plan']['success_rate']:.1%}", flush=True)


def _same_files(plan: dict[str, Any], run: Path) -> bool:
    """Whether a report is of the head and the policy that the run has now, as far as it used them."""
    used = {HEAD: plan["head_sha256"], policy_file("idm"): plan["policy_sha256"]}
    return all(one in (None, digest(run / name)) for name, one in used.items())


if __name__ == "__main__":
    main()
