"""The jobs of a comparison: data are collected, runs trained, policies and heads learnt on them, and plans made.

What a job makes is the same whoever asks for it, so its name is made of its settings: the same name, the same work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lewm.checkpoints.run import CONFIG, METRICS, MODEL, STAGES
from lewm.compare.cells import Cell, Given, Trained, digest
from lewm.compare.learnt import file_of, is_given, learn, needed
from lewm.compare.records import Place
from lewm.compare.spec import Data, Tasks
from lewm.config import Config, Evaluation, HeadCost, Planning, PolicyKind
from lewm.evaluation.command import evaluate_run
from lewm.evaluation.requests import FromDataset, PlanRequest
from lewm.files import sha256
from lewm.heads.prepared import LastEncoded
from lewm.provenance import commit
from lewm.training.loop import Progress, train
from lewm.training.metrics import seconds
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

log = logging.getLogger(__name__)

SECONDS = "seconds"  # in the record of what is learnt on a run: None where it was there before
DIGESTS = "digests"  # in records: of the files that were used or made, by their names
WEIGHTS = "checkpoint_sha256"  # in records: digest of the run's weights
OnShare = Callable[[float], None]  # which share of a job is done
Result = dict[str, Any]  # plain values: what the record of a job says


@dataclass(frozen=True)
class Job:
    """A piece of work whose result is kept.

    Attributes:
        name: The folder of its record.
        title: What is said of it while it is done.
        needs: Names of the jobs that have to be done before.
        do: Does the work, or what is left of it, on a device; returns what its record is to say.
        is_there: Whether what it made, as its record says, still is there.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    do: Callable[[torch.device, OnShare], Result]
    is_there: Callable[[Result], bool]

    def is_made(self, result: Result) -> bool:
        """Whether what it made is there; not if its record says too little, as that of another version may."""
        try:
            return self.is_there(result)
        except (KeyError, TypeError):
            return False


def collecting(place: Place, name: str, data: Data, dataset: str) -> Job:
    """Collects the data of a world.

    Args:
        place: Where everything is kept.
        name: The world.
        data: How the data are collected.
        dataset: Name of the dataset.
    """
    path = place.dataset(dataset)

    def do(device: torch.device, on_share: OnShare) -> Result:
        here = world(name).drawn(data.detail)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _episodes(path) is None:
            log.warning("%s: damaged; it is kept as %s.damaged, and collected again", path, path.name)
            path.replace(path.with_name(f"{path.name}.damaged"))
        report = collect(
            here,
            path,
            data.episodes,
            policy=data.policy or here.default_policy,
            noise=here.default_noise if data.noise is None else data.noise,
            repeat=data.repeat,
            vary=data.vary,
            max_steps=data.max_steps,
            frame_size=data.frame_size,
            seed=data.seed,
            workers=None,
            mode="append",  # goes on where a collection was interrupted
            commit=commit(),
            on_progress=lambda progress: on_share(progress.episodes / progress.total),
        )
        return {"episodes": report.episodes, "frames": report.frames}

    title = f"collecting {data.episodes} episodes of {name}"
    return Job(f"collect-{dataset}", title, (), do, lambda result: _episodes(path) == result["episodes"])


def training(place: Place, run: Trained, data: Path, needs: tuple[str, ...]) -> Job:
    """Trains a run on a dataset."""
    out = place.run(run.name)

    def do(device: torch.device, on_share: OnShare) -> Result:
        def on_progress(progress: Progress) -> None:
            on_share(progress.step / progress.steps)

        resume = (out / CONFIG).exists()
        return {"steps": train(run.config, data, out, device, resume, on_progress=on_progress).steps}

    return Job(f"train-{_key(run)}", f"training {run.name}", needs, do, lambda result: (out / MODEL).is_file())


def learning(
    place: Place,
    run: Trained | Given,
    kind: PolicyKind | None,
    data: Path,
    needs: tuple[str, ...],
    encode: LastEncoded | None = None,
) -> Job:
    """Learns a policy of some kind, or the head, on the latents of a run.

    A run that was there before may have one, which its owner has trained: that is used.

    Args:
        place: Where everything is kept.
        run: The run.
        kind: The kind of policy; None for the head.
        data: The dataset of runs that are trained here.
        needs: The names of the jobs before it.
        encode: Gives the latents; jobs that share it encode a run's episodes once.
    """
    path, what = run_path(place, run), kind or "head"
    file = path / file_of(kind)

    def do(device: torch.device, on_share: OnShare) -> Result:
        taken = None
        if isinstance(run, Given) and is_given(path, kind):
            log.warning("%s: is there, and used as it is", file)
        else:
            taken = learn(path, kind, own_data(run, data), run.config.training.seed, device, on_share, encode)
        return {WEIGHTS: weights(path), DIGESTS: {file.name: digest_of(file)}, SECONDS: taken}

    def is_there(result: Result) -> bool:
        now = {file.name: digest_of(file)}
        return file.is_file() and weights(path) == result[WEIGHTS] and now == result[DIGESTS]

    return Job(f"learn-{what}-{_key(run)}", f"learning {what} on {run.name}", needs, do, is_there)


