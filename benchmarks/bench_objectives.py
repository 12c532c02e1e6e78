"""Objectives on the same data and seeds: success, prediction error and training time of each, one after the other.

python benchmarks/bench_objectives.py two-room --seeds 3072 7 8 --json benchmarks/results/objectives-two-room-cpu.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from _report import write_report
from bench_quickstart import run

# The objectives that are compared, as options of `lewm train`.
OBJECTIVES = {
    "sketch": (),
    "exact": ("--set", "objective.sigreg.kind=exact"),
}


def main() -> None:
    """For each seed, train and plan with each objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="an existing dataset")
    parser.add_argument("--episodes", type=int, default=1000, help="episodes to collect")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3072])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--steps", type=int, help="training steps; without it, those of the recipe")
    arguments = parser.parse_args()
    steps = ("--steps", str(arguments.steps)) if arguments.steps else ()
    with tempfile.TemporaryDirectory() as home:
        data = arguments.data
        if data is None:
            data = Path(home) / "data.h5"
            run(home, "collect", "--env", arguments.world, "--episodes", str(arguments.episodes), "--out", str(data))
        results = []
        for seed in arguments.seeds:
            for name, options in OBJECTIVES.items():
                trained, _ = run(home, "train", "--data", str(data), "--seed", str(seed), *steps, *options)
                planned, _ = run(home, "plan", "--episodes", str(arguments.tasks))
                del planned["tasks"]  # what became of each is not needed
                last = (Path(trained.pop("run")) / "metrics.jsonl").read_text().splitlines()[-1]
                terms = json.loads(last)["terms"]
                row = {"world": arguments.world, "objective": name, "seed": seed}
                results.append(row | {"terms": terms, "train": trained, "plan": planned})
                print(f"seed {seed}, {name}: {planned['success_rate']:.1%}, trained in {trained['seconds']:.0f} s")
                write_report(arguments.json, f"objectives in {arguments.world}", results)


if __name__ == "__main__":
    main()
