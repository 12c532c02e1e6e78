"""Data against success: how many episodes, whose, and how noisy, with the small recipe of a world.

    python benchmarks/bench_data.py two-room --json benchmarks/results/data-two-room-cpu.json

The tasks come from a dataset of their own, collected with another seed by the world's default policy, so that no
training saw them. A training seed has the same tasks with all data. With --data, a dataset as the world's recipe has,
the settings that differ from it only in the number of episodes take their first ones from it. In Cube, where the search
solves few tasks, the policy of `lewm train-policy` acts in its place.

What the JSON file and the folder --work have already is not measured again: so an interrupted benchmark continues, and
processes may share both, each with some of the settings. For new code, begin a new file.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from _results import Results
from _work import (
    LEAST,
    POLICY_ACTS,
    add_seeds,
    add_work,
    collect_words,
    described,
    first_episodes,
    once,
    recipe_data,
    seeds_of,
    short,
    working,
)

from lewm.recipes import recipe
from lewm_data.envs.registry import world
from lewm_data.store.schema import DETAIL

AMOUNTS = (100, 300, 1000, 3000)  # of episodes
NOISE = (0.0, 0.5, 2.0)  # of the world's default
SHARES = (0.5, 1.0)  # of the data's episodes that another policy acts in
TASKS_SEED, TASKS_EPISODES = 1_000_003, 100  # of the dataset from which the tasks come
PROTOCOL = "tasks of a dataset that no training saw"


def settings(name: str) -> list[dict[str, Any]]:
    """Options of `lewm collect`: first those of the world's recipe; then others in number, noise or policy."""
    place, first = world(name), recipe_data(name)
    expert = {**first, "policy": "expert"}
    others = [policy for policy in ("expert", "random", "smooth") if policy != place.default_policy]
    changed = [
        *({**first, "episodes": amount} for amount in AMOUNTS if amount != first["episodes"]),
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
    add_work(parser)
    parser.add_argument("--data", type=Path, help="an existing dataset as the world's recipe has")
    add_seeds(parser)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--only", type=int, nargs="+", help="the numbers of some settings; 0 is the world's recipe")
    parser.add_argument("--list", action="store_true", help="show the settings with their numbers, and do nothing")
    arguments = parser.parse_args()
    every = settings(arguments.world)
    if arguments.list:
        for number, setting in enumerate(every):
            print(number, setting)
        return
    numbers = range(len(every)) if arguments.only is None else arguments.only
    if not set(numbers) <= set(range(len(every))):
        parser.error(f"--only: expected numbers from 0 to {len(every) - 1}")
    seeds = seeds_of(arguments)

    def key(row: dict[str, Any]) -> tuple[int, int]:
        return every.index(row["setting"]), row["seed"]

    results = Results(arguments.json, f"data in {arguments.world}", {"world": arguments.world}, key)
    with working(arguments.work) as home:
        for number in numbers:
            missing = [seed for seed in seeds if not _is_measured(results.find((number, seed)), arguments.tasks)]
            if missing:
                _measure(arguments, home, every[number], number, missing, results)


def _is_measured(row: dict[str, Any] | None, tasks: int) -> bool:
    return row is not None and row["plan"]["episodes"] == tasks


def _measure(
    arguments: argparse.Namespace,
    home: Path,
    setting: dict[str, Any],
    number: int,
    seeds: list[int],
    results: Results,
) -> None:
    """Collects with one setting; trains and plans with some seeds."""
    data, collecting = home / f"data-{number}.h5", None
    words = collect_words(setting)
    if not _taken(arguments.data, setting, data):
        _, collecting = once(home, f"collect-{number}", "collect", "--env", arguments.world, *words, out=data)
    for seed in seeds:
        name, out = f"{number}-{seed}", home / f"run-{number}-{seed}"
        _, training = once(home, f"train-{name}", "train", "--data", str(data), "--seed", str(seed), out=out)
        frames, seconds = described(data)["frames"], {"collect": collecting, "train": training}
        ours, agent = ["--run", str(out), "--seed", str(seed)], []
        if arguments.world in POLICY_ACTS:
            agent = ["--agent", "idm"]
            _, seconds["train-policy"] = once(home, f"train-policy-{name}", "train-policy", *ours)
        tasks = _tasks(home, arguments.world, seed, arguments.tasks)
        planned, seconds["plan"] = once(home, f"plan-{name}", "plan", *ours, *agent, "--tasks", str(tasks))
        planned["protocol"] = PROTOCOL  # `lewm plan` names the file of tasks: a path of this machine
        row = {"world": arguments.world, "setting": setting, "frames": frames, "seed": seed}
        results.put({**row, "seconds": seconds, "plan": short(planned)})
        print(f"{' '.join(words)}, seed {seed}: {planned['success_rate']:.1%}", flush=True)
    data.unlink()


def _taken(source: Path | None, setting: dict[str, Any], data: Path) -> bool:
    """Whether `data` has the episodes of a setting because those of an existing dataset are its first ones."""
    if source is None:
        return False
    given = described(source)
    alike = all(given.get(name) == setting.get(name) for name in ("policy", "noise", DETAIL))
    if not alike or given["episodes"] < setting["episodes"]:
        return False
    first_episodes(source, setting["episodes"], data)
    return True


def _tasks(home: Path, name: str, seed: int, count: int) -> Path:
    """The tasks of a training seed. A run that is hardly trained draws them from what it holds out, which is most."""
    data, drawing, tasks = home / "tasks.h5", home / "drawing", home / f"tasks-{seed}.json"
    drawn = collect_words({**recipe_data(name), "episodes": TASKS_EPISODES, "seed": TASKS_SEED})
    once(home, "tasks", "collect", "--env", name, *drawn, out=data)
    stages = recipe("small", name, world(name).action_dim).stages
    short_ones = (word for stage in stages for word in ("--set", f"stages.{stage}.steps=1"))
    options = ("--data", str(data), "--steps", "1", "--set", "training.held_out=0.9", *short_ones)
    once(home, "drawing", "train", *options, out=drawing)
    saved = ("--episodes", str(count), "--seed", str(seed), "--save-tasks", str(tasks))
    once(home, f"tasks-{seed}", "plan", "--run", str(drawing), *LEAST, *saved)
    return tasks


if __name__ == "__main__":
    main()
