"""From a run directory to a success rate that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from lewm.belongs import check_belongs
from lewm.checkpoints import load, run
from lewm.checkpoints.run import DatasetIdentity
from lewm.config import Config, Evaluation, Planning
from lewm.decoding.store import load_decoder
from lewm.errors import LewmError
from lewm.evaluation.film import film_writer
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.from_env import draw_from_env, read_goal
from lewm.evaluation.manifest import read_tasks, write_tasks
from lewm.evaluation.report import EvalReport, Success, TaskOutcome
from lewm.evaluation.run import OnProgress, evaluate, random_floor
from lewm.evaluation.tasks import Tasks
from lewm.files import check_output, sha256
from lewm.planning.controller import Controller
from lewm.planning.solver import OnCompile
from lewm.provenance import versions
from lewm.reports import Beside, keeping, new_report
from lewm.runtime import physical_memory
from lewm_data.clips import split_episodes
from lewm_data.envs.registry import world
from lewm_data.envs.world import World
from lewm_data.store import Dataset

MEMORY_SHARE = 8  # the frames of all steps of a batch of episodes, which films keep, may take an eighth of the memory
SIMULATORS = 50  # at a time at most, in worlds where each is slow and large: those that collection has workers for


@dataclass(frozen=True)
class FromDataset:
    """Tasks from the episodes of a dataset.

    Attributes:
        data: The dataset; the run's own when None.
        protocol: One of `PROTOCOLS`.
        episodes: Number of tasks.
        evaluation: Where goals lie, and the budget.
    """

    data: Path | None
    protocol: str
    episodes: int
    evaluation: Evaluation


@dataclass(frozen=True)
class FromEnv:
    """Tasks that the environment gives.

    Attributes:
        episodes: Number of tasks.
        evaluation: The budget, and where goals lie if the environment has none of its own.
        goal: A picture to be reached instead.
    """

    episodes: int
    evaluation: Evaluation
    goal: Path | None = None


@dataclass(frozen=True)
class FromFile:
    """Tasks that `save_tasks` has written."""

    path: Path


@dataclass(frozen=True)
class PlanRequest:
    """What `lewm plan` asks for.

    Attributes:
        run: A run directory.
        tasks: Where the tasks are from.
        seed: Of the plans, of the random actions, and of which tasks are drawn.
        batch: Episodes that run together; as many as memory holds when None, and at most `SIMULATORS` where each has a
            simulator of its own. Plans are made for as many of them at a time as the device's memory holds.
        video: "mp4" or "gif" to film every episode.
        imagine: Show in the films what the plans expect; needs the run's decoder.
        save_tasks: File to write the tasks to, before the first is tried.
    """

    run: Path
    tasks: FromDataset | FromEnv | FromFile
    planning: Planning
    seed: int
    batch: int | None = None
    video: str | None = None
    imagine: bool = False
    save_tasks: Path | None = None


def evaluate_run(
    request: PlanRequest,
    device: torch.device,
    on_progress: OnProgress = lambda share, solved: None,
    on_compile: OnCompile = lambda compiled, total: None,
) -> tuple[EvalReport, Path]:
    """Plan towards goals and report success; the report is also written into the run.

    Args:
        on_progress: Called whenever the planner says how far it is.
        on_compile: Called after each kernel that was compiled, on CUDA devices.

    Returns:
        The report, and the JSON file it was written to. Videos lie beside it in a folder of the same name.

    Raises:
        LewmError: the run, its tasks or the decoder to imagine with is missing, or they do not belong together; the
            device does not have the precision, or its memory is too small for a single plan; nothing can be written
            where the report, the tasks or the films belong.
        NotKeptError: the result is there, but it could not be written.
    """
    config, trained_on = run.read_config(request.run)
    if request.save_tasks:
        check_output(request.save_tasks, "Give --save-tasks the name of a file in a folder that you can write to.")
    with new_report(request.run, "plan") as out:
        return _evaluate(request, config, trained_on, device, out, on_progress, on_compile), out


def _evaluate(
    request: PlanRequest,
    config: Config,
    trained_on: DatasetIdentity,
    device: torch.device,
    out: Path,
    on_progress: OnProgress,
    on_compile: OnCompile,
) -> EvalReport:
    films = Beside(film_writer(out.with_suffix(""), request.video)) if request.video else None
    place = world(config.env)
    frame_size = trained_on.frame_size[0]
    model = load(request.run).to(device)
    controller = Controller(model, request.planning, request.seed, place.action_groups, on_compile)
    decode = load_decoder(request.run, device).frames if request.imagine else None
    tasks = _tasks(request, config, trained_on, place)
    if request.save_tasks:
        write_tasks(request.save_tasks, tasks)
    batch = request.batch or fitting_batch(place, frame_size, tasks.budget)
    played, seconds = evaluate(controller, place, tasks, frame_size, batch, films, on_progress, decode)
    floor = random_floor(controller, place, tasks, frame_size, batch)
    success = Success.of(played)
    report = EvalReport(
        success_rate=success.success_rate,
        successes=success.successes,
        episodes=success.episodes,
        interval_95=success.interval_95,
        latent_distance=success.latent_distance,
        random=Success.of(floor),
        protocol=tasks.protocol,
        goal_offset=tasks.goal_offset,
        budget=tasks.budget,
        discarded_solved=tasks.discarded_solved,
        discarded_ended=tasks.discarded_ended,
        tasks_sha256=tasks.sha256(),
        tasks=TaskOutcome.each(tasks, played, floor),
        seconds_per_plan=seconds.per_plan,
        seconds_preparing=seconds.preparing,
        planner={
            "name": "cem" if place.action_groups is None else "categorical cem",
            "seed": request.seed,
            "batch": batch,
            **request.planning.model_dump(),
            "precision": controller.precision.name,
            "precision_reason": controller.precision.reason,
        },
        checkpoint_sha256=sha256(request.run / run.MODEL),
        versions=versions(),
    )
    with keeping(out, report):
        if films is not None:
            films.check()
    return report


def _tasks(request: PlanRequest, config: Config, trained_on: DatasetIdentity, place: World) -> Tasks:
    wanted = request.tasks
    if isinstance(wanted, FromFile):
        return read_tasks(wanted.path, place)
    goal_offset, budget = wanted.evaluation.goal_offset, wanted.evaluation.budget
    if isinstance(wanted, FromEnv):
        picture = read_goal(wanted.goal, trained_on.frame_size[0]) if wanted.goal else None
        return draw_from_env(place, wanted.episodes, goal_offset, budget, request.seed, picture)
    with Dataset.open(wanted.data or Path(trained_on.path)) as dataset:
        check_belongs(dataset, config, trained_on)
        if wanted.protocol == "held-out" and dataset.fingerprint() != trained_on.fingerprint:
            raise LewmError(
                f"{dataset.path}: not the data that {request.run} was trained on, so what it held out is not known",
                "Give --data the dataset as it was in training, or use --protocol paper.",
            )
        _, held_out = split_episodes(dataset.num_episodes, config.training.held_out, config.training.seed)
        return draw_tasks(dataset, place, wanted.protocol, held_out, wanted.episodes, goal_offset, budget, request.seed)


def fitting_batch(place: World, frame_size: int, budget: int) -> int:
    """How many episodes of `budget` steps can run together with all their frames kept."""
    one = 3 * frame_size**2 * (budget + 1)  # bytes
    fits = max(1, physical_memory(torch.device("cpu")) // MEMORY_SHARE // one)
    return min(fits, SIMULATORS) if place.workers else fits
