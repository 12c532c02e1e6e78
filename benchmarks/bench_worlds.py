"""The success of the small recipe in a world: it collects, trains and plans with a user's commands.

    python benchmarks/bench_worlds.py push-t --json benchmarks/results/world-push-t-cpu.json

With --data it uses an existing file and collects nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import h5py
from _report import write_report
from bench_quickstart import run


def main() -> None:
    """Collect once, then train and plan for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=1000, help="episodes to collect")
    parser.add_argument("--data", type=Path, help="an existing dataset")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        data, collecting = arguments.data, None
        if data is None:
            data = Path(home) / "data.h5"
            collect = ("--env", arguments.world, "--episodes", str(arguments.episodes), "--out", str(data))
            _, collecting = run(home, "collect", *collect)
        with h5py.File(data) as file:
            collected = {"episodes": len(file["ep_len"]), "frames": len(file["action"]), "policy": file.attrs["policy"]}
        results = []
        for seed in arguments.seeds:
            trained, training = run(home, "train", "--data", str(data), "--seed", str(seed))
            planned, planning = run(home, "plan", "--episodes", str(arguments.tasks))
            del trained["run"]  # a path of this machine
            seconds = {"collect": collecting, "train": training, "plan": planning}
            results.append(
                {"world": arguments.world, "seed": seed, "data": collected, "seconds": seconds}
                | {"train": trained, "plan": planned}
            )
            rate, random = planned["success_rate"], planned["random"]["success_rate"]
            print(f"seed {seed}: {rate:.1%} (random {random:.1%})")
    write_report(arguments.json, f"the small recipe in {arguments.world}", results)


if __name__ == "__main__":
    main()
