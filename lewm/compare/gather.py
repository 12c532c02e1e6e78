"""Puts together the result of a comparison from what is there.

S runs (training seeds), T tasks of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lewm.checkpoints.run import read_config
from lewm.compare import statistics
from lewm.compare.cells import Cell, settings
from lewm.compare.expansion import Cells, WorldTables
from lewm.compare.found import Found, Training
from lewm.compare.jobs import evaluation, run_path
from lewm.compare.learnt import needed, numbers
from lewm.compare.result import Comparison, Group, Row, WorldResult
from lewm.measures.intervals import Estimate
from lewm.measures.several_runs import paired_difference, success_over_runs
from lewm.measures.several_tests import holm
from lewm.model.assembly import without_values
from lewm_data.machine import cores, cpu, physical_memory
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import DETAIL

Times = Sequence[Mapping[str, list[float]]]
NOT_COMPARED: Mapping[str, Any] = {
    "difference": None,
    "paired_seeds": (),
    "unpaired": "",
    "p": None,
    "improvement": None,
}  # of a row, as nothing is compared with itself; the group sets p_holm
NOT_KNOWN = "not known"  # the version of what made a result
SIZES = ("parameters", "learnt_parameters", "frozen_parameters")  # fields of a row
SAID = ("policy", "noise", DETAIL)  # attributes of a dataset that tell how it was collected


def gather(found: Found, name: str, call: Sequence[str] = ()) -> Comparison:
    """The result of a comparison, as far as it is there.

    Args:
        found: What is there.
        name: Name of the result.
        call: See `Comparison.call`.
    """
    spec, jobs = found.work.spec, (*found.work.jobs, *found.work.timings)
    records = [found.place.read(job) for job in jobs]
    attempts = [found.place.attempts(job) for job in jobs]
    spent = [sum(seconds for _, seconds in of_job) for of_job in attempts]
    ended = [0.0 if record is None else record.seconds for record in records]  # known even without the attempts
    return Comparison(
        name=name,
        title=spec.title,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        call=tuple(call),
        seconds=sum(map(max, spent, ended), 0.0),
        elapsed=_elapsed([attempt for of_job in attempts for attempt in of_job]),
        versions=_versions([record.made_by for record in records if record is not None]),
        timed_on=tuple(sorted({f"{one['device']}, threads: {one['threads']}" for one in found.timed()})),
        machine={"cpu": cpu(), "cores": cores(), "memory_gib": round(physical_memory() / 2**30)},
        spec=spec.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        worlds=tuple(_world(found, one) for one in found.work.worlds),
    )


def _versions(programs: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """All versions of each part of the programs that made the results."""
    parts = {name: None for program in programs for name in program}
    return {name: tuple(sorted({program.get(name, NOT_KNOWN) for program in programs})) for name in parts}


def _elapsed(attempts: Sequence[tuple[float, float]]) -> float:
    """Seconds in which at least one attempt was under way, from the beginning and the length of each."""
    total, until = 0.0, -np.inf
    for begun, seconds in sorted(attempts):
        total += max(0.0, begun + seconds - max(begun, until))
        until = max(until, begun + seconds)
    return total


def _world(found: Found, tables: WorldTables) -> WorldResult:
    times = found.times()
    groups = []
    for table in tables.tables:
        rows = [_row(found, cells, tables.reference, times) for cells in table.rows]
        corrected = iter(holm([row.p for row in rows if row.p is not None]))
        rows = [row if row.p is None else replace(row, p_holm=next(corrected)) for row in rows]
        groups.append(Group(table.title, table.axis, tuple(rows)))
    goals = evaluation(found.work.spec.tasks, tables.reference[0].run.config)
    return WorldResult(
        world=tables.world,
        reference=tables.reference[0].method,
        reference_title=tables.reference[0].title,
        tasks=found.work.spec.tasks.count,
        goal_offset=goals.goal_offset,
        budget=goals.budget,
        data=_described(tables.dataset),
        groups=tuple(groups),
    )


def _row(found: Found, cells: Cells, reference: Cells, times: Times) -> Row:
    """What was found of a method.

    Args:
        found: What is there.
        cells: Its cells.
        reference: Those of the reference.
        times: See `Found.times`.
    """
    plans = [found.plans(cell) for cell in cells]
    trainings = [_training(found, cell) for cell in cells]
    solved = [None if one.solved is None else (int(one.solved.sum()), len(one.solved)) for one in plans]
    counted = [counts for counts in solved if counts is not None]
    seconds = _seconds(found, cells, times)
    is_reference = cells[0].method == reference[0].method
    return Row(
        method=cells[0].method,
        title=cells[0].title,
        x=cells[0].x,
        note=cells[0].note,
        settings=settings(cells[0], reference[0]),
        seeds=tuple(cell.seed for cell in cells),
        solved=tuple(solved),
        tasks_sha256=tuple(None if one.report is None else one.report["tasks_sha256"] for one in plans),
        success=success_over_runs([counted]) if counted else None,
        **(NOT_COMPARED if is_reference else _against(found, cells, reference)),
        p_holm=None,  # is corrected over the rows of a group
        seconds_per_plan=float(np.median(seconds)) if seconds else None,
        ratio=None if is_reference else _time_ratio(found, cells, reference, times),
        train_seconds=tuple(one.seconds for one in trainings),
        **_sizes(found, cells, trainings),
        embeddings=tuple(one.embeddings for one in trainings),
        collapsed_at=tuple(one.collapsed_at for one in trainings),
        curve=tuple(one.curve for one in trainings),
        runs=tuple(one.path for one in trainings),
        plans=tuple(one.path for one in plans),
        missing=tuple(one.missing or found.untimed(cell) for one, cell in zip(plans, cells, strict=True)),
    )


def _against(found: Found, cells: Cells, reference: Cells) -> dict[str, Any]:
    """How a method compares with the reference, where both tried the same tasks."""
    seeds, first, second, left = [], [], [], []
    for cell, other in zip(cells, reference, strict=True):
        ours, theirs = found.plans(cell), found.plans(other)
        if ours.solved is None or theirs.solved is None or ours.report is None or theirs.report is None:
            left.append(f"seed {cell.seed}: {ours.missing or theirs.missing or 'it is not known what is solved'}")
        elif ours.report["tasks_sha256"] != theirs.report["tasks_sha256"]:
            left.append(f"seed {cell.seed}: the tasks are not those of the reference")
        else:
            seeds.append(cell.seed)
            first.append(theirs.solved)
            second.append(ours.solved)
    compared = {**NOT_COMPARED, "paired_seeds": tuple(seeds), "unpaired": "; ".join(left)}
    rates, others = (
        [float(one.solved.mean()) for one in map(found.plans, some) if one.solved is not None]
        for some in (cells, reference)
    )
    if rates and others:
        compared["improvement"] = statistics.improvement(rates, others)
    if seeds:
        compared["difference"] = paired_difference(np.stack(first), np.stack(second))
        compared["p"] = statistics.paired_test(np.stack(first), np.stack(second))
    return compared


def _seconds(found: Found, cells: Cells, times: Times) -> list[float]:
    """Seconds of the method's decisions, in the rounds of all seeds."""
    names = {found.work.plan(cell).name for cell in cells}
    return [one for of_seed in times for name in names & of_seed.keys() for one in of_seed[name]]


