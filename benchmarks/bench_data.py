"""Data against success: how many episodes, whose, and how noisy, with the small recipe of a world.

    python benchmarks/bench_data.py two-room --json benchmarks/results/data-two-room-cpu.json

The tasks come from a dataset of their own, collected with another seed by the world's default policy, so that no
training saw them. A training seed has the same tasks with all data. What the JSON file has already is not measured
again, so that an interrupted benchmark continues; for new code, begin a new file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
from _report import write_report
from bench_quickstart import run

from lewm.curves.curve import letters
from lewm_data.envs.registry import world

# Seconds of training a seed; three seeds where that is cheap. With one seed, only large differences count.
SEEDS = {"two-room": (0, 1, 2)}
ONE_SEED = (0,)
EPISODES = 1000
FEWER_AND_MORE = (100, 300, 3000)
NOISE = (0.0, 0.5, 2.0)  # of the world's default
SHARES = (0.5, 1.0)  # of the data's episodes that another policy acts in
TASKS_SEED, TASKS_EPISODES = 1_000_003, 100  # of the dataset from which the tasks come


def settings(name: str) -> list[dict[str, Any]]:
    """Options of `lewm collect`: first the world's defaults, then one of them changed at a time."""
    place = world(name)
    first = {"episodes": EPISODES, "policy": place.default_policy, "noise": place.default_noise}
    expert = {**first, "policy": "expert"}
    others = [policy for policy in ("expert", "random", "smooth") if policy != place.default_policy]
    changed = [
        *({**first, "episodes": episodes} for episodes in FEWER_AND_MORE),
        *({**expert, "noise": share * place.default_noise} for share in NOISE),
        *(
            {**first, "policy": other if share == 1 else f"{place.default_policy}:{1 - share},{other}:{share}"}
            for other, share in itertools.product(others, SHARES)
        ),
    ]
    return [first, *changed]


def main() -> None:
    """Collects with each setting; trains and plans with each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds; three in Two-Room, else one")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--only", type=int, help="only this many settings, from the first")
    arguments = parser.parse_args()
    seeds = arguments.seeds or SEEDS.get(arguments.world, ONE_SEED)
    results = json.loads(arguments.json.read_text())["results"] if arguments.json.exists() else []
    with tempfile.TemporaryDirectory() as home:
        for setting in settings(arguments.world)[: arguments.only]:
            measured = {row["seed"] for row in results if row["setting"] == setting}
            missing = [seed for seed in seeds if seed not in measured]
            if not missing:
                continue
            data = Path(home) / "data.h5"
            options = [word for name, value in setting.items() for word in (f"--{name}", str(value))]
            _, collecting = run(home, "collect", "--env", arguments.world, *options, "--out", str(data))
            with h5py.File(data) as file:
                frames = len(file["action"])
            for seed in missing:
                trained, training = run(home, "train", "--data", str(data), "--seed", str(seed))
                tasks = _tasks(home, arguments.world, seed, arguments.tasks)
                ours = ("--tasks", str(tasks), "--seed", str(seed))
                planned, planning = run(home, "plan", "--run", trained["run"], *ours)
                planned["tasks"] = letters(planned["tasks"])
                seconds = {"collect": collecting, "train": training, "plan": planning}
                row = {"world": arguments.world, "setting": setting, "frames": frames, "seed": seed}
                results.append(row | {"seconds": seconds, "plan": planned})
                write_report(arguments.json, f"data in {arguments.world}", results)
                print(f"{' '.join(options)}, seed {seed}: {planned['success_rate']:.1%}", flush=True)
            data.unlink()


def _tasks(home: str, name: str, seed: int, count: int) -> Path:
    """The tasks of a training seed. A run that is hardly trained draws them from what it holds out, which is most."""
    data, drawing, tasks = Path(home) / "tasks.h5", Path(home) / "drawing", Path(home) / f"tasks-{seed}.json"
    if not data.exists():
        drawn = ("--episodes", str(TASKS_EPISODES), "--seed", str(TASKS_SEED), "--out", str(data))
        run(home, "collect", "--env", name, *drawn)
        options = ("--steps", "1", "--set", "training.held_out=0.9", "--out", str(drawing))
        run(home, "train", "--data", str(data), *options)
    if not tasks.exists():
        least = ("--planner", "cem", "--iterations", "1", "--samples", "2", "--elites", "2")
        saved = ("--episodes", str(count), "--seed", str(seed), "--save-tasks", str(tasks))
        run(home, "plan", "--run", str(drawing), *least, *saved)
    return tasks


if __name__ == "__main__":
    main()
