"""The success of a recipe in a world: it collects, then trains and plans for each seed with a user's commands.

    python benchmarks/bench_worlds.py push-t --json benchmarks/results/world-push-t-cpu.json
    python benchmarks/bench_worlds.py push-t --curve --json lewm/curves/push-t.json

With --data it uses an existing file and collects nothing. What the JSON file and the folder --work have already is not
measured again: so an interrupted benchmark continues, and processes for one seed each may share both.

With --curve it measures at points of each training, geometrically spaced: success, what probes read from the latents,
the shape of the latent space, and the open loop; and beside them an oracle, which is the same planner in the true
simulator. So one sees whether representation, dynamics, cost or search limits. `lewm.curves.curve` describes the file,
and `draw_curves.py` draws it. Simulating every candidate takes long: --oracle-tasks and --oracle-set make it shorter.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from _curve import checkpoints, oracle, planner_of, point
from _results import Results
from _work import add_work, collect_words, described, once, recipe_data, short, working

from lewm.checkpoints.run import MODEL
from lewm.config import Config, resolve
from lewm.files import sha256
from lewm.recipes import recipe
from lewm_cli.options import assignments
from lewm_data.envs.registry import world

POINTS, ORACLE_TASKS = 6, 20


def main() -> None:
    """Collects once, then measures each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    add_work(parser)
    parser.add_argument("--episodes", type=int, help="episodes to collect; else as many as the world's recipe has")
    parser.add_argument("--data", type=Path, help="an existing dataset")
    parser.add_argument("--collected", type=Path, help="what `lewm collect --json` showed of it, for the time it took")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of the configuration")
    parser.add_argument("--curve", action="store_true", help="measure at points of each training")
    parser.add_argument("--points", type=int, help=f"points of a curve within a training, or its last stage; {POINTS}")
    parser.add_argument("--oracle-tasks", type=int, help=f"tasks of the oracle; {ORACLE_TASKS}, and 0 leaves it out")
    parser.add_argument(
        "--oracle-set", nargs="+", metavar="KEY=VALUE", help="keys of planning that are others for the oracle"
    )
    arguments = parser.parse_args()
    if not arguments.curve and (arguments.points, arguments.oracle_tasks, arguments.oracle_set) != (None, None, None):
        parser.error("--points, --oracle-tasks and --oracle-set are for --curve")
    if arguments.data is not None and arguments.episodes is not None:
        parser.error("--episodes says how many to collect, and --data has them already")
    if any(not pair.startswith("planning.") for pair in arguments.oracle_set or ()):
        parser.error("--oracle-set: expected keys that begin with planning.")
    with working(arguments.work) as home:
        data, collecting = arguments.data, None
        if arguments.collected is not None:
            collecting = json.loads(arguments.collected.read_text())["seconds"]
        if data is None:
            data = home / "data.h5"
            options = recipe_data(arguments.world)
            if arguments.episodes is not None:
                options["episodes"] = arguments.episodes
            _, collecting = once(
                home, "collect", "collect", "--env", arguments.world, *collect_words(options), out=data
            )
        alike = {
            "world": arguments.world,
            "options": ["--recipe", arguments.recipe, *(word for pair in arguments.set for word in ("--set", pair))],
            "data": described(data),
        }
        if arguments.curve:
            _curves(arguments, home, data.resolve(), alike)
        else:
            _successes(arguments, home, data.resolve(), alike, collecting)


def _successes(
    arguments: argparse.Namespace, home: Path, data: Path, alike: dict[str, Any], collecting: float | None
) -> None:
    """Trains and plans with each seed."""
    title = f"the {arguments.recipe} recipe in {arguments.world}"
    results = Results(arguments.json, title, alike, lambda row: row["seed"])
    for seed in arguments.seeds:
        row = results.find(seed)
        if row is None or row["plan"]["episodes"] != arguments.tasks:
            out = home / f"run-{seed}"
            options = ("--data", str(data), "--seed", str(seed), *alike["options"])
            trained, training = once(home, f"train-{seed}", "train", *options, out=out)
            planning = ("plan", "--run", str(out), "--episodes", str(arguments.tasks))
            planned, seconds = once(home, f"plan-{seed}", *planning)
            del trained["run"]  # a path of this machine
            times = {"collect": collecting, "train": training, "plan": seconds}
            row = {**alike, "seed": seed, "seconds": times, "train": trained, "plan": short(planned)}
            results.put(row)
        rate, random = row["plan"]["success_rate"], row["plan"]["random"]["success_rate"]
        print(f"seed {seed}: {rate:.1%} (random {random:.1%})", flush=True)


def _curves(arguments: argparse.Namespace, home: Path, data: Path, alike: dict[str, Any]) -> None:
    """Measures a curve with each seed; the report is written again after each point."""
    os.environ["LEWM_HOME"] = str(home)  # embeddings that `lewm probe` made there are read, not made again
    base = recipe(arguments.recipe, arguments.world, world(arguments.world).action_dim)
    results = Results(
        arguments.json, f"the course of training in {arguments.world}", alike, lambda curve: curve["seed"]
    )
    for seed in arguments.seeds:
        config = resolve(base, None, assignments([*arguments.set, f"training.seed={seed}"]))
        found = checkpoints(config, data, home, POINTS if arguments.points is None else arguments.points)
        multistage = any(one.stage is not None for one in found)
        before = results.find(seed) or {"points": [], "oracle": None}
        known = {
            one["plan"]["checkpoint_sha256"]: one
            for one in before["points"]
            if one["plan"]["episodes"] == arguments.tasks
        }
        kept = [known.get(sha256(one.run / MODEL)) for one in found]
        curve = {**alike, "seed": seed, "points": [one for one in kept if one], "oracle": before["oracle"]}
        for number, one in enumerate(found):
            if kept[number] is None:
                kept[number] = point(home, one, arguments.tasks, multistage)
                curve["points"] = [one for one in kept if one]
                results.put(curve)
            rate = kept[number]["plan"]["success_rate"]
            print(f"seed {seed}, step {one.step}, {one.seconds:.0f} s: {rate:.1%}", flush=True)
        settings = assignments(arguments.oracle_set or [])
        tasks = ORACLE_TASKS if arguments.oracle_tasks is None else arguments.oracle_tasks
        if tasks and not _is_same(curve["oracle"], tasks, config, settings):
            curve["oracle"] = oracle(found[-1], tasks, settings, _say_oracle)
        results.put(curve)


def _is_same(known: dict[str, Any] | None, tasks: int, config: Config, settings: dict[str, Any]) -> bool:
    """Whether an oracle has been measured with so many tasks and these settings."""
    planner = planner_of(resolve(config, None, settings))
    return known is not None and known["episodes"] == tasks and known["planner"] == planner


def _say_oracle(share: float, solved: int) -> None:
    print(f"oracle: {share:.0%} of the tasks done, {solved} solved", flush=True)


if __name__ == "__main__":
    main()
