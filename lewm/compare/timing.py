"""What a decision takes: all methods of a world in one process, in turns, from the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from lewm.compare.cells import Cell, digest
from lewm.compare.jobs import SECONDS, Job, OnShare, Result, evaluation, run_path
from lewm.compare.learnt import controller_of
from lewm.compare.records import Place
from lewm.compare.spec import Tasks
from lewm.evaluation.tasks import PAPER
from lewm.opened_run import open_run
from lewm.planning.replanner import Replanner
from lewm.recipes import PUBLISHED
from lewm.runtime import clock

ROUNDS = 10  # with each seed; each round has all methods
SHARED = "timing"  # the name under which processes lock the machine


def timing(place: Place, cells: Sequence[Cell], names: Sequence[str], tasks: Tasks) -> Job:
    """Times a decision of each method with the runs of one seed.

    Args:
        place: Where everything is kept.
        cells: A cell of each method, the reference first.
        names: The names of the jobs that planned with them: the record tells the seconds by these.
        tasks: Where goals are.
    """
    first = cells[0]

    def do(device: torch.device, on_share: OnShare) -> Result:
        frames = _frames(run_path(place, first.run), evaluation(tasks, first.run.config).goal_offset)
        decide = [_decision(place, cell, tasks.protocol == PAPER, *frames, device) for cell in cells]
        seconds: list[list[float]] = [[] for _ in decide]
        for number in range(ROUNDS + 1):
            begin = number % len(decide)  # each round begins with another method
            turns = [*zip(decide, seconds, strict=True)]
            for one, taken in (*turns[begin:], *turns[:begin]):
                elapsed = one()
                if number:  # the first round compiles, packs weights and fills caches
                    taken.append(elapsed)
            on_share((number + 1) / (ROUNDS + 1))
        return {SECONDS: dict(zip(names, seconds, strict=True)), "threads": torch.get_num_threads()}

    title = f"timing a plan of {len(cells)} methods in {first.run.world}, seed {first.seed}"
    return Job(f"time-{first.run.world}-{first.seed}-{digest(list(names))}", title, (), do, lambda result: True)


def timed(cell: Cell) -> bool:
    """Whether a cell makes decisions that can be timed: random actions and the demonstrator are no plans."""
    return cell.planning.plans


def _frames(run: Path, offset: int) -> tuple[UInt8[np.ndarray, "1 Y X 3"], UInt8[np.ndarray, "1 Y X 3"]]:
    """A start and a goal so many steps later, from the longest episode that training held out."""
    with open_run(run).data() as data:
        dataset = data.dataset
        longest = max(data.unseen.tolist(), key=lambda episode: int(dataset.lengths[episode]))
        first = int(dataset.offsets[longest])
        start, goal = dataset.frames(np.array([first, first + min(offset, int(dataset.lengths[longest]) - 1)]))
    return start[None], goal[None]


def _decision(
    place: Place,
    cell: Cell,
    as_published: bool,
    start: UInt8[np.ndarray, "1 Y X 3"],
    goal: UInt8[np.ndarray, "1 Y X 3"],
    device: torch.device,
) -> Callable[[], float]:
    """A function that decides once, for one environment, and returns the seconds that this took."""
    published = {key: value for key, value in PUBLISHED.items() if as_published and key not in cell.chosen}
    run = open_run(run_path(place, cell.run), device)
    controller = controller_of(run, cell.planning.model_copy(update=published), cell.seed)
    controller.prepare()
    goals, one = controller.embed(goal), np.arange(1)

    def decide() -> float:
        replanner = Replanner(controller, goals, one)
        begun = clock(device)
        replanner.act(controller.embed(start), one)
        return clock(device) - begun

    return decide
