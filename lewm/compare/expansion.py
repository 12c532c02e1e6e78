"""From a specification to the tables that are asked for, and to the jobs that fill them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lewm.compare.cells import Cell, Trained, digest, row_cells
from lewm.compare.jobs import Job, collecting, learning, planning, planning_name, training
from lewm.compare.learnt import needed
from lewm.compare.records import Place
from lewm.compare.spec import Data, Group, Method, Row, Spec
from lewm.compare.timing import timed, timing
from lewm.datasets import fingerprint_of
from lewm.errors import LewmError, unknown
from lewm.heads.prepared import LastEncoded
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset

Cells = tuple[Cell, ...]  # of a row: one for each seed


@dataclass(frozen=True)
class Table:
    """The cells of a group in one world."""

    title: str
    axis: str | None
    rows: tuple[Cells, ...]


@dataclass(frozen=True)
class WorldTables:
    """What is compared in a world.

    Attributes:
        world: Its name.
        dataset: The file of its data.
        reference: The cells that all others are compared with.
        tables: The tables; the reference need not be in them.
    """

    world: str
    dataset: Path
    reference: Cells
    tables: tuple[Table, ...]

    @property
    def cells(self) -> Cells:
        """All cells, those of a seed together, the reference first; each pair of run and settings once."""
        rows = [self.reference, *(row for table in self.tables for row in table.rows)]
        found: dict[object, Cell] = {}
        for of_seed in zip(*rows, strict=True):
            for cell in of_seed:
                found.setdefault((cell.run.name, cell.planning.model_dump_json(), cell.chosen), cell)
        return tuple(found.values())


@dataclass(frozen=True)
class Work:
    """All that is to be done.

    Attributes:
        spec: The specification, with the options that were given.
        worlds: The tables of each world.
        jobs: The jobs by name, in an order in which they can be done.
        timings: Those that time the plans, one for each seed of a world: they are done last, when nobody is at work.
        timed_by: The name of the one that times a plan, by the name of the job that makes the plan.
    """

    spec: Spec
    worlds: tuple[WorldTables, ...]
    jobs: Mapping[str, Job]
    timings: Mapping[str, Job]
    timed_by: Mapping[str, str]

    def plan(self, cell: Cell) -> Job:
        """The job that makes the plans of a cell."""
        return self.jobs[planning_name(cell, self.spec.tasks)]


def expand(spec: Spec, place: Place, worlds: Collection[str] = (), only: str | None = None) -> Work:
    """The tables and jobs of a specification.

    Args:
        spec: The specification.
        place: Where everything is kept.
        worlds: The worlds; all that are not optional when empty.
        only: Title of the group that is asked for; all when None.

    Raises:
        LewmError: A world or a group is unknown, or settings do not fit together.
        DataError: A dataset that is to be there cannot be read.
    """
    for name in worlds:
        if name not in spec.worlds:
            raise unknown("world of the specification", name, spec.worlds)
    groups = spec.tables()
    if only is not None:
        if only not in [group.title for group in groups]:
            raise unknown("group", only, [group.title for group in groups])
        groups = tuple(group for group in groups if group.title == only)
    names = [name for name, data in spec.worlds.items() if (name in worlds if worlds else not data.optional)]
    if not names:
        raise LewmError("all worlds of the specification are optional", "Name one with --world.")
    jobs: dict[str, Job] = {}
    encode = LastEncoded()
    tables = tuple(_in_world(spec, place, name, groups, jobs, encode) for name in names)
    timings: dict[str, Job] = {}
    timed_by: dict[str, str] = {}
    for one in tables:
        for seed in spec.seeds:
            cells = [cell for cell in one.cells if cell.seed == seed and timed(cell)]
            if cells:
                plans = [jobs[planning_name(cell, spec.tasks)] for cell in cells]
                job = timing(place, cells, plans, spec.tasks, one.dataset)
                timings[job.name] = job
                timed_by.update((plan.name, job.name) for plan in plans)
    return Work(spec, tables, jobs, timings, timed_by)


def _in_world(
    spec: Spec, place: Place, name: str, groups: Collection[Group], jobs: dict[str, Job], encode: LastEncoded
) -> WorldTables:
    data = spec.worlds[name]
    before: tuple[Job, ...] = ()
    if data.data is None:
        dataset = f"{name}-{digest(_settings(name, data))}"
        path, before = place.dataset(dataset), (collecting(place, name, data, dataset),)
    else:
        path = Path(data.data).expanduser().resolve()
        with Dataset.open(path) as opened:
            dataset = fingerprint_of(opened)
    reference = row_cells(spec, Row(of=spec.reference), spec.title, name, dataset)
    tables = []
    for group in groups:
        rows = [row for row in group.rows if spec.is_measured(_line(spec, row), name)]
        if rows:
            cells = [row_cells(spec, row, group.title, name, dataset) for row in rows]
            tables.append(Table(group.title, group.axis, tuple(_named(spec, row, reference) for row in cells)))
    found = WorldTables(name, path, reference, tuple(tables))
    if any(isinstance(cell.run, Trained) for cell in found.cells):
        jobs.update((job.name, job) for job in before)
    for cell in found.cells:
        made: list[Job] = []
        if isinstance(cell.run, Trained):
            made.append(training(place, cell.run, path, tuple(job.name for job in before)))
        trained = tuple(job.name for job in made)
        made += [learning(place, cell.run, kind, path, trained, encode) for kind in needed(cell.planning)]
        made.append(planning(place, cell, spec.tasks, path, tuple(job.name for job in made)))
        for job in made:
            jobs.setdefault(job.name, job)
    return found


def _named(spec: Spec, cells: Cells, reference: Cells) -> Cells:
    """The cells of a row; one that sets what the reference has anyway is the reference under a title of its own."""
    same = planning_name(cells[0], spec.tasks) == planning_name(reference[0], spec.tasks)
    return tuple(replace(cell, method=reference[0].method) for cell in cells) if same else cells


def _line(spec: Spec, row: Row) -> tuple[Method, ...]:
    return (*(spec.line(row.of) if row.of is not None else ()), row)


def _settings(name: str, data: Data) -> dict[str, object]:
    """What the content of collected data depends on, with the world's own values where none is chosen."""
    place = world(name)
    settings = data.model_dump(mode="json", exclude={"data", "optional"})
    own = {"policy": place.default_policy, "noise": place.default_noise, "repeat": place.default_repeat}
    return settings | {key: value for key, value in own.items() if settings[key] is None}
