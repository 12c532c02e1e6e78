"""The work of `lewm plan`: measures the success rate of a run so that it can be trusted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lewm.decoding.decoder_file import load_decoder
from lewm.errors import LewmError
from lewm.evaluation.acting import (
    acting,
    by_protocol,
    controller_of,
    how_planned,
    warn_of_short_budget,
    warn_of_short_plans,
)
from lewm.evaluation.actors import EXPERT, check_expert, random_floor, run_actor
from lewm.evaluation.agents import OnProgress, Seconds, run_planner
from lewm.evaluation.choice import named_protocol, tasks_for
from lewm.evaluation.clear.manifest import Manifest
from lewm.evaluation.clear.pairs import write_manifest
from lewm.evaluation.clear.results import manifest_to_score, write_results
from lewm.evaluation.episodes import Played
from lewm.evaluation.film import film_writer
from lewm.evaluation.manifest import write_tasks
from lewm.evaluation.report import EvalReport, Success, TaskOutcome
from lewm.evaluation.requests import FromEnv, FromFile, PlanRequest
from lewm.evaluation.tasks import Tasks
from lewm.evaluation.verdicts import with_kept_verdict
from lewm.files import check_output, sha256
from lewm.heads.files import head_digest, policy_file
from lewm.opened_run import Run, open_run
from lewm.planning.controller import Controller
from lewm.planning.solver import OnCompile
from lewm.provenance import versions
from lewm.report_files import Beside, keeping, new_report
from lewm.run_worlds import world_to_act_in
from lewm.runtime import physical_memory
from lewm_data.envs.judgement import OnShare, unheard
from lewm_data.envs.world import World
from lewm_data.seeds import check_seed

MEMORY_SHARE = 8  # films keep the frames of all steps of a batch of episodes: these may take an eighth of the memory
PLANNING_NEEDS = (
    'Planning needs a simulator: train with the --env of a world that has one, see "lewm envs". '
    "To plan on a robot, write a program of your own that asks the model what to do."
)
SIMULATORS = 50  # the most at a time in worlds whose simulators are slow and large, for which collection has workers


def evaluate_run(
    request: PlanRequest,
    device: torch.device,
    on_progress: OnProgress = lambda share, solved: None,
    on_compile: OnCompile = lambda compiled, total: None,
    on_trial: OnShare = unheard,
) -> tuple[EvalReport, Path]:
    """Plan towards goals and report success; the report is also written into the run.

    Args:
        on_progress: Called whenever the planner says how far it is.
        on_compile: Called after each kernel that was compiled, on CUDA devices.
        on_trial: Is told which share is done of a trial that shows whether the world's states tell success.

    Returns:
        The report, and the JSON file it was written to. Videos lie beside it in a folder of the same name.

    Raises:
        DataError: the seed does not fit in 64 bits.
        LewmError: the run, its tasks or the decoder, head or policy that is asked for is missing, or they do not belong
            together; the run's world has no simulator; the device does not have the precision, or its memory is too
            small for a single plan; nothing can be written where the report, the tasks or the films belong, or that is
            the file that the tasks are read from.
        NotKeptError: the result is there, but it could not be written.
    """
    check_seed(request.seed)
    _check_files(request)
    run = open_run(request.run, device)
    place = with_kept_verdict(world_to_act_in(run, PLANNING_NEEDS), on_trial)
    with new_report(run.path, "plan") as out:
        return _evaluate(request, run, place, out, on_progress, on_compile), out


def _check_files(request: PlanRequest) -> None:
    """Raises unless the files that are written can be, and none of them is in the place of another or of the tasks."""
    options: dict[str, str] = {}  # by the file that each names
    if isinstance(request.tasks, FromFile):
        options[os.path.realpath(request.tasks.path)] = "--tasks"
    for option, path in (("--save-tasks", request.save_tasks), ("--clear-results", request.clear_results)):
        if path is None:
            continue
        other = options.setdefault(os.path.realpath(path), option)
        if other != option:
            raise LewmError(f"{path}: is the file of {other} too", f"Name another file with {option}.")
        check_output(path, f"Give {option} the name of a file in a folder that you can write to.")


def _evaluate(
    request: PlanRequest,
    run: Run,
    place: World,
    out: Path,
    on_progress: OnProgress,
    on_compile: OnCompile,
) -> EvalReport:
    films = Beside(film_writer(out.with_suffix(""), request.video)) if request.video else None
    frame_size = run.trained_on.frame_size[0]
    planning = request.planning
    controller = controller_of(run, place, planning, request.seed, on_compile)
    controller.prepare()  # finds the faults of the settings before tasks are drawn
    if planning.agent == EXPERT:
        check_expert(place, isinstance(request.tasks, FromEnv) and request.tasks.goal is not None)
    decode = load_decoder(run.path, run.device).frames if request.imagine else None
    tasks = tasks_for(request, run, place)
    controller = replace(controller, planning=by_protocol(controller.planning, tasks.protocol, request.chosen))
    if planning.plans:
        controller = replace(controller, planning=acting(controller, tasks, "horizon" in request.chosen))
        warn_of_short_plans(controller, tasks)
    warn_of_short_budget(tasks)
    manifest = _manifest_of(request, run, tasks)
    batch = request.batch or fitting_batch(place, frame_size, tasks.budget)
    to_the_end = manifest is not None
    where = (controller, place, tasks, frame_size, batch)
    if planning.plans:
        played, seconds = run_planner(*where, films, on_progress, decode, to_the_end)
    else:
        played, seconds = run_actor(planning.agent, *where, films, on_progress, to_the_end)
    floor = None if planning.agent == "random" else random_floor(*where, to_the_end)
    report = _report(request, run, controller, tasks, batch, played, floor, seconds)
    with keeping(out, report):
        if films is not None:
            films.check()
        if manifest is not None and request.clear_results is not None:
            write_results(request.clear_results, manifest, tasks, run.path, report, played, floor or played)
    return report


def _manifest_of(request: PlanRequest, run: Run, tasks: Tasks) -> Manifest | None:
    """Writes the tasks, where that is asked for; gives the manifest whose pairs are to be scored, if any are."""
    if request.save_tasks and request.clear_form:
        with run.data(None if isinstance(request.tasks, FromEnv) else request.tasks.data) as data:
            unseen = data.unseen if data.known_unseen else np.arange(0)
            share = run.config.training.held_out
            write_manifest(request.save_tasks, tasks, data.dataset, request.seed, share, unseen)
    elif request.save_tasks:
        write_tasks(request.save_tasks, tasks)
    if request.clear_results is None:
        return None
    given = request.tasks.path if isinstance(request.tasks, FromFile) else None
    return manifest_to_score(request.save_tasks if request.clear_form else given)


def _report(
    request: PlanRequest,
    run: Run,
    controller: Controller,
    tasks: Tasks,
    batch: int,
    played: Played,
    floor: Played | None,
    seconds: Seconds,
) -> EvalReport:
    success, kind = Success.of(played), request.planning.policy
    return EvalReport(
        success_rate=success.success_rate,
        successes=success.successes,
        episodes=success.episodes,
        interval_95=success.interval_95,
        latent_distance=success.latent_distance,
        random=None if floor is None else Success.of(floor),
        success=tasks.judgement.said,
        protocol=named_protocol(request, run, tasks),
        goal_offset=tasks.goal_offset,
        budget=tasks.budget,
        discarded_solved=tasks.discarded_solved,
        discarded_ended=tasks.discarded_ended,
        tasks_sha256=tasks.sha256(),
        tasks=TaskOutcome.each(tasks, played, floor),
        seconds_per_plan=seconds.per_plan,
        seconds_preparing=seconds.preparing,
        planner={"seed": request.seed, "batch": batch, **how_planned(controller, run.config)},
        checkpoint_sha256=run.checkpoint_sha256,
        head_sha256=head_digest(controller.planning),
        policy_sha256=None if kind is None else sha256(run.path / policy_file(kind)),
        versions=versions(),
    )


def fitting_batch(place: World, frame_size: int, budget: int) -> int:
    """How many episodes of `budget` steps can run together with all their frames kept."""
    one = 3 * frame_size**2 * (budget + 1)  # bytes
    fits = max(1, physical_memory(torch.device("cpu")) // MEMORY_SHARE // one)
    return min(fits, SIMULATORS) if place.workers else fits