def _time_ratio(found: Found, cells: Cells, reference: Cells, times: Times) -> Estimate | None:
    """How many times as long as the reference's the method's decisions take, in the rounds that have both."""
    ours: list[float] = []
    theirs: list[float] = []
    for cell, other in zip(cells, reference, strict=True):
        name, others = found.work.plan(cell).name, found.work.plan(other).name
        for of_seed in times:
            if name in of_seed and others in of_seed:
                ours += of_seed[name]
                theirs += of_seed[others]
    return statistics.time_ratio(np.array(ours), np.array(theirs)) if ours else None


def _training(found: Found, cell: Cell) -> Training:
    """The run of a cell; of one that needs no model the place alone, where the tasks come from."""
    training = found.training(cell)
    return training if cell.planning.plans else Training(path=training.path)


def _sizes(found: Found, cells: Cells, trainings: Sequence[Training]) -> dict[str, Any]:
    """How many numbers decide, and how they came about; the run's own configuration says what is frozen."""
    there = [cell for cell, one in zip(cells, trainings, strict=True) if one.path is not None and cell.planning.plans]
    if not there:
        return dict.fromkeys(SIZES)
    planning, run = there[0].planning, run_path(found.place, there[0].run)
    model = without_values(read_config(run)[0].model)
    parts = [model] if planning.agent == "planner" else [model.encoder, model.projector]
    counted = [parameter for part in parts for parameter in part.parameters()]
    learnt = sum(numbers(run, kind) for kind in needed(planning))
    sizes = (
        sum(parameter.numel() for parameter in counted) + learnt,
        learnt,
        sum(parameter.numel() for parameter in counted if not parameter.requires_grad),
    )
    return dict(zip(SIZES, sizes, strict=True))


def _described(path: Path) -> dict[str, Any]:
    """A dataset in a few numbers; empty where it is not there yet."""
    if not path.is_file():
        return {}
    with Dataset.open(path) as dataset:
        said = {name: dataset.attributes[name] for name in SAID if name in dataset.attributes}
        return {"episodes": dataset.num_episodes, "frames": dataset.num_steps, **said}
