"""What the columns of a recorded table mean, from their names.

Letters: R rows, W numbers of a column in a row, A action dimension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from lewm_data.convert.words import some
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION, HASHES, INDEX, MOST_NUMBERS, PIXELS, REWARD
from lewm_data.tables import Table

TIMES = ("time", "timestamp", "timestamps", "t", "stamp", "seconds", "sec", "secs")
FRAMES = ("frame", "frame_index", "frame_idx", "step", "step_idx", "step_index", "timestep", "time_step")
COUNTS = (*FRAMES, "index", "idx", "row", "episode", "episode_index", "episode_idx")
ENDS = ("done", "dones", "terminal", "terminated", "truncated", "success")
ACTIONS = ("action", "act", "cmd", "command", "control", "ctrl")
STATES = ("state", "obs", "observation", "proprio", "qpos", "qvel", "position", "pos", "pose")
MOST_CHOICES = 4096  # options of an action that is a choice, each of which becomes a number
TAKEN = (PIXELS, HASHES, *INDEX)  # names that mean something else in a dataset
UNIT = re.compile(r"(?:_|\s*[\[(])(s|ms|us|ns|secs?|seconds|nanos|micros|millis)[\])]?$")  # "t_ms", "Time [s]"
PART = re.compile(r"[._/\[\s-]([0-9]+|[xyzw]|[rpy]|roll|pitch|yaw)\]?$")  # "action_0", "state.x", "pose[3]"


@dataclass(frozen=True)
class Roles:
    """The columns of a table by their meaning.

    Attributes:
        actions: Names of the columns that make up the action, in their order.
        kept: Name of a column of the dataset -> the columns that make it up.
        time: The column of times, or None.
        left_out: Names of columns that count rows or mark ends, and of those that the table leaves out.
        width: A, how many numbers an action has.
    """

    actions: tuple[str, ...]
    kept: Mapping[str, tuple[str, ...]]
    time: str | None
    left_out: tuple[str, ...]
    width: int

    def in_words(self) -> list[str]:
        """What was assumed, a line each."""
        said = [f"actions: {_listed(self.actions)} ({self.width} {'number' if self.width == 1 else 'numbers'})"]
        if self.kept:
            said.append("columns kept: " + "; ".join(_made(name, parts) for name, parts in self.kept.items()))
        if self.left_out:
            said.append(f"columns left out: {some(self.left_out)}")
        return said


def roles_of(where: str, table: Table) -> Roles:
    """The meaning of columns.

    The action is what begins with "action", "cmd" or the like. Where nothing does, it is every column that is neither
    a time, a count, the mark of an end, a reward nor named like a state.

    Raises:
        DataError: None of them is an action, or they have too many numbers; `where` is for the message.
    """
    names = list(table.columns)
    time = next((name for name in names if UNIT.sub("", name.lower()) in TIMES), None)
    left_out = [name for name in names if name.lower() in (*COUNTS, *ENDS)]
    others = [name for name in names if name != time and name not in left_out]
    named = [name for name in others if _begins(name, ACTIONS)]
    actions = named or [name for name in others if name.lower() != REWARD and not _begins(name, STATES)]
    if not actions:
        odd = f"; left out, as they hold text or too many numbers: {some(table.left_out)}" if table.left_out else ""
        raise DataError(f"{where}: no column of actions among {some(names)}{odd}", 'Call them "action_x" and the like.')
    kept: dict[str, tuple[str, ...]] = {}
    for name in others:
        if name not in actions:
            of = REWARD if name.lower() == REWARD else column_name(PART.sub("", name))
            kept[of] = (*kept.get(of, ()), name)
    widths = {name: values.shape[1] for name, values in table.columns.items()}
    wide = [name for name, parts in kept.items() if sum(widths[part] for part in parts) > MOST_NUMBERS]
    odd_ones = [part for name in wide for part in kept.pop(name)]
    width = sum(widths[name] for name in actions)
    if width > MOST_NUMBERS:
        raise DataError(
            f"{where}: an action of {width} numbers, at most {MOST_NUMBERS} are read",
            'Call the columns that are actions "action_x" and the like.',
        )
    return Roles(tuple(actions), kept, time, (*left_out, *odd_ones, *table.left_out), width)


def columns_of(table: Mapping[str, Float64[np.ndarray, "R W"]], roles: Roles) -> dict[str, Shaped[np.ndarray, "R ..."]]:
    """The columns of a dataset: "action" as float32, "reward" (R,) as float32, others as float64."""
    columns: dict[str, Shaped[np.ndarray, "R ..."]] = {ACTION: _joined(table, roles.actions).astype(np.float32)}
    for name, parts in roles.kept.items():
        values = _joined(table, parts)
        columns[name] = values[:, 0].astype(np.float32) if name == REWARD else values
    return columns


def column_name(name: str) -> str:
    """A name that a dataset's column can have: slashes separate groups in HDF5, and become points."""
    plain = name.replace("/", ".") or "column"
    return f"recorded.{plain}" if plain in TAKEN else plain


