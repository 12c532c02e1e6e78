"""The success of a recipe in a world: it collects, then trains and plans for each seed with a user's commands.

    python benchmarks/bench_worlds.py push-t --json benchmarks/results/world-push-t-cpu.json
    python benchmarks/bench_worlds.py push-t --curve --json benchmarks/results/curve-push-t-cpu.json

With --data it uses an existing file and collects nothing.

With --curve it measures at points of each training, geometrically spaced: success, what probes read from the latents,
the shape of the latent space, and the open loop; and beside them an oracle, which is the same planner in the true
simulator. So one sees whether representation, dynamics, cost or search limits. `lewm.curves.curve` describes the file,
and `draw_curves.py` draws it. Simulating every candidate takes long: --oracle-tasks and --oracle-set make it shorter.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import h5py
from _curve import checkpoints, oracle, point
from _report import write_report
from bench_quickstart import run

from lewm.config import resolve
from lewm.recipes import recipe
from lewm_cli.options import assignments
from lewm_data.envs.registry import world


def main() -> None:
    """Collects once, then measures each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=1000, help="episodes to collect")
    parser.add_argument("--data", type=Path, help="an existing dataset")
    parser.add_argument("--home", help="keep the runs in this directory, as runs/WORLD-RECIPE, ...-2 and so on")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of the configuration")
    parser.add_argument("--curve", action="store_true", help="measure at points of each training")
    parser.add_argument("--points", type=int, default=6, help="points of a curve within a training, or its last stage")
    parser.add_argument("--oracle-tasks", type=int, default=20, help="tasks of the oracle; 0 leaves it out")
    parser.add_argument(
        "--oracle-set", nargs="+", default=[], metavar="KEY=VALUE", help="keys that are others for the oracle"
    )
    arguments = parser.parse_args()
    kept = arguments.home
    with contextlib.nullcontext(kept) if kept else tempfile.TemporaryDirectory() as home:
        data, collecting = arguments.data, None
        if data is None:
            data = Path(home) / "data.h5"
            collect = ("--env", arguments.world, "--episodes", str(arguments.episodes), "--out", str(data))
            _, collecting = run(home, "collect", *collect)
        with h5py.File(data) as file:
            collected = {"episodes": len(file["ep_len"]), "frames": len(file["action"]), "policy": file.attrs["policy"]}
        if arguments.curve:
            _curves(arguments, Path(home), data, collected)
        else:
            _successes(arguments, home, data, collected, collecting)


def _successes(
    arguments: argparse.Namespace, home: str, data: Path, collected: dict[str, Any], collecting: float | None
) -> None:
    """Trains and plans with each seed."""
    results = []
    for seed in arguments.seeds:
        options = ["--recipe", arguments.recipe, *(word for pair in arguments.set for word in ("--set", pair))]
        trained, training = run(home, "train", "--data", str(data), "--seed", str(seed), *options)
        planned, planning = run(home, "plan", "--episodes", str(arguments.tasks))
        del trained["run"]  # a path of this machine
        seconds = {"collect": collecting, "train": training, "plan": planning}
        results.append(
            {"world": arguments.world, "seed": seed, "options": options, "data": collected, "seconds": seconds}
            | {"train": trained, "plan": planned}
        )
        rate, random = planned["success_rate"], planned["random"]["success_rate"]
        print(f"seed {seed}: {rate:.1%} (random {random:.1%})", flush=True)
        write_report(arguments.json, f"the {arguments.recipe} recipe in {arguments.world}", results)


def _curves(arguments: argparse.Namespace, home: Path, data: Path, collected: dict[str, Any]) -> None:
    """Measures a curve with each seed; the report is written again after each point."""
    os.environ["LEWM_HOME"] = str(home)  # embeddings that `lewm probe` made there are read, not made again
    base = recipe(arguments.recipe, arguments.world, world(arguments.world).action_dim)
    results: list[dict[str, Any]] = []

    def write() -> None:
        write_report(arguments.json, f"the course of training in {arguments.world}", results)

    for seed in arguments.seeds:
        config = resolve(base, None, assignments([*arguments.set, f"training.seed={seed}"]))
        found = checkpoints(config, data, home, arguments.points)
        multistage = any(one.stage is not None for one in found)
        curve = {"world": arguments.world, "seed": seed, "options": arguments.set, "data": collected}
        points: list[dict[str, Any]] = []
        results.append(curve | {"points": points, "oracle": None})
        for one in found:
            points.append(point(home, one, arguments.tasks, multistage))
            rate = points[-1]["plan"]["success_rate"]
            print(f"seed {seed}, step {one.step}, {one.seconds:.0f} s: {rate:.1%}", flush=True)
            write()
        if arguments.oracle_tasks:
            settings = assignments(arguments.oracle_set)
            results[-1]["oracle"] = oracle(found[-1], arguments.oracle_tasks, settings, _say_oracle)
            write()


def _say_oracle(share: float, solved: int) -> None:
    print(f"oracle: {share:.0%} of the tasks done, {solved} solved", flush=True)


if __name__ == "__main__":
    main()
