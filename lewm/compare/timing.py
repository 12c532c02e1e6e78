"""What a decision takes: all methods of a world in one process, in turns, from the same frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from lewm.compare.cells import Cell, digest
from lewm.compare.jobs import DIGESTS, SECONDS, Job, OnShare, Result, digests, evaluation, own_data, run_path, weights
from lewm.compare.records import FAILED, Place, Record
from lewm.compare.spec import Tasks
from lewm.evaluation.acting import by_protocol, controller_of
from lewm.evaluation.command import PLANNING_NEEDS
from lewm.opened_run import Run, open_run
from lewm.planning.replanner import Replanner
from lewm.run_worlds import world_to_act_in
from lewm.runtime import clock

log = logging.getLogger(__name__)

ROUNDS = 10  # with each seed; each round has all methods


def timing(place: Place, cells: Sequence[Cell], plans: Sequence[Job], tasks: Tasks, data: Path) -> Job:
    """Times a decision of each method with the runs of one seed, of those that have planned.

    A method that cannot be timed is named in the record, and the others are timed without it.

    Args:
        place: Where everything is kept.
        cells: A cell of each method, the reference first.
        plans: The jobs that plan with them: the record tells the seconds by their names.
        tasks: Where goals are.
        data: The dataset of the runs that are trained here.
    """
    first = cells[0]

    def there() -> dict[str, Cell]:
        return {job.name: cell for cell, job in zip(cells, plans, strict=True) if _is_made(place, job)}

    def do(device: torch.device, on_share: OnShare) -> Result:
        chosen = there()
        used = _used(place, chosen)  # before they are read: what is put in their place meanwhile is then noticed
        seconds: dict[str, list[float]] = {name: [] for name in chosen}
        failed: dict[str, str] = {}
        decide: dict[str, Callable[[], float]] = {}
        for number in range((ROUNDS + 1) * bool(chosen)):
            begin = number % len(chosen)  # each round begins with another method
            names = [*chosen]
            for name in (*names[begin:], *names[:begin]):
                try:
                    if number == 0:  # this round compiles, packs weights and fills caches
                        decide[name] = _decision(place, chosen[name], tasks, data, device)
                        decide[name]()
                    elif name not in failed:
                        seconds[name].append(decide[name]())
                except Exception as error:
                    failed[name] = Record.of_error(error, 0.0, place.root, {}).problem
                    log.warning("%s: cannot be timed: %s", chosen[name].said, failed[name])
            on_share((number + 1) / (ROUNDS + 1))
        timed = {name: taken for name, taken in seconds.items() if name not in failed}
        return {SECONDS: timed, FAILED: failed, DIGESTS: used, **conditions(device)}

    def is_there(result: Result) -> bool:
        return result[DIGESTS] == _used(place, there())

    title = f"timing a plan of {len(cells)} methods in {first.run.world}, seed {first.seed}"
    name = f"time-{first.run.world}-{first.seed}-{digest([job.name for job in plans])}"
    return Job(name, title, (), do, is_there)


def conditions(device: torch.device) -> Result:
    """What times depend on beside the methods, as their records tell it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "threads": torch.get_num_threads()}


def stale(place: Place, jobs: Collection[str], device: torch.device) -> list[str]:
    """The jobs whose times are of another device, or of another number of threads, than this process would use."""
    now = conditions(device)
    found = {name: record.result for name in jobs if (record := place.read(name)) is not None}
    return [name for name, result in found.items() if result is not None and {**result, **now} != result]


def _is_made(place: Place, job: Job) -> bool:
    record = place.read(job.name)
    return record is not None and record.result is not None and job.is_made(record.result)


def _used(place: Place, cells: Mapping[str, Cell]) -> dict[str, Any]:
    return {name: [weights(run_path(place, cell.run)), digests(place, cell)] for name, cell in cells.items()}


def timed(cell: Cell) -> bool:
    """Whether a cell makes decisions that can be timed: random actions and the demonstrator are no plans."""
    return cell.planning.plans


def _frames(
    run: Run, data: Path | None, offset: int
) -> tuple[UInt8[np.ndarray, "1 Y X 3"], UInt8[np.ndarray, "1 Y X 3"]]:
    """A start and a goal so many steps later, from the longest episode that training held out."""
    with run.data(data) as opened:
        dataset = opened.dataset
        longest = max(opened.unseen.tolist(), key=lambda episode: int(dataset.lengths[episode]))
        first = int(dataset.offsets[longest])
        start, goal = dataset.frames(np.array([first, first + min(offset, int(dataset.lengths[longest]) - 1)]))
    return start[None], goal[None]


def _decision(place: Place, cell: Cell, tasks: Tasks, data: Path, device: torch.device) -> Callable[[], float]:
    """A function that decides once, for one environment, and returns the seconds that this took."""
    run = open_run(run_path(place, cell.run), device)
    start, goal = _frames(run, own_data(cell.run, data), evaluation(tasks, cell.run.config).goal_offset)
    planning = by_protocol(cell.planning, tasks.protocol, cell.chosen)
    controller = controller_of(run, world_to_act_in(run, PLANNING_NEEDS), planning, cell.seed)
    controller.prepare()
    goals, one = controller.embed(goal), np.arange(1)

    def decide() -> float:
        replanner = Replanner(controller, goals, one)
        begun = clock(device)
        replanner.act(controller.embed(start), one)
        return clock(device) - begun

    return decide
