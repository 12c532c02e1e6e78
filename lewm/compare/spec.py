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
        rows = [row for group in self.groups for row in group.rows]
        for kind, named, known in (
            ("reference", [self.reference], self.methods),
            ("method in of", [one.of for one in (*self.methods.values(), *rows)], self.methods),
            ("world in worlds", [name for one in (*self.methods.values(), *rows) for name in one.worlds], self.worlds),
            ("world in only_worlds", [name for one in rows for name in one.only_worlds or ()], self.worlds),
            (
                "world in only_worlds",
                [name for one in self.methods.values() for name in one.only_worlds or ()],
                self.worlds,
            ),
        ):
            for name in named:
                if name is not None and name not in known:
                    raise ValueError(" ".join(str(unknown(kind, name, known)).splitlines()))
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds has a seed twice")
        for name in self.methods:
            self.line(name)
        return self

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

    def tables(self) -> tuple[Group, ...]:
        """The groups; where there is none, one with all methods."""
        return self.groups or (Group(title=self.title, rows=tuple(Row(of=name) for name in self.methods)),)


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
    elif asked in shipped():
        name, values = asked, parse_toml((SHIPPED / f"{asked}{ENDING}").read_text("utf-8"))
    else:
        fault = unknown("specification", asked, shipped())
        raise LewmError(fault.problem, f"{fault.remedy} A file of your own ends in {ENDING}.")
    spec = validate(Spec, values, asked, REMEDY)
    for one in spec.worlds:
        world(one)
    return name, spec