def planning(place: Place, cell: Cell, tasks: Tasks, data: Path, needs: tuple[str, ...]) -> Job:
    """Plans towards the tasks with a run."""
    path = run_path(place, cell.run)

    def do(device: torch.device, on_share: OnShare) -> Result:
        request = PlanRequest(
            run=path,
            tasks=FromDataset(
                own_data(cell.run, data), tasks.protocol, tasks.count, evaluation(tasks, cell.run.config)
            ),
            planning=cell.planning,
            seed=cell.seed + tasks.seed,
            chosen=cell.chosen,
        )
        used = digests(place, cell)  # before they are read: what is put in their place meanwhile is then noticed
        report, written = evaluate_run(request, device, on_progress=lambda share, _: on_share(share))
        return {"report": place.relative(written), WEIGHTS: report.checkpoint_sha256, DIGESTS: used}

    def is_there(result: Result) -> bool:
        is_of_now = weights(path) == result[WEIGHTS] and digests(place, cell) == result[DIGESTS]
        return is_of_now and (place.root / result["report"]).is_file()

    title = f"planning in {cell.run.world}, {cell.said}, seed {cell.seed}"
    return Job(planning_name(cell, tasks), title, needs, do, is_there)


def planning_name(cell: Cell, tasks: Tasks) -> str:
    """The name of the job that makes the plans of a cell."""
    settings = cell.planning.model_dump(mode="json", by_alias=True)
    return f"plan-{_key(cell.run)}-{digest([settings, sorted(cell.chosen), tasks.model_dump(mode='json')])}"


def evaluation(tasks: Tasks, config: Config) -> Evaluation:
    """Where goals lie, and the budget: those of the run's configuration unless the specification has others."""
    usual = config.evaluation
    return Evaluation(
        goal_offset=usual.goal_offset if tasks.goal_offset is None else tasks.goal_offset,
        budget=usual.budget if tasks.budget is None else tasks.budget,
    )


def run_path(place: Place, run: Trained | Given) -> Path:
    """The folder of a run."""
    return run.path if isinstance(run, Given) else place.run(run.name)


def seconds_of_training(run: Path) -> float | None:
    """What the steps of a run's trainings took, its stages included; None where it does not tell, as when imported."""
    if not (run / METRICS).is_file():
        return None
    return sum(seconds(path) for path in (run / METRICS, *run.glob(f"{STAGES}/*/{METRICS}")))


def weights(run: Path) -> str | None:
    """Digest of the weights that a run has now; None where it has none."""
    return digest_of(run / MODEL)


def digests(place: Place, cell: Cell) -> dict[str, str | None]:
    """Digests of the policies and of the head that a cell's plans use, beside the weights."""
    run = run_path(place, cell.run)
    files = [run / file_of(kind) for kind in needed(cell.planning)]
    return {path.name: digest_of(path) for path in (*files, *_head_elsewhere(cell.planning))}


def digest_of(path: Path) -> str | None:
    """Digest of a file as it is now; None where there is none."""
    if not path.is_file():
        return None
    about = path.stat()
    return _digest(path, about.st_mtime_ns, about.st_size)


@cache
def _digest(path: Path, time: int, size: int) -> str:
    return sha256(path)


def _head_elsewhere(planning: Planning) -> tuple[Path, ...]:
    """The file of a head that settings name; a run's own head has no path."""
    cost = planning.cost
    return (Path(cost.path),) if isinstance(cost, HeadCost) and cost.path is not None else ()


def own_data(run: Trained | Given, data: Path) -> Path | None:
    """Where the data of a run are; a run that was there before knows that itself."""
    return None if isinstance(run, Given) else data


def _episodes(path: Path) -> int | None:
    """Episodes of a dataset; None where it cannot be read, or a sample of its rows is not what was written."""
    try:
        with Dataset.open(path) as dataset:
            dataset.check_sample()
            return dataset.num_episodes
    except DataError:
        return None


def _key(run: Trained | Given) -> str:
    return run.name.replace("/", "-")
