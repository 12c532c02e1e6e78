"""From a run directory to a success rate that can be trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm.belongs import check_belongs
from lewm.checkpoints import load, run
from lewm.config import Evaluation, Planning
from lewm.decoding.store import load_decoder
from lewm.errors import LewmError
from lewm.evaluation.film import film_writer
from lewm.evaluation.run import EvalReport, OnProgress, Success, evaluate, random_floor
from lewm.evaluation.tasks import draw_tasks
from lewm.files import report_path, sha256, write_text
from lewm.planning.controller import Controller
from lewm.provenance import versions
from lewm.runtime import physical_memory
from lewm_data.clips import split_episodes
from lewm_data.envs.registry import world
from lewm_data.store import Dataset

MEMORY_SHARE = 8  # the frames of all steps of a batch of episodes, which films keep, may take an eighth of the memory


@dataclass(frozen=True)
class PlanRequest:
    """What `lewm plan` asks for.

    Attributes:
        run: A run directory.
        data: Dataset the tasks come from; the run's own when None.
        episodes: Number of tasks.
        batch: Episodes that run together; as many as memory holds when None. Plans are made for as many of them at a
            time as the device's memory holds.
        video: "mp4" or "gif" to film every episode.
        imagine: Show in the films what the plans expect; needs the run's decoder.
    """

    run: Path
    data: Path | None
    planning: Planning
    evaluation: Evaluation
    protocol: str
    episodes: int
    seed: int
    batch: int | None = None
    video: str | None = None
    imagine: bool = False


def evaluate_run(
    request: PlanRequest, device: torch.device, on_progress: OnProgress = lambda share, solved: None
) -> tuple[EvalReport, Path]:
    """Plan towards goals from a dataset and report success; the report is also written into the run.

    Returns:
        The report, and the JSON file it was written to. Videos lie beside it in a folder of the same name.

    Raises:
        LewmError: the run, its dataset or the decoder to imagine with is missing, or they do not belong together; the
            device does not have the precision, or its memory is too small for a single plan.
    """
    config, trained_on = run.read_config(request.run)
    controller = Controller(load(request.run).to(device), request.planning, request.seed)
    decode = load_decoder(request.run, device).frames if request.imagine else None
    place = world(config.env)
    with Dataset.open(request.data or Path(trained_on.path)) as dataset:
        check_belongs(dataset, config, trained_on)
        if request.protocol == "held-out" and dataset.fingerprint() != trained_on.fingerprint:
            raise LewmError(
                f"{dataset.path}: not the data that {request.run} was trained on, so what it held out is not known",
                "Give --data the dataset as it was in training, or use --protocol paper.",
            )
        _, held_out = split_episodes(dataset.num_episodes, config.training.held_out, config.training.seed)
        tasks = draw_tasks(
            dataset,
            place,
            request.protocol,
            held_out,
            request.episodes,
            request.evaluation.goal_offset,
            request.evaluation.budget,
            request.seed,
        )
    batch = request.batch or fitting_batch(trained_on.frame_size[0], tasks.budget)
    out = report_path(request.run, "plan")
    on_film = film_writer(out.with_suffix(""), request.video) if request.video else None
    solved, seconds = evaluate(controller, place, tasks, trained_on.frame_size[0], batch, on_film, on_progress, decode)
    success = Success.of(solved)
    report = EvalReport(
        success_rate=success.success_rate,
        successes=success.successes,
        episodes=success.episodes,
        interval_95=success.interval_95,
        random=Success.of(random_floor(place, tasks, request.seed)),
        protocol=tasks.protocol,
        goal_offset=tasks.goal_offset,
        budget=tasks.budget,
        discarded_solved=tasks.discarded_solved,
        tasks_sha256=tasks.sha256(),
        seconds_per_plan=seconds,
        planner={"name": "cem", "seed": request.seed, "batch": batch, **request.planning.model_dump()},
        checkpoint_sha256=sha256(request.run / run.MODEL),
        versions=versions(),
    )
    write_text(out, json.dumps(report.as_dict(), indent=2) + "\n")
    return report, out


def fitting_batch(frame_size: int, budget: int) -> int:
    """How many episodes of `budget` steps can run together with all their frames kept."""
    one = 3 * frame_size**2 * (budget + 1)  # bytes
    return max(1, physical_memory(torch.device("cpu")) // MEMORY_SHARE // one)
