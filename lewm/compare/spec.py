"""What is to be compared: a specification, read from a TOML file or from one of those that come with lewm.

title = "λ in Two-Room"
seeds = [0, 1, 2]
reference = "lewm"                                       # the method that all others are compared with

[worlds.two-room]                                        # how its data are collected; or data = "FILE"
episodes = 1000

[plan]                                                   # for all methods; [train] in the same way
set = { "planner.kind" = "icem" }

[methods.lewm]                                           # the recipe as it is

[methods.gc-idm]
of = "lewm"                                              # its runs, with another agent
plan.set = { agent = "idm" }

[[groups]]                                               # a table of the result
title = "λ of SIGReg"
axis = "λ"
rows = [ "lewm", { x = 0, title = "no SIGReg", train.set = { "objective.lambda" = 0 } } ]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from lewm.config import Section, validate
from lewm.config.limits import Float, Int, Pixels, Steps
from lewm.errors import LewmError, unknown
from lewm.reading import parse_toml, read_toml
from lewm_data.envs.registry import world

ENDING = ".toml"
SHIPPED = resources.files("lewm.compare") / "specs"
REMEDY = 'Change {key} in the file; "lewm/compare/spec.py" shows what a specification has.'

SHOWN = {"of", "x", "title", "note"}  # keys of a row that change nothing

Name = Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=60)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]  # of a training; tasks add a number of their own to it


class Data(Section):
    """The data of a world: options of `lewm collect`, or a file that is there."""

    data: str | None = None
    episodes: Steps = 1000
    policy: str | None = None  # the world's own when None; so are noise, repeat and max_steps
    noise: Annotated[Float, Field(ge=0)] | None = None
    repeat: Annotated[Float, Field(ge=0, le=1)] | None = None
    max_steps: Steps | None = None
    vary: str = ""
    detail: str | None = None
    frame_size: Pixels = 64
    seed: Seed = 0
    optional: bool = False  # whether the world is left out unless --world names it

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        others = self.model_fields_set - {"data", "optional"}
        if self.data is not None and others:
            raise ValueError(f"data names a file that is there, so {min(others)} cannot be chosen")
        return self


class Tasks(Section):
    """The tasks of each seed: the same for all methods of a world."""

    count: Steps = 200
    goal_offset: Steps | None = None  # that of the reference's recipe when None
    budget: Steps | None = None
    protocol: str = "held-out"
    seed: Seed = 0  # together with the training's it is the seed of tasks and plans


class Train(Section):
    """How a run is trained, by dotted keys of the configuration; "none" stands for no value."""

    recipe: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)


class Plan(Section):
    """How plans are made, by dotted keys of the section planning."""

    set: dict[str, Any] = Field(default_factory=dict)


class Change(Section):
    """What a method has of its own in one world."""

    train: Train = Field(default_factory=Train)
    plan: Plan = Field(default_factory=Plan)


class Method(Change):
    """One way to train and to act."""

    title: str | None = None  # its key when None
    of: Name | None = None  # the method whose settings it begins with
    run: str | None = None  # a run that is there, with {world} and {seed} in its path: nothing is trained
    worlds: dict[Name, Change] = Field(default_factory=dict)
    only_worlds: tuple[Name, ...] | None = None  # where it is measured; everywhere when None
    note: str | None = None  # what a reader of its numbers has to know; that of the method that it changes when None


class Row(Method):
    """A row of a table: the name of a method, or a change of one."""

    x: Float | None = None  # its place on the group's axis

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:  # noqa: ANN401  # what TOML holds
        return {"of": values} if isinstance(values, str) else values

    @property
    def changes(self) -> bool:
        """Whether it is more than a method as it is, under a title or at a place of its own."""
        return self.of is None or not self.model_fields_set <= SHOWN

    def key(self, group: str) -> str:
        """The method that it shows as it is, else the method that it changes, and what it changes."""
        if self.of is not None and not self.changes:
            return self.of
        return "-".join(part for part in (self.of, slug(group), slug(self.title or "")) if part)


class Group(Section):
    """Rows of one table."""

    title: str
    axis: str | None = None
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]


class Spec(Section):
    """The whole specification."""

    title: str
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    reference: Name
    worlds: Annotated[dict[Name, Data], Field(min_length=1)]
    tasks: Tasks = Field(default_factory=Tasks)
    train: Train = Field(default_factory=Train)
    plan: Plan = Field(default_factory=Plan)
    methods: Annotated[dict[Name, Method], Field(min_length=1)]
    groups: tuple[Group, ...] = ()  # one with all methods when empty

    @model_validator(mode="after")
    def _names_are_known(self) -> Spec:
        lines = [*self.methods.values(), *(row for group in self.groups for row in group.rows)]
        for kind, named, known in (
            ("reference", [self.reference], self.methods),
            ("method in of", [one.of for one in lines], self.methods),
            ("world in worlds", [name for one in lines for name in one.worlds], self.worlds),
            ("world in only_worlds", [name for one in lines for name in one.only_worlds or ()], self.worlds),
        ):
            for name in named:
                if name is not None and name not in known:
                    raise ValueError(" ".join(str(unknown(kind, name, known)).splitlines()))
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds has a seed twice")
        for name in self.methods:
            self.line(name)
        for name in self.worlds:
            if not self.is_measured(self.line(self.reference), name):
                raise ValueError(f'the reference "{self.reference}" is not measured in {name}: see its only_worlds')
        return self

    @model_validator(mode="after")
    def _rows_have_names_of_their_own(self) -> Spec:
        """Tables and figures tell rows by their titles, results by their keys, and files by the titles of groups."""
        _check_unique("groups", [slug(group.title) for group in self.groups])
        taken = list(self.methods)
        for group in self.groups:
            for row in group.rows:
                if row.changes and not row.title:
                    raise ValueError(f'a row of the group "{group.title}" changes something, and has no title')
            _check_unique(f'titles of the group "{group.title}"', [self.title_of(row) for row in group.rows])
            _check_unique(f'keys of the group "{group.title}"', [row.key(group.title) for row in group.rows])
            taken += [row.key(group.title) for row in group.rows if row.changes]
        _check_unique("keys of rows and methods", taken)
        return self

    def title_of(self, row: Row) -> str:
        """What tables call a row: as it says, else as its method does."""
        own = None if row.of is None else self.methods[row.of].title
        return row.title or own or row.of or ""

    def line(self, name: str) -> tuple[Method, ...]:
        """A method and those that it is a change of, the first of them first.

        Raises:
            ValueError: A method is a change of itself.
        """
        found = [self.methods[name]]
        while (above := found[0].of) is not None:
            found.insert(0, self.methods[above])
            if len(found) > len(self.methods):
                raise ValueError(f"methods.{name} is a change of itself: see its key of")
        return tuple(found)

    @staticmethod
    def is_measured(line: Sequence[Method], world: str) -> bool:
        """Whether a method is measured in a world: it and all that it is a change of."""
        return all(one.only_worlds is None or world in one.only_worlds for one in line)

    def tables(self) -> tuple[Group, ...]:
        """The groups; where there is none, one with all methods."""
        return self.groups or (Group(title=self.title, rows=tuple(Row(of=name) for name in self.methods)),)


def slug(text: str) -> str:
    """A text with "-" for all that the name of a folder should not have."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-.").lower()


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{what}: two are called "{twice}"')


