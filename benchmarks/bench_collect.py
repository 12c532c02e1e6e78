"""Frames a second that `lewm collect` records of each world, beside the bare simulator: the cost of recording.

    python benchmarks/bench_collect.py --json benchmarks/results/collect-cpu.json

The bare loop makes the environments and resets, steps and draws them through the very episodes that were recorded,
with the recorded actions; it has no policy and keeps nothing. Unless it ends every episode in the frame that was
recorded, nothing is timed. Then it and `lewm collect` take turns on one core, and `lewm collect` on all. Everything
counts, the start of workers too. A world that cannot be used here is left out, and the report says why.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _report import write_report

from lewm_data.collection.collect import TOGETHER, CollectReport, collect, cores
from lewm_data.collection.episodes import streams
from lewm_data.envs.overview import is_installed
from lewm_data.envs.registry import WORLDS, world
from lewm_data.envs.world import World
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

FRAME_SIZE, SEED = 64, 0


def recorded(place: World, path: Path, episodes: int, workers: int | None) -> CollectReport:
    """Does the same as `lewm collect --env NAME --overwrite`."""
    return collect(
        place,
        path,
        episodes,
        policy=place.default_policy,
        noise=place.default_noise,
        frame_size=FRAME_SIZE,
        seed=SEED,
        workers=workers,
        mode="overwrite",
    )


def bare_loop(place: World, actions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Takes actions (E, T, A), of which each of E episodes has as many as `lengths`; returns the last frames."""
    count = min(1 if place.workers else TOGETHER, len(lengths))
    seeds = [streams(SEED, episode)[0] for episode in range(len(lengths))]
    playing, steps, begun = np.arange(count), np.zeros(count, np.int64), count
    last = np.empty((len(lengths), FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    env = place.make(count, FRAME_SIZE, True)
    env.reset(seed=seeds[:count])
    running = len(lengths)
    while running:
        observation, *_ = env.step(actions[playing, np.minimum(steps, actions.shape[1] - 1)])
        steps += 1
        mask = np.zeros(count, np.bool_)
        for slot in np.flatnonzero(steps == lengths[playing]).tolist():
            last[playing[slot]] = observation["pixels"][slot]
            running -= 1
            if begun < len(lengths):  # else it just goes on, as in a collection
                playing[slot], steps[slot], mask[slot], begun = begun, 0, True, begun + 1
        if mask.any():
            env.reset(seed=[seeds[episode] for episode in playing], options={"reset_mask": mask})
    env.close()
    return last


def measure(place: World, seconds: float, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """Times the loop and the collections of one world; refuses a loop whose end differs from the recording."""
    path = folder / "episodes.h5"
    trial = recorded(place, path, 1, workers=0)
    work = trial.stepping_seconds + trial.acting_seconds + trial.writing_seconds
    episodes = max(cores(), round(seconds / work))
    frames = recorded(place, path, episodes, workers=0).frames
    with Dataset.open(path) as dataset:
        taken, begins, lengths = dataset.column("action"), dataset.offsets, dataset.lengths - 1
        last = dataset.frames(begins + lengths)
    actions = np.zeros((episodes, lengths.max(), taken.shape[1]), taken.dtype)
    for episode, (begin, length) in enumerate(zip(begins, lengths, strict=True)):
        actions[episode, :length] = taken[begin : begin + length]
    np.testing.assert_array_equal(bare_loop(place, actions, lengths), last)

    paths: dict[str, tuple[int, Callable[[], object]]] = {
        "bare loop": (1, lambda: bare_loop(place, actions, lengths)),
        "collect": (1, lambda: recorded(place, path, episodes, workers=0)),
        "collect, every core": (cores(), lambda: recorded(place, path, episodes, workers=None)),
    }
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(repeats):  # interleaved, so that a busy moment does not fall on one of them
        for name, (used, call) in paths.items():
            with on_cores(used):
                began = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - began)
    results = []
    for name, (used, _) in paths.items():
        median, low, high = (round(float(rate), 1) for rate in frames / np.percentile(times[name], [50, 80, 20]))
        share = statistics.median(bare / own for bare, own in zip(times["bare loop"], times[name], strict=True))
        results.append(
            {
                "world": place.name,
                "path": name,
                "cores": used,
                "frame_size": FRAME_SIZE,
                "episodes": episodes,
                "frames": frames,
                "frames_per_second": median,
                "p20": low,
                "p80": high,
                "share_of_bare": round(share, 3),
                "repeats": repeats,
            }
        )
    return results


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Limits this process, and those that it starts, to `count` cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), help="names of `lewm envs`, or Gymnasium ids")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each repeat, about")
    arguments = parser.parse_args()

    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.worlds:
            place = world(name)
            if place.extra is not None and not is_installed(place.extra):
                results.append({"world": name, "skipped": f'needs pip install -e ".[{place.extra}]"'})
            else:
                try:
                    results += measure(place, arguments.seconds, arguments.repeats, Path(folder))
                except DataError as error:  # nothing to draw with
                    results.append({"world": name, "skipped": str(error).replace("\n", ". ")})
    for row in results:
        if "skipped" in row:
            print(f"{row['world']:10s} {row['skipped']}")
        else:
            spread = f"({row['p20']:,.0f} to {row['p80']:,.0f})"
            print(
                f"{row['world']:10s} {row['path']:20s} {row['cores']:3d} cores "
                f"{row['frames_per_second']:9,.0f} frames/s {spread:22s} {row['share_of_bare']:.2f} of the bare loop"
            )
    if arguments.json:
        write_report(arguments.json, "collect", results)


if __name__ == "__main__":
    main()
