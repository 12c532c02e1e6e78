"""Training steps with data from disk: as PyTorch runs them, and compiled.

    python benchmarks/bench_training.py --json benchmarks/results/training-gpu.json

A Two-Room dataset is collected, and `lewm.training.loop.train` trains on it twice, as for a user. The values that it
logs every few steps are the measurement, without the first ones: those contain compiling and the first reads, and their
additional time is given separately, as preparation. `waiting_for_data` is the share of the time that steps waited for
the reader.
"""

import argparse
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _measure import best_device, profile, reason, spread
from _report import write_report

from lewm import recipes
from lewm.config import Config, resolve
from lewm.training.compilation import choose_compilation
from lewm.training.loop import Progress, train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

WORLD, ACTIONS = "two-room", 2
EVERY = 5  # steps from one measurement to the next
PREPARING = 3  # measurements that are not counted: they hold the compilation and the first reads
PROFILED = 6  # steps that are profiled
NOT_COMPILED = "nothing is compiled here"
TINY = {
    "model.encoder": {"kind": "conv", "channels": [4, 8], "width": 16},
    "training.batch_size": 8,
    "objective.sigreg.directions": 16,
}


def settings(recipe: str, steps: int, compiled: bool, quick: bool) -> Config:
    """The recipe for this number of steps, without the stops for health and checkpoints."""
    changes: dict[str, Any] = {"training.steps": steps, "training.log_every": EVERY}
    changes |= {"training.evaluate_every": steps, "training.checkpoint_every": steps}
    changes |= {"training.compile": "auto" if compiled else "off"}
    return resolve(recipes.recipe(recipe, WORLD, ACTIONS), None, changes | (TINY if quick else {}))


def measure(config: Config, data: Path, device: torch.device, path: str) -> dict[str, Any]:
    """The row of one training."""
    logged: list[dict[str, Any]] = []

    def note(progress: Progress) -> None:
        logged.append(progress.metrics)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    _train(config, data, device, note)
    batch = config.training.batch_size
    steps = [batch / metrics["clips_per_second"] for metrics in logged]  # seconds
    counted = steps[PREPARING:]
    row: dict[str, Any] = {"path": path, "recipe": config.recipe, "batch": batch, "frame_size": config.model.frame_size}
    row |= {"device": str(device), "threads": torch.get_num_threads(), **spread(counted)}
    row["clips_per_second"] = round(1e3 * batch / row["median_ms"], 1)
    row["waiting_for_data"] = round(sum(m["waiting_for_data"] for m in logged[PREPARING:]) / len(counted), 3)
    beyond = sum(steps[:PREPARING]) - PREPARING * row["median_ms"] / 1e3
    row["preparation_s"] = round(max(0.0, EVERY * beyond), 2)
    row["peak_bytes"] = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return row


def main() -> None:
    """Collects, trains, prints, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--recipe", choices=recipes.RECIPES, default="paper")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--profile", type=Path, help="a file for the profile of a few eager steps")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few steps: does it run at all?")
    options = parser.parse_args()
    if options.quick:
        options.recipe, options.episodes, options.steps = "small", 4, EVERY * (PREPARING + 2)
    device = torch.device(options.device) if options.device != "auto" else best_device()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.h5"
        size = recipes.recipe(options.recipe, WORLD, ACTIONS).model.frame_size
        place = world(WORLD)
        noise = place.default_noise
        collect(place, data, options.episodes, policy="expert", noise=noise, frame_size=size, seed=0)
        for path in ("eager", "compiled"):
            config = settings(options.recipe, options.steps, path == "compiled", options.quick)
            rows.append(row_of(config, data, device, path))
            print(rows[-1], flush=True)
            if options.json:
                write_report(options.json, "training", rows)
        if options.profile:
            few = settings(options.recipe, PROFILED, False, options.quick)
            steps = functools.partial(_train, few, data, device)
            profile(f"training, {PROFILED} steps, eager", steps, device, options.profile, warm_up=0)
    if any("skipped" in row and not row["skipped"].startswith(NOT_COMPILED) for row in rows):
        sys.exit("something was left out: see what is skipped")


def row_of(config: Config, data: Path, device: torch.device, path: str) -> dict[str, Any]:
    """The row of `measure`, or a row with the reason why there is none."""
    compilation = choose_compilation(config.training.compile, device)
    skipped = {"path": path, "recipe": config.recipe, "device": str(device)}
    if path == "compiled" and not compilation.on:
        return skipped | {"skipped": f"{NOT_COMPILED}: {compilation.reason}"}
    try:
        return measure(config, data, device, path)
    except Exception as error:  # the other way is still to be measured
        return skipped | {"skipped": reason(error)}


def _train(
    config: Config, data: Path, device: torch.device, note: Callable[[Progress], None] = lambda progress: None
) -> None:
    out = data.with_name("run")
    shutil.rmtree(out, ignore_errors=True)
    train(config, data, out, device, on_progress=note)


if __name__ == "__main__":
    main()
