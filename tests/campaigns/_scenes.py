"""The scenes of kills: commands, the folders in which they begin, and how a user goes on after a kill."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import _victim
from _victim import Ended, Kill

TINY = """
[model]
frame_size = 16
frameskip = 2
latent = 8
projector_hidden = 16
[model.encoder]
channels = [4, 8]
width = 16
keypoints = 4
[model.predictor]
projector_hidden = 16
width = 8
depth = 1
heads = 2
head_dim = 8
mlp = 16
[model.action_embedder]
hidden = 8
[objective.sigreg]
directions = 16
[training]
steps = 20
batch_size = 8
held_out = 0.2
log_every = 5
evaluate_every = 10
checkpoint_every = 5
"""
COMPARED = (
    (Path(__file__).parents[1] / "tiny_comparison.toml").read_text()
    + """
[methods.lewm]
[[groups]]
title = "Agents"
rows = ["lewm"]
"""
)
RELEASED = Path(__file__).parents[1] / "golden" / "stable_worldmodel" / "transformers4"
PLAN = "--episodes 3 --samples 16 --elites 4 --iterations 2 --horizon 2 --goal-offset 5 --budget 10 --video gif"
COLLECT = ["collect", "--frame-size", "16", "--workers", "0"]


@dataclass(frozen=True)
class Scene:
    """A command that is killed.

    Attributes:
        name: For the campaign's lines.
        begin: Fills the folder that the command finds.
        arguments: Arguments of the command, in that folder.
        go_on: The commands that may complete it, the first that succeeds does.
        may_stay: The file of a lock, where going on after a kill does not take that lock. The lock itself is gone.
    """

    name: str
    begin: Callable[[Path], None]
    arguments: Callable[[Path], list[str]]
    go_on: Callable[[Path], Sequence[list[str]]]
    may_stay: str = ""

    def finish(self, folder: Path) -> tuple[bool, str]:
        """Goes on after a kill; whether that led to an end, and how or why not."""
        said = []
        for arguments in self.go_on(folder):
            ended = _victim.run(arguments, folder)
            said.append(f"{' '.join(_short(arguments, folder))}: exit {ended.code}")
            if ended.left:
                return False, f"{said[-1]}, left {', '.join(ended.left)}"
            if ended.code == 0:
                return True, "; ".join(said)
            said[-1] += f", {' '.join(ended.said.split())[-200:]}"
        return False, "; ".join(said)


def import_all() -> None:
    """Everything that a command may import, so that a forked one imports nothing; PyTorch gets one thread."""
    import torch

    torch.set_num_threads(1)
    for package in ("lewm_cli", "lewm", "lewm_data"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if "__main__" not in module.name and not any(world in module.name for world in (".cube", ".reacher")):
                importlib.import_module(module.name)
    for name in ("av", "matplotlib.backends.backend_agg", "PIL.Image", "scipy.stats", "safetensors.torch"):
        importlib.import_module(name)


class Prepared:
    """The files with which scenes begin, in a folder of their own. Each is made when it is first asked for.

    Args:
        base: The folder, which is not there yet.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        base.mkdir(parents=True)
        tiny = base / "tiny.toml"
        tiny.write_text(TINY)
        (base / "compared.toml").write_text(COMPARED)
        (base / "staged.json").write_text(json.dumps(staged(tiny)))

    @cached_property
    def some(self) -> Path:
        """A dataset that more can be appended to."""
        return self._collected("some.h5", "--episodes", "4")

    @cached_property
    def other(self) -> Path:
        """One of other settings."""
        return self._collected("other.h5", "--episodes", "10", "--seed", "5")

    @cached_property
    def recordings(self) -> Path:
        """Videos with tables, of which one within and the last cannot be read."""
        import numpy as np

        from lewm_data.video.video_writer import write_video

        made = self.base / "recordings"
        made.mkdir()
        for number in range(6):
            frames = np.random.default_rng(number).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
            write_video(made / f"{number}.mp4", frames, 10.0)
            rows = "up,down\n" if number in (2, 5) else "".join(f"{row},{number}\n" for row in range(6))
            (made / f"{number}.csv").write_text(f"x,y\n{rows}")
        return made

    @cached_property
    def train(self) -> list[str]:
        """The command that trains a run; what follows says where."""
        return self._train("tiny.toml")

    @cached_property
    def train_staged(self) -> list[str]:
        """The command that trains a run in stages; what follows says where."""
        return self._train("staged.json")

    @cached_property
    def whole(self) -> tuple[Path, int]:
        """A run, and the count of file operations that made it."""
        run = self.base / "home" / "runs" / "whole"
        ended = _victim.run([*self.train, str(run)], self.base)
        must(ended)
        return run, len(ended.operations)

    @cached_property
    def half(self) -> Path:
        """A run whose training was killed."""
        run, (_, operations) = self.base / "home" / "runs" / "half", self.whole
        _victim.run([*self.train, str(run)], self.base, Kill(signal.SIGKILL, operation=operations // 2))
        return run

    @cached_property
    def extended(self) -> Path:
        """A run with a decoder, a head and a policy."""
        run, _ = self.whole
        for command in ("decode", "train-head", "train-policy"):
            must(_victim.run([command, "--run", str(run), "--steps", "10"], self.base))
        return run

    @cached_property
    def _data(self) -> Path:
        return self._collected("home/datasets/two-room.h5", "--episodes", "60")

    def _train(self, settings: str) -> list[str]:
        paths = ["--config", str(self.base / settings), "--data", str(self._data)]
        return ["train", "--device", "cpu", *paths, "--seed", "1", "--out"]

    def _collected(self, name: str, *arguments: str) -> Path:
        must(_victim.run([*COLLECT, *arguments, "--out", str(self.base / name)], self.base))
        return self.base / name


def staged(tiny: Path) -> dict[str, Any]:
    """The settings of a file with a stage in addition, whose encoder the last training takes."""
    from lewm import recipes
    from lewm.config import resolve

    whole = json.loads(resolve(recipes.small("two-room", 2), tiny).to_json())
    model, objective = whole["model"], whole["objective"]
    stage = {name: model[name] for name in ("encoder", "latent", "projector_hidden", "predictor")}
    stage |= {"objective": objective, "steps": 10}
    model |= {"encoder": {"kind": "frozen", "weights": "stage:first"}, "projector_hidden": None}
    sections = {"model": model, "objective": {"kind": "prediction"}, "training": whole["training"]}
    return sections | {"stages": {"first": stage}}


def scenes(prepared: Prepared) -> list[Scene]:
    """All of them."""
    return [
        *_collections(prepared),
        *_conversions(prepared),
        *_trainings(prepared),
        *_readers_of(prepared),
        *_checkpoints(prepared),
        *_comparisons(prepared),
    ]


def _collections(prepared: Prepared) -> list[Scene]:
    def out(folder: Path) -> Path:
        return folder / "home" / "datasets" / "a.h5"

    def nothing(folder: Path) -> None:
        out(folder).parent.mkdir(parents=True)

    def some(folder: Path) -> None:
        nothing(folder)
        shutil.copy(prepared.some, out(folder))

    def other(folder: Path) -> None:
        nothing(folder)
        shutil.copy(prepared.other, out(folder))

    def collect(*more: str) -> Callable[[Path], list[str]]:
        return lambda folder: [*COLLECT, "--episodes", "10", "--out", str(out(folder)), *more]

    append = collect("--append")
    workers = collect("--append", "--workers", "2")
    overwrite = collect("--overwrite")
    return [
        Scene("collect", nothing, collect(), lambda folder: [append(folder)]),
        Scene("collect --append", some, append, lambda folder: [append(folder)]),
        # The old file, of other settings, refuses what is appended: then nothing of the new one was finished
        Scene("collect --overwrite", other, overwrite, lambda folder: [append(folder), overwrite(folder)]),
        Scene("collect --workers", nothing, collect("--workers", "2"), lambda folder: [workers(folder)]),
    ]


def _conversions(prepared: Prepared) -> list[Scene]:
    def out(folder: Path) -> Path:
        return folder / "home" / "datasets" / "a.h5"

    def nothing(folder: Path) -> None:
        out(folder).parent.mkdir(parents=True)

    def other(folder: Path) -> None:
        nothing(folder)
        shutil.copy(prepared.other, out(folder))

    def convert(*more: str) -> Callable[[Path], list[str]]:
        arguments = ["data", "convert", str(prepared.recordings), "--skip-damaged", *more, "--out"]
        return lambda folder: [*arguments, str(out(folder))]

    once, overwrite = convert(), convert("--overwrite")
    return [
        # What is complete is not converted again
        Scene("convert", nothing, once, lambda folder: [once(folder), ["data", "verify", str(out(folder))]]),
        Scene("convert --overwrite", other, overwrite, lambda folder: [overwrite(folder)]),
    ]


def _trainings(prepared: Prepared) -> list[Scene]:
    def out(folder: Path) -> Path:
        return folder / "home" / "runs" / "r"

    def nothing(folder: Path) -> None:
        out(folder).parent.mkdir(parents=True)

    def stopped(folder: Path) -> None:
        nothing(folder)
        shutil.copytree(prepared.half, out(folder))

    def first(folder: Path) -> list[str]:
        return [*prepared.train, str(out(folder))]

    def first_staged(folder: Path) -> list[str]:
        return [*prepared.train_staged, str(out(folder))]

    def resume(folder: Path) -> list[str]:
        return ["train", "--device", "cpu", "--resume", "--out", str(out(folder))]

    return [
        Scene("train", nothing, first, lambda folder: [resume(folder), first(folder)]),
        Scene("train in stages", nothing, first_staged, lambda folder: [resume(folder), first_staged(folder)]),
        Scene("train --resume", stopped, resume, lambda folder: [resume(folder)]),
    ]


def _readers_of(prepared: Prepared) -> list[Scene]:
    def out(folder: Path) -> Path:
        return folder / "home" / "runs" / "r"

    def begin(folder: Path) -> None:
        shutil.copytree(prepared.extended, out(folder))

    def without(kind: str) -> Callable[[Path], None]:
        """As before the command that writes reports of this kind."""

        def begin_without(folder: Path) -> None:
            begin(folder)
            for path in out(folder).glob(f"{kind}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

        return begin_without

    def again(name: str, begin: Callable[[Path], None], *arguments: str, may_stay: str = "") -> Scene:
        def command(folder: Path) -> list[str]:
            given = [one.format(folder=folder) for one in arguments]
            return [name, "--run", str(out(folder)), *given]

        return Scene(name, begin, command, lambda folder: [command(folder)], may_stay)

    return [
        again("decode", without("decode"), "--steps", "10", may_stay="runs/r/.lock"),  # training's lock, not needed
        again("train-head", without("head"), "--steps", "10"),
        again("train-policy", without("policy"), "--steps", "10"),
        again("plan", begin, *PLAN.split(), "--warm-start", "idm", "--save-tasks", "{folder}/home/tasks.json"),
        again("probe", begin, "--seed", "0"),
        again("report", begin, "--out", "{folder}/home/page"),
    ]


def _checkpoints(prepared: Prepared) -> list[Scene]:
    def nothing(folder: Path) -> None:
        (folder / "home" / "runs").mkdir(parents=True)

    def out(folder: Path) -> str:
        return str(folder / "home" / "runs" / "r")

    def make(folder: Path) -> list[str]:
        return ["checkpoint", "import", str(RELEASED), "--data", str(prepared.some), "--out", out(folder)]

    # Where the run was there already, making it again is refused, and it is whole
    return [
        Scene("checkpoint import", nothing, make, lambda folder: [make(folder), ["checkpoint", "info", out(folder)]])
    ]


def _comparisons(prepared: Prepared) -> list[Scene]:
    def nothing(folder: Path) -> None:
        (folder / "home").mkdir(parents=True)

    def compare(folder: Path) -> list[str]:
        few = ["--seeds", "0", "--tasks", "2"]
        return ["compare", str(prepared.base / "compared.toml"), *few, "--device", "cpu"]

    return [Scene("compare", nothing, compare, lambda folder: [compare(folder)])]


def must(ended: Ended) -> None:
    """Go on only where a command that the campaign itself needs was done."""
    if ended.code != 0:
        raise RuntimeError(f"the campaign could not prepare itself: exit {ended.code}\n{ended.said}")


def _short(arguments: list[str], folder: Path) -> list[str]:
    return [one.replace(f"{folder}/home/", "") for one in arguments]