def as_actions(values: Shaped[np.ndarray, "R ..."]) -> Float32[np.ndarray, "R A"]:
    """Actions as float32, a row each, whatever their shape was."""
    return np.asarray(values, np.float32).reshape(len(values), math.prod(values.shape[1:]))


def one_hot(where: str, values: Shaped[np.ndarray, "R ..."], first: int, count: int) -> Float32[np.ndarray, "R A"]:
    """Actions that are choices: a one for the option that was taken.

    Args:
        where: Where they are from, for errors.
        values: The number of an option in each row.
        first: The number of the first option.
        count: A, how many options there are.

    Raises:
        DataError: A row has several numbers, or one of no option.
    """
    numbers = values.reshape(-1).astype(np.int64) - first
    if len(numbers) != len(values) or ((numbers < 0) | (numbers >= count)).any():
        raise DataError(f"{where}: has other actions than the {count} options of its space", "Leave it out.")
    return np.eye(count, dtype=np.float32)[numbers]


def joined(where: str, parts: Mapping[str, Float32[np.ndarray, "_ _"]]) -> Float32[np.ndarray, "R A"]:
    """One action from several, side by side.

    Raises:
        DataError: They have different numbers of rows.
    """
    counts = {name: len(values) for name, values in parts.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} rows of '{name}'" for name, count in counts.items())
        raise DataError(f"{where}: {said}, expected as many of each", "Correct it, or leave the episode out.")
    return np.concatenate(list(parts.values()), axis=1)


def check_counters(where: str, table: Mapping[str, Float64[np.ndarray, "R W"]]) -> None:
    """Raises unless columns that count frames or steps go up by one from row to row.

    Raises:
        DataError: A row is missing, or in another place.
    """
    for name, values in table.items():
        steps = np.diff(values[:, 0]) if name.lower() in FRAMES else np.ones(0)
        if (steps != 1).any():
            row = int((steps != 1).argmax())
            raise DataError(
                f"{where}: column '{name}' goes from {values[row, 0]:g} to {values[row + 1, 0]:g} at row {row + 1}, "
                "counted from 0",
                "Put back the rows that are missing; or leave the column out, if it does not count the rows.",
            )


def _joined(table: Mapping[str, Float64[np.ndarray, "R W"]], names: tuple[str, ...]) -> Float64[np.ndarray, "R V"]:
    return np.concatenate([table[name] for name in names], axis=1)


def _begins(name: str, words: tuple[str, ...]) -> bool:
    first = re.split(r"[^a-z]", name.lower().removeprefix("observation."))[0]
    return first in words or f"{first}s" in words or first.removesuffix("s") in words


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(name or "all columns, which have no names" for name in names)


def _made(name: str, parts: tuple[str, ...]) -> str:
    return name if parts == (name,) else f"{name} ({', '.join(parts)})"
