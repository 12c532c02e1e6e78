"""The folder in which a benchmark works: what is done there already is not done again."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from _results import locked
from bench_quickstart import run

from lewm.checkpoints.run import MODEL
from lewm.config import POLICY_KINDS
from lewm.curves.curve import letters
from lewm.files import sha256
from lewm.heads.files import HEAD, policy_file
from lewm_data.envs.registry import world
from lewm_data.store.schema import DETAIL
from lewm_data.temporary import replacing

COPIED = 4096  # rows at a time
EPISODES = 1000  # that `lewm collect` makes by default
# What the data of a world's small recipe have other than by default, as options of `lewm collect`.
OWN_DATA: dict[str, dict[str, Any]] = {
    "push-t": {"episodes": 4000},
    "cube": {"detail": "coarse"},
}
POLICY_ACTS = ("cube",)  # in place of the search, in `make worlds` and in bench_data.py
# Training seeds: three where a training takes a minute. With one seed, only large differences count.
SEEDS: dict[str, Sequence[int]] = {"two-room": (0, 1, 2)}
ONE_SEED = (0,)
LEAST = ("--planner", "cem", "--iterations", "1", "--samples", "2", "--elites", "2")  # enough to draw tasks


def add_work(parser: ArgumentParser) -> None:
    """Adds the option --work."""
    told = "a folder to work in, for an interrupted benchmark to continue from; else a temporary one"
    parser.add_argument("--work", type=Path, help=told)


def add_seeds(parser: ArgumentParser) -> None:
    """Adds the option --seeds."""
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds; in Two-Room 0, 1 and 2, else 0")


def seeds_of(arguments: Namespace) -> Sequence[int]:
    """The training seeds of --seeds, or those of the world."""
    seeds: Sequence[int] = arguments.seeds or SEEDS.get(arguments.world, ONE_SEED)
    return seeds


@contextmanager
def working(folder: Path | None) -> Iterator[Path]:
    """The folder, or a temporary one. SIGTERM ends the block as Ctrl-C does, and with it the command that runs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()


def once(home: Path, name: str, *command: str, out: Path | None = None) -> tuple[dict[str, Any], float]:
    """What `run` returns for a command; it is read where the same command has ended in this folder under this name.

    A command is the same only if the run that it names has the same weights, and the dataset the same size. For
    `lewm plan`, head and policies must be the same, too. A default that was changed since is not noticed: for new code,
    begin a new folder.

    Args:
        out: What the command writes, its --out. What an interrupted command has left there is removed.
    """
    words = [*command, *(() if out is None else ("--out", str(out)))]
    done = home / "done" / name
    with locked(done):
        given = dict(itertools.pairwise(words))
        learnt = (HEAD, *map(policy_file, POLICY_KINDS)) if command[0] == "plan" else ()
        weights = [digest(Path(given["--run"]) / name) for name in (MODEL, *learnt)] if "--run" in given else None
        size = Path(given["--data"]).stat().st_size if "--data" in given else None
        same = {"command": words, "weights": weights, "size": size}
        kept = done / "result.json"
        if kept.exists() and (out is None or out.exists()):
            before = json.loads(kept.read_text())
            if {key: before.get(key) for key in same} == same:
                return before["result"], before["seconds"]
        if out is not None:
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        result, seconds = run(str(home), *words)
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps({**same, "result": result, "seconds": seconds}))
    return result, seconds


def short(planned: dict[str, Any]) -> dict[str, Any]:
    """What `lewm plan` shows, with one letter for each task in place of all that is known of it."""
    return {**planned, "tasks": letters(planned["tasks"])}


def digest(path: Path) -> str | None:
    """Digest of a file; None where there is none."""
    return sha256(path) if path.exists() else None


def same_tasks(plan: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two reports are of the same weights and the same tasks."""
    return all(plan[name] == other[name] for name in ("checkpoint_sha256", "tasks_sha256"))


def recipe_data(name: str) -> dict[str, Any]:
    """The data of a world's small recipe, as options of `lewm collect`."""
    place = world(name)
    return {
        "episodes": EPISODES,
        "policy": place.default_policy,
        "noise": place.default_noise,
        **OWN_DATA.get(name, {}),
    }


def collect_words(options: dict[str, Any]) -> list[str]:
    """Options of `lewm collect` as the words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def described(data: Path) -> dict[str, Any]:
    """How a dataset was collected; with its detail where its world has several."""
    with h5py.File(data) as file:
        return {
            "episodes": len(file["ep_len"]),
            "frames": len(file["action"]),
            "policy": str(file.attrs["policy"]),
            "noise": float(file.attrs["noise"]),
            **({DETAIL: str(file.attrs[DETAIL])} if DETAIL in file.attrs else {}),
        }


def first_episodes(source: Path, count: int, out: Path) -> None:
    """Writes the first episodes of a dataset, as if no more had been collected."""
    with replacing(out) as temporary, h5py.File(source) as file, h5py.File(temporary, "w") as copy:
        copy.attrs.update(file.attrs)
        frames = int(file["ep_len"][:count].sum())
        for name, column in file.items():
            rows = count if name in ("ep_len", "ep_offset") else frames
            shape = (rows, *column.shape[1:])
            part = copy.create_dataset(name, shape, column.dtype, chunks=column.chunks, maxshape=column.maxshape)
            part.attrs.update(column.attrs)
            for begin in range(0, rows, COPIED):
                end = min(rows, begin + COPIED)
                part[begin:end] = column[begin:end]
