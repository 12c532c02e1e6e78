"""What `lewm plan` asks for: a run, tasks, and how to plan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lewm.config import Evaluation, Planning


@dataclass(frozen=True)
class FromDataset:
    """Tasks from the episodes of a dataset.

    Attributes:
        data: The dataset; the run's own when None.
        protocol: One of `PROTOCOLS`; None for the strictest that can be kept, see `tasks_for`.
        episodes: Number of tasks.
        evaluation: Where goals lie, and the budget.
    """

    data: Path | None
    protocol: str | None
    episodes: int
    evaluation: Evaluation


@dataclass(frozen=True)
class FromEnv:
    """Tasks that the environment gives.

    Attributes:
        episodes: Number of tasks.
        evaluation: The budget, and where goals lie if the environment has no goals of its own.
        goal: A picture to be reached in place of these goals.
    """

    episodes: int
    evaluation: Evaluation
    goal: Path | None = None


@dataclass(frozen=True)
class FromFile:
    """Tasks that `save_tasks` has written, or that a manifest of CLEAR-LeWM lists.

    Attributes:
        path: The file.
        data: The dataset that a manifest is of; the run's own when None. Other files of tasks need none.
    """

    path: Path
    data: Path | None = None


@dataclass(frozen=True)
class PlanRequest:
    """What `lewm plan` asks for.

    Attributes:
        run: A run directory.
        tasks: Where the tasks are from.
        planning: How to plan.
        chosen: The keys of `planning` that the user has set. What is not among them is as published for tasks of the
            protocol "paper": see `recipes.PUBLISHED`.
        seed: Seed of the plans, of the random actions and of the choice of tasks.
        batch: Episodes that run together; as many as memory holds when None, and at most `command.SIMULATORS` where
            each has a simulator of its own. Plans are made for as many of them at a time as the device's memory holds.
        video: "mp4" or "gif" to film every episode.
        imagine: Show in the films what the plans expect; needs the run's decoder.
        save_tasks: File to write the tasks to, before the first is tried.
        clear_form: Write `save_tasks` as a manifest of CLEAR-LeWM.
        clear_results: File to write the outcomes to in CLEAR-LeWM's form. The tasks are then those of a manifest, which
            is given or written. Every episode goes on to the end of its budget, so that strict rules can be applied.
    """

    run: Path
    tasks: FromDataset | FromEnv | FromFile
    planning: Planning
    seed: int
    chosen: Collection[str] = ()
    batch: int | None = None
    video: str | None = None
    imagine: bool = False
    save_tasks: Path | None = None
    clear_form: bool = False
    clear_results: Path | None = None
