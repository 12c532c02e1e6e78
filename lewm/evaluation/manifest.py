"""A file of tasks, so that two people score the same ones. No dataset is needed to read it.

    {
      "format": 1,
      "env": "two-room",            the world
      "protocol": "held-out",       how the tasks were chosen
      "dataset": "3f9c...",         fingerprint of the dataset they are from; null: the environment gave them
      "goal_offset": 25,            environment steps from start to goal; null: not known
      "budget": 50,                 environment steps allowed
      "discarded_solved": 3,        draws whose start counted as solved
      "discarded_ended": 0,         draws whose episode ended before the goal
      "sha256": "...",              digest of all the rest, as in reports
      "tasks": [
        {"episode": 7, "step": 31, "start": [0.25, 0.5], "goal": [0.75, 0.5], "factors": {}},
        ...

`episode` and `step` say where in the dataset a task is from. In a world whose states cannot be set, "seed", "actions"
(from the beginning of the episode to the start) and "goal_actions" (from there to the goal) are in the place of
"start", "goal" and "factors". Frames are drawn by the environment when the tasks are played.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lewm.config import MOST_STEPS
from lewm.errors import LewmError
from lewm.evaluation.clear.protocol import Protocol
from lewm.evaluation.from_dataset import PROTOCOLS
from lewm.evaluation.from_env import FROM_ENV
from lewm.evaluation.tasks import CLEAR, Placed, Replayed, Task, Tasks
from lewm.files import write_text
from lewm.reading import read_json
from lewm_data.envs.gymnasium.simulator import SEEDS
from lewm_data.envs.judgement import BY_STATES
from lewm_data.envs.world import World

FORMAT = 1
MOST_BYTES = 2**25  # size of a file; a task has 100 bytes where states are set, 10,000 where an episode is replayed
NOT_ONE = 'Give --tasks a file that "lewm plan --save-tasks" wrote.'
DAMAGED = "Get the file again from where it was written."

Count = Annotated[int, Field(ge=0, lt=2**53)]  # smaller numbers keep their value in the JSON of any program
Positive = Annotated[int, Field(gt=0, le=MOST_STEPS)]
Number = int | float

# What a protocol can be called.
NAMES = (
    *PROTOCOLS,
    FROM_ENV,
    *(f"{CLEAR} {name}" for name in get_args(Protocol.model_fields["name"].annotation)),
)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _PlacedTask(_Strict):
    episode: Count
    step: Count
    start: list[float]
    goal: list[float]
    factors: dict[str, Number | list[Number]]

    def task(self, world: World) -> Task:
        start, goal = (np.array(values, np.float64) for values in (self.start, self.goal))
        if not start.shape == goal.shape == (world.state_dim,):
            raise ValueError(f"start and goal are {len(start)} and {len(goal)} numbers, expected {world.state_dim}")
        factors = {name: tuple(value) if isinstance(value, list) else value for name, value in self.factors.items()}
        return Task(self.episode, self.step, Placed(start, goal, factors))


class _ReplayedTask(_Strict):
    episode: Count
    step: Count
    seed: Annotated[int, Field(ge=0, lt=SEEDS)]
    actions: list[list[float]]
    goal_actions: list[list[float]]

    def task(self, world: World) -> Task:
        for action in (*self.actions, *self.goal_actions):
            if len(action) != world.action_dim:
                raise ValueError(f"an action is {len(action)} numbers, expected {world.action_dim}")
        with np.errstate(over="ignore"):
            before, after = (
                np.array(actions, np.float32).reshape(-1, world.action_dim)
                for actions in (self.actions, self.goal_actions)
            )
        if not (np.isfinite(before).all() and np.isfinite(after).all()):
            raise ValueError("an action is beyond what float32 holds")
        return Task(self.episode, self.step, Replayed(self.seed, before, after))


class _Manifest(_Strict):
    format: int
    env: str
    protocol: Literal[NAMES]  # type: ignore[valid-type]  # which are derived
    dataset: str | None
    goal_offset: Positive | None
    budget: Positive
    discarded_solved: Count
    discarded_ended: Count
    sha256: str
    tasks: Annotated[list[dict[str, Any]], Field(min_length=1)]


def write_tasks(path: Path, tasks: Tasks) -> None:
    """Writes tasks, one a line; their numbers are read back exactly."""
    assert tasks.picture is None, "a picture is no part of the file"
    head = {
        "format": FORMAT,
        "env": tasks.env,
        "protocol": tasks.protocol,
        "dataset": tasks.dataset,
        "goal_offset": tasks.goal_offset,
        "budget": tasks.budget,
        "discarded_solved": tasks.discarded_solved,
        "discarded_ended": tasks.discarded_ended,
        "sha256": tasks.sha256(),
    }
    opened = json.dumps(head, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {json.dumps(_plain(task))}" for task in tasks.each)
    write_text(path, f'{opened},\n  "tasks": [\n{lines}\n  ]\n}}\n')


def read_tasks(path: Path, world: World) -> Tasks:
    """The tasks of a file.

    Raises:
        LewmError: it cannot be read, is not such a file, is of another format or world, or was changed.
    """
    content = read_json(path, NOT_ONE, MOST_BYTES)
    if not isinstance(content, dict) or "tasks" not in content:
        raise LewmError(f"{path}: is not a file of tasks", NOT_ONE)
    if content.get("format") != FORMAT:
        raise LewmError(
            f"{path}: format {content.get('format')!r:.40}, this version reads {FORMAT}",
            "Use the version that wrote it.",
        )
    if content.get("env") != world.name:
        raise LewmError(
            f"{path}: tasks in {content.get('env')!r:.80}, the run was trained in {world.name!r}",
            "Give --run a run of that world, or --tasks tasks in this one.",
        )
    kind: type[_PlacedTask | _ReplayedTask] = _PlacedTask if world.restorable else _ReplayedTask
    each: list[Task] = []
    where: tuple[str | int, ...] = ()
    try:
        manifest = _Manifest.model_validate(content)
        for number, stored in enumerate(manifest.tasks):
            where = ("tasks", number)
            each.append(kind.model_validate(stored).task(world))
    except ValidationError as error:
        fault = error.errors()[0]
        raise LewmError(f"{path}: {_dotted(*where, *fault['loc'])}: {fault['msg']}", DAMAGED) from error
    except ValueError as error:
        raise LewmError(f"{path}: {_dotted(*where)}: {error}", DAMAGED) from error
    tasks = Tasks(
        env=manifest.env,
        protocol=manifest.protocol,
        dataset=manifest.dataset,
        each=tuple(each),
        picture=None,
        goal_offset=manifest.goal_offset,
        budget=manifest.budget,
        judgement=BY_STATES,
        discarded_solved=manifest.discarded_solved,
        discarded_ended=manifest.discarded_ended,
    )
    if tasks.sha256() != manifest.sha256:
        raise LewmError(f"{path}: was changed after it was written: its tasks have another sha256", DAMAGED)
    return replace(tasks, judgement=world.judge())  # which may be tried out, and that takes long


def _dotted(*parts: str | int) -> str:
    return ".".join(str(part) for part in parts)


def _plain(task: Task) -> dict[str, Any]:
    origin = {"episode": task.episode, "step": task.step}
    start = task.start
    if isinstance(start, Placed):
        return origin | {"start": start.state.tolist(), "goal": start.goal.tolist(), "factors": dict(start.factors)}
    actions = {"actions": start.actions.tolist(), "goal_actions": start.goal_actions.tolist()}
    return origin | {"seed": start.seed} | actions
