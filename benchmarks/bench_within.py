r"""The success of a recipe in a world within given times: it collects, trains and plans for limited seconds.

    python benchmarks/bench_within.py push-t --collect-seconds 190 --train-seconds 240 --plan-seconds 90 \
        --json world-push-t-gpu.json

Collection stops at its time, or when the disk is nearly full, with the finished episodes. A short training first finds
how many training steps fit; where it outlasts its own limit, a fixed number of steps is trained. A training that takes
longer than its time is ended, and its last checkpoint is used. Planning that takes longer is ended without a result.
The JSON is written after every stage, so whatever ends the program, the finished stages are in it. The dataset and the
runs are temporary.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import write_report
from bench_quickstart import run

from lewm_data.collection.collect import CollectProgress, collect
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset

FREE = 4 * 2**30  # bytes of the disk that stay free
TRIAL_STEPS, EVERY = 60, 10  # steps of the short training, whose last logged steps tell the speed
TRIAL_SHARE = 0.25  # the share of the training's seconds after which the short training is ended
TRAINING_SHARE = 0.85  # the share of the remaining seconds for steps; the rest is for compiling, health and checkpoints
LONGEST = 1.15  # a training is ended after this many times the remaining seconds
STEPS = 1000  # steps where the short training was ended: so few that the training is likely to finish
CHECKPOINTS = 10  # checkpoints of a training; health is measured as often


class EnoughError(Exception):
    """Collection stops here."""


def collected(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Collects a dataset; returns its contents and the speed."""
    place = world(options.world)
    began = time.monotonic()

    def stop(_: CollectProgress) -> None:
        if time.monotonic() - began > options.collect_seconds or shutil.disk_usage(path.parent).free < FREE:
            raise EnoughError

    settings = {"policy": place.default_policy, "noise": place.default_noise, "frame_size": options.frame_size}
    ended = "all episodes"
    try:
        collect(place, path, options.episodes, **settings, seed=0, workers=None, on_progress=stop)
    except EnoughError:
        ended = "the time or the disk"
    seconds = time.monotonic() - began
    with Dataset.open(path) as dataset:
        episodes, frames = dataset.num_episodes, int(dataset.lengths.sum())
    data = {"episodes": episodes, "frames": frames, "policy": place.default_policy, "ended_by": ended}
    return data | {"seconds": round(seconds, 1), "frames_per_second": round(frames / seconds)}


def steps_that_fit(home: str, command: list[str], seconds: float) -> int | None:
    """The number of steps that fit `seconds` after a short training; None where that was ended."""
    folder = Path(home) / "runs" / "trial"
    options = ["--steps", str(TRIAL_STEPS), "--set", f"training.log_every={EVERY}", "--out", str(folder)]
    try:
        _, spent = run(home, *command, *options, limit=TRIAL_SHARE * seconds)
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        batch = json.loads((folder / "config.json").read_text())["config"]["training"]["batch_size"]
    except subprocess.TimeoutExpired:
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return max(TRIAL_STEPS, int(TRAINING_SHARE * (seconds - spent) * last["clips_per_second"] / batch))


def trained(options: argparse.Namespace, home: str, data: Path) -> dict[str, Any]:
    """A run in `home`: how it was made, and the last line of its metrics."""
    out = Path(home) / "runs" / "within"
    settings = ["--recipe", options.recipe, "--set", f"model.frame_size={options.frame_size}", *options.train]
    command = ["train", "--data", str(data), "--device", options.device, *settings]
    began = time.monotonic()
    fit = options.steps or steps_that_fit(home, command, options.train_seconds)
    steps = fit or STEPS
    for event in ("evaluate", "checkpoint"):
        command += ["--set", f"training.{event}_every={max(1, steps // CHECKPOINTS)}"]
    left = options.train_seconds - (time.monotonic() - began)
    began, ended = time.monotonic(), "all steps"
    try:
        run(home, *command, "--steps", str(steps), "--out", str(out), limit=LONGEST * left)
    except subprocess.TimeoutExpired:
        ended = "the time"
    seconds = round(time.monotonic() - began, 1)
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    made = {"settings": settings, "steps": steps, "steps_guessed": not fit, "ended_by": ended}
    return made | {"seconds": seconds, "last": last}


def main() -> None:
    """Collects, trains, plans, and writes the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--frame-size", type=int, default=64)
    parser.add_argument("--episodes", type=int, default=10_000, help="the most episodes to collect")
    parser.add_argument("--collect-seconds", type=float, required=True)
    parser.add_argument("--train-seconds", type=float, required=True)
    parser.add_argument("--plan-seconds", type=float, required=True)
    parser.add_argument("--steps", type=int, help="steps of training, instead of as many as fit")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--device", default="auto")
    for command in ("train", "plan"):
        parser.add_argument(
            f"--{command}", type=shlex.split, default=[], help=f'="--further options" of lewm {command}'
        )
    options = parser.parse_args()
    result: dict[str, Any] = {"world": options.world, "recipe": options.recipe, "frame_size": options.frame_size}

    def keep(stage: str, what: dict[str, Any]) -> None:
        result[stage] = what
        write_report(options.json, f"the {options.recipe} recipe in {options.world}, in given times", [result])
        print(f"{stage}: {json.dumps(what)[:400]}", flush=True)

    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "data.h5"
        keep("data", collected(options, data))
        keep("train", trained(options, home, data))
        tasks = ["--episodes", str(options.tasks), "--device", options.device]
        try:
            planned, seconds = run(home, "plan", *tasks, *options.plan, limit=options.plan_seconds)
        except subprocess.TimeoutExpired:
            sys.exit(f"plan: not done after {options.plan_seconds:g} s")
        keep("plan", planned)
        keep("seconds", {"collect": result["data"]["seconds"], "train": result["train"]["seconds"], "plan": seconds})


if __name__ == "__main__":
    main()
