"""What is there of a comparison: reports of plans, runs, and the times of decisions.

T tasks of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from lewm.checkpoints.run import METRICS
from lewm.compare.cells import Cell
from lewm.compare.expansion import Work
from lewm.compare.jobs import SECONDS, run_path, seconds_of_training
from lewm.compare.records import FAILED, Place
from lewm.compare.result import CurvePoint
from lewm.compare.work import States
from lewm.errors import LewmError
from lewm.report_files import read_report
from lewm.training.embeddings import FILE as EMBEDDINGS
from lewm.training.embeddings import stored
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
        seconds: What its trainings took, with what was learnt on its latents for this cell; None where that was there
            before, and nothing tells how long it took.
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
        self.timings = States(place, work.timings)
        self.timings.look_at_all()
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
        parts = [seconds_of_training(path), *(one[SECONDS] for one in before if one is not None and SECONDS in one)]
        known = [float(one) for one in parts if one is not None]
        health = [(line["step"], line["health"]) for line in read_metrics(path / METRICS) if "health" in line]
        curve = tuple((step, float(one["std_mean"]), float(one["effective_rank"])) for step, one in health)
        return Training(
            path=self.place.relative(path),
            seconds=sum(known) if len(known) == len(parts) else None,
            embeddings=read_report(path / EMBEDDINGS) if stored(path) else None,
            curve=curve,
            collapsed_at=collapsed_from(curve),
        )

    def times(self) -> tuple[Mapping[str, list[float]], ...]:
        """For each seed that was timed, the seconds of decisions in all rounds, by the names of planning jobs."""
        return tuple(result[SECONDS] for result in self.timed())

    def timed(self) -> tuple[Mapping[str, Any], ...]:
        """The records of what was timed, with the device and the number of threads."""
        records = [self.place.read(name) for name in self.work.timings if name in self.timings.done]
        return tuple(one.result for one in records if one is not None and one.result is not None)

    def untimed(self, cell: Cell) -> str:
        """Why there is no time of a cell's decisions; empty where there is one, or is to be none."""
        plan = self.work.plan(cell).name
        name = self.work.timed_by.get(plan)
        if name is None:
            return ""
        if name in self.timings.failed:
            return f"failed to be timed: {self.timings.failed[name]}"
        record = self.place.read(name) if name in self.timings.done else None
        if record is None or record.result is None:
            return "not timed yet"
        problem = record.result[FAILED].get(plan)
        return "" if problem is None else f"failed to be timed: {problem}"

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
