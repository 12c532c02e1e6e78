"""What is there of a comparison: reports of plans, runs, and the times of decisions.

T tasks of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lewm.checkpoints.run import METRICS
from lewm.compare.cells import Cell
from lewm.compare.expansion import Work, WorldTables
from lewm.compare.jobs import SECONDS, Job, run_path, seconds_of_training
from lewm.compare.records import Place
from lewm.compare.result import CurvePoint
from lewm.compare.timing import timed, timing
from lewm.compare.work import States
from lewm.errors import LewmError
from lewm.report_files import read_report
from lewm.training.embeddings import FILE as EMBEDDINGS
from lewm.training.health import collapsed_from
from lewm.training.metrics import read_metrics


@dataclass(frozen=True)
class Plans:
    """What is there of a cell's plans.

    Attributes:
        missing: What is not there, or failed; empty where all is there.
        report: The report of `lewm plan`.
        path: Its file, from the folder of all comparisons.
    """

    missing: str
    report: Mapping[str, Any] | None = None
    path: str | None = None

    @property
    def solved(self) -> Bool[np.ndarray, " T"] | None:
        """Which tasks were solved; None where that is not known."""
        if self.report is None or self.report["successes"] is None:
            return None
        return np.array([task["planner"]["solved"] for task in self.report["tasks"]], dtype=bool)


@dataclass(frozen=True)
class Training:
    """What is there of a cell's run.

    Attributes:
        path: The run, from the folder of all comparisons; None where it is not there.
        seconds: What its trainings took, with what was learnt on its latents for this cell.
        embeddings: The statistics of its embeddings.
        curve: The spread of its latents over the training.
        collapsed_at: The first step from which on they stayed collapsed.
    """

    path: str | None = None
    seconds: float | None = None
    embeddings: dict[str, Any] | None = None
    curve: tuple[CurvePoint, ...] = ()
    collapsed_at: int | None = None


class Found:
    """Looks at what some work has made; each file is read once.

    Args:
        place: Where everything is kept.
        work: The work.
    """

    def __init__(self, place: Place, work: Work) -> None:
        self.place, self.work = place, work
        self.states = States(place, work.jobs)
        self.states.look_at_all()
        self._plans: dict[str, Plans] = {}

    def plans(self, cell: Cell) -> Plans:
        """The plans of a cell."""
        name = self.work.plan(cell).name
        if name not in self._plans:
            self._plans[name] = self._read_plans(name)
        return self._plans[name]

    def training(self, cell: Cell) -> Training:
        """The run of a cell."""
        job = self.work.plan(cell)
        path = run_path(self.place, cell.run)
        if any(need not in self.states.done for need in job.needs):
            return Training()
        before = [record.result for record in map(self.place.read, job.needs) if record is not None]
        learnt = sum(float(one[SECONDS]) for one in before if one is not None and SECONDS in one)
        health = [(line["step"], line["health"]) for line in read_metrics(path / METRICS) if "health" in line]
        curve = tuple((step, float(one["std_mean"]), float(one["effective_rank"])) for step, one in health)
        return Training(
            path=self.place.relative(path),
            seconds=seconds_of_training(path) + learnt,
            embeddings=_embeddings(path / EMBEDDINGS),
            curve=curve,
            collapsed_at=collapsed_from(curve),
        )

    def timing(self, tables: WorldTables) -> tuple[Job, ...]:
        """The jobs that time the methods of a world, one for each seed whose reference is there."""
        jobs = []
        for reference in tables.reference:
            cells = [cell for cell in tables.cells if cell.seed == reference.seed and timed(cell)]
            there = tuple(cell for cell in cells if not self.plans(cell).missing)
            if len(there) > 1 and there[0] == reference:
                names = tuple(self.work.plan(cell).name for cell in there)
                jobs.append(timing(self.place, there, names, self.work.spec.tasks))
        return tuple(jobs)

    def times(self, tables: WorldTables) -> tuple[Mapping[str, list[float]], ...]:
        """For each seed that was timed, the seconds of decisions in all rounds, by the names of planning jobs."""
        records = [self.place.read(job.name) for job in self.timing(tables)]
        return tuple(one.result[SECONDS] for one in records if one is not None and one.result is not None)

    def _read_plans(self, name: str) -> Plans:
        for one in (*self._all_needs(name), name):
            if one in self.states.failed:
                return Plans(f"failed: {self.states.failed[one]}")
            if one not in self.states.done:
                return Plans(f"not there yet: {self.work.jobs[one].title}")
        record = self.place.read(name)
        assert record is not None
        assert record.result is not None
        path = record.result["report"]
        try:
            return Plans("", read_report(self.place.root / path), path)
        except LewmError as error:
            return Plans(error.problem)

    def _all_needs(self, name: str) -> Sequence[str]:
        return [one for need in self.work.jobs[name].needs for one in (*self._all_needs(need), need)]


def _embeddings(path: Path) -> dict[str, Any] | None:
    try:
        return read_report(path)
    except LewmError:  # a run that was there before may have none
        return None
