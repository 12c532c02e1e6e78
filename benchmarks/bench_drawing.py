"""How fast the worlds of MuJoCo are drawn, and how far their frames are from MuJoCo's own drawing of them.

    python benchmarks/bench_drawing.py --before ../lewm-before --json benchmarks/results/drawing-cpu.json

Every way to draw shows the same states, a process each on one core, and the processes take turns: MuJoCo's own
renderer with all that a world's model asks for, lewm at each detail that the world has and, with --before, lewm's code
in another folder. At 64 px, the processes also collect episodes. Times are seconds of the processor, without the start.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _report import ROOT, write_report

from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

WORLDS, SIZES, COLLECTED_SIZE, SEED = ("reacher", "cube"), (64, 224), 64, 0
EPISODES, EVERY = 3, 12  # of the default policy; every 12th frame of these is drawn
NEAR = 10  # levels of 255

# Ways to draw besides the world's details.
OWN, BEFORE = "MuJoCo itself", "before"


def draw(name: str, way: str, size: int, states: np.ndarray, out: Path) -> None:
    """Draws the states in one way; writes the frames, the seconds of each, and the frames a second of a collection."""
    place = world(name) if way in (OWN, BEFORE, name) else world(name).drawn(way)
    env = place.make(1, size, False)
    env.reset(seed=SEED)
    render = own_renderer(name, env, size) if way == OWN else lambda: env.render()[0]
    frames, seconds = [], []
    for state in [states[0], *states]:  # the first one again: its time has the start in it
        env.set_state(state[None])
        began = time.process_time()
        frames.append(render())
        seconds.append(time.process_time() - began)
    env.close()
    rate = float("nan")
    if way != OWN and size == COLLECTED_SIZE:
        path = out.with_suffix(".h5")
        settings = {"policy": place.default_policy, "noise": place.default_noise, "frame_size": size, "seed": SEED}
        took = []
        for episodes in (1, 2):  # the difference is without the start
            began = time.process_time()
            report = collect(place, path, episodes, **settings, workers=0, mode="overwrite")
            took.append((report.frames, time.process_time() - began))
        rate = (took[1][0] - took[0][0]) / (took[1][1] - took[0][1])
    np.savez(out, frames=np.stack(frames[1:]), seconds=np.array(seconds[1:]), rate=rate)


def own_renderer(name: str, env: Any, size: int) -> Callable[[], np.ndarray]:  # noqa: ANN401  # a world's environment
    """Draws what the environment's simulator shows as MuJoCo does, with every detail of the model."""
    import importlib

    import mujoco

    camera = importlib.import_module(f"lewm_data.envs.{name}.factors").CAMERA
    simulator = env.simulators[0]
    model = copy.copy(simulator.model)
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    renderer = mujoco.Renderer(model, size, size)

    def render() -> np.ndarray:
        renderer.update_scene(simulator.data, camera)
        frame: np.ndarray = renderer.render()
        return frame

    return render


def some_states(name: str) -> np.ndarray:
    """States of a few episodes of the default policy, (S, the world's width)."""
    place = world(name)
    env = place.make(EPISODES, 16, False)
    policy = place.policy(place.default_policy, env)
    observation, _ = env.reset(seed=SEED)
    policy.reset(np.arange(EPISODES), [np.random.default_rng([SEED, episode]) for episode in range(EPISODES)])
    found = []
    for step in range(env.max_episode_steps):
        if step % EVERY == 0:
            found.append(env.state)
        observation, *_ = env.step(policy.act(observation))
    env.close()
    return np.concatenate(found)


def in_a_process(code: Path, name: str, way: str, size: int, states: Path, out: Path) -> dict[str, np.ndarray]:
    """What `draw` writes, called with the package lewm_data of the folder `code`."""
    paths = [str(code / "data"), str(ROOT / "benchmarks")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, __file__, "--draw", name, way, str(size), str(states), str(out)]
    subprocess.run(command, env=environment, check=True)
    with np.load(out) as arrays:
        return dict(arrays)


def measure(name: str, size: int, before: Path | None, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """One row for each way to draw a world at a size."""
    states = folder / "states.npy"
    np.save(states, some_states(name))
    ways = [OWN, *([] if before is None else [BEFORE]), *(world(name).details or [name])]
    drawn: dict[str, list[dict[str, np.ndarray]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way in ways:
            code = before if way == BEFORE and before is not None else ROOT
            drawn[way].append(in_a_process(code, name, way, size, states, folder / "drawn.npz"))
    frames = {way: drawn[way][0]["frames"].astype(np.float64) for way in ways}
    rows = []
    for way in ways:
        milliseconds = 1000 * np.concatenate([each["seconds"] for each in drawn[way]])
        median, low, high = (round(float(value), 2) for value in np.percentile(milliseconds, [50, 20, 80]))
        row = {"world": name, "frame_size": size, "way": way, "frames": len(frames[way]), "repeats": repeats}
        row |= {"ms_a_frame": median, "p20": low, "p80": high}
        if way != OWN and size == COLLECTED_SIZE:
            row["collected_a_second"] = round(float(np.median([each["rate"] for each in drawn[way]])), 1)
        if way != OWN:
            row["to MuJoCo itself"] = difference(frames[way], frames[OWN])
        if before is not None and way not in (OWN, BEFORE):
            row["to before"] = difference(frames[way], frames[BEFORE])
        rows.append(row)
    return rows


def difference(frames: np.ndarray, others: np.ndarray) -> dict[str, float | None]:
    """The mean difference in levels of 255, the PSNR in dB, and the share of pixels within NEAR levels.

    The PSNR is None where all frames are equal.
    """
    apart = np.abs(frames - others)
    return {
        "mean": round(float(apart.mean()), 3),
        "psnr": round(float(10 * np.log10(255**2 / np.square(apart).mean())), 1) if apart.any() else None,
        "near": round(float((apart.max(axis=-1) <= NEAR).mean()), 4),
    }


def main() -> None:
    """Measures and prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder with other code of lewm, to compare with")
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--worlds", nargs="+", default=WORLDS, choices=WORLDS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="pixels a side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--draw", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    if arguments.draw:
        name, way, size, states, out = arguments.draw
        draw(name, way, int(size), np.load(states), Path(out))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.worlds:
            for size in arguments.sizes:
                rows += measure(name, size, arguments.before, arguments.repeats, Path(folder))
    for row in rows:
        print(json.dumps(row))
    if arguments.json:
        write_report(arguments.json, "drawing", rows)


if __name__ == "__main__":
    main()
