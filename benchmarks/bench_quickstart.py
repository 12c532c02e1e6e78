"""The results of `make quickstart` for several training seeds: success, probing, surprise, and the commands' times.

python benchmarks/bench_quickstart.py --json benchmarks/results/quickstart-cpu.json
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import write_report

LEWM = [sys.executable, "-c", "from lewm_cli.main import main; main()"]


def main() -> None:
    """Collects once, then trains, plans, probes and measures surprise for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for command in ("collect", "train", "plan"):
        parser.add_argument(
            f"--{command}", type=shlex.split, default=[], help=f'="--further options" of lewm {command}'
        )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        collected, collect_seconds = run(home, "collect", *arguments.collect)
        results = []
        for seed in arguments.seeds:
            trained, train_seconds = run(home, "train", "--seed", str(seed), *arguments.train)
            planned, plan_seconds = run(home, "plan", *arguments.plan)
            probed, probe_seconds = run(home, "probe")
            surprised, surprise_seconds = run(home, "surprise", "--suite", "two-room")
            seconds = {"collect": collect_seconds, "train": train_seconds, "plan": plan_seconds}
            seconds |= {"probe": probe_seconds, "surprise": surprise_seconds}
            del trained["run"], probed["dataset"]  # paths of this machine
            results.append(
                {
                    "seed": seed,
                    "options": [*arguments.collect, *arguments.train, *arguments.plan],
                    "seconds": seconds,
                    "train": trained,
                    "plan": planned,
                    "probe": probed,
                    "surprise": surprised,
                }
            )
            rate, random = planned["success_rate"], planned["random"]["success_rate"]
            print(f"seed {seed}: {rate:.1%} (random {random:.1%}), {sum(seconds.values()):.0f} s")
    write_report(arguments.json, f"quickstart, {collected['frames']} frames", results)


def run(home: str, *command: str, limit: float | None = None) -> tuple[dict[str, Any], float]:
    """Runs one command as a user does; returns its JSON result and its seconds from start to end, at most `limit`."""
    begun = time.perf_counter()
    environment = {**os.environ, "LEWM_HOME": home}
    shown = subprocess.run(
        [*LEWM, *command, "--json"], check=True, stdout=subprocess.PIPE, env=environment, text=True, timeout=limit
    )
    return json.loads(shown.stdout), time.perf_counter() - begun


if __name__ == "__main__":
    main()