def shipped() -> tuple[str, ...]:
    """Names of the specifications that come with lewm."""
    return tuple(sorted(path.name.removesuffix(ENDING) for path in SHIPPED.iterdir() if path.name.endswith(ENDING)))


def read_spec(asked: str) -> tuple[str, Spec]:
    """The name and the content of a specification.

    Args:
        asked: A file that ends in .toml, or the name of a specification that comes with lewm.

    Raises:
        LewmError: There is none, or it has a fault; names the key and the nearest right one.
        DataError: A world is unknown.
    """
    if asked.endswith(ENDING):
        path = Path(asked).expanduser()
        name, values = path.name.removesuffix(ENDING), read_toml(path, "Give the name of a specification in TOML.")
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise LewmError(f"{path}: its name becomes that of a folder", "Use letters, digits and dashes.")
        if name in shipped():
            raise LewmError(
                f'{path}: its result would take the place of that of "{name}", which comes with lewm',
                "Give the file another name.",
            )
    elif asked in shipped():
        name, values = asked, parse_toml((SHIPPED / f"{asked}{ENDING}").read_text("utf-8"))
    else:
        fault = unknown("specification", asked, shipped())
        raise LewmError(fault.problem, f"{fault.remedy} A file of your own ends in {ENDING}.")
    spec = validate(Spec, values, asked, REMEDY)
    for one in spec.worlds:
        world(one)
    return name, spec
