"""Actions that belong to a video, from a file: .csv, .npy, or an episode of a dataset.

T actions, A action dimension.
"""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Shaped

from lewm_data.errors import DataError, unknown
from lewm_data.schema import ACTION, NUMBERS
from lewm_data.sources import DATASETS, split_episode
from lewm_data.store import Dataset


def read_actions(path: str | Path, action_dim: int) -> Float32[np.ndarray, "T A"]:
    """Reads actions, a row each. A last row of NaN is left out: it stands for no action, after the last frame.

    Args:
        path: A .csv file, columns parted by comma, semicolon or tab, with or without a line of names; a .npy file; or
            a dataset, with "#" and the episode's number ("data.h5#17") unless it has only one.
        action_dim: A.

    Raises:
        DataError: No such file, none of these, no actions, another number of columns, or a value that is not a finite
            number.
    """
    file, episode = split_episode(str(path))
    if file.suffix == ".csv":
        actions = _read_csv(file)
    elif file.suffix == ".npy":
        actions = _read_npy(file)
    elif file.suffix in DATASETS:
        actions = _read_dataset(file, episode)
    else:
        raise unknown("ending of a file of actions", file.suffix, (".csv", ".npy", *DATASETS))
    if actions.size and (actions.ndim != 2 or actions.shape[1] != action_dim):
        raise DataError(
            f"{path}: actions of shape {actions.shape}, expected (T, {action_dim})",
            f"Give a row an environment step, of {action_dim} columns.",
        )
    with np.errstate(over="ignore"):
        actions = np.array(actions, np.float32)
    if len(actions) and np.isnan(actions[-1]).all():
        actions = actions[:-1]
    if len(actions) == 0:
        raise DataError(f"{path}: has no actions", "Give a row an environment step.")
    wrong = np.flatnonzero(~np.isfinite(actions).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{path}: action {wrong[0]} of {len(actions)}, counted from 0, is not finite: {actions[wrong[0]].tolist()}",
            "Only the last row may be NaN, which is left out.",
        )
    return actions


def _read_csv(path: Path) -> Float[np.ndarray, "T A"]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text", "Write a line of numbers an environment step.") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    delimiter = next((mark for mark in "\t;" if lines and mark in lines[0][1]), ",")
    rows: list[list[float]] = []
    for number, line in lines:
        try:
            fields = next(csv.reader([line], delimiter=delimiter))
            if number == lines[0][0] and not any(_is_number(field) for field in fields):
                continue  # the columns' names
            rows.append([float(field) for field in fields])
        except (ValueError, csv.Error) as error:
            raise DataError(f"{path}, line {number}: expected numbers, found {line[:60]!r}", "Correct it.") from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"{path}, line {number}: {len(rows[-1])} columns, expected {len(rows[0])} as before", "Correct it."
            )
    return np.array(rows).reshape(len(rows), -1 if rows else 0)


def _read_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    try:
        actions = np.lib.format.open_memmap(path, mode="r")  # which runs no pickle, and allocates nothing
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise DataError(f"{path}: is no .npy file of numbers: {error}", "Write it with numpy.save.") from error
    if actions.dtype.kind not in NUMBERS:
        raise DataError(f"{path}: has {actions.dtype} values, expected numbers", "Write it with numpy.save.")
    return actions


def _read_dataset(path: Path, episode: int | None) -> Float[np.ndarray, "T A"]:
    with Dataset.open(path) as dataset:
        if episode is None and dataset.num_episodes > 1:
            raise DataError(f"{path}: has {dataset.num_episodes} episodes", f"Name one of them: {path}#0")
        return dataset.column(ACTION, np.array([episode or 0]))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: {error.strerror or error}", "Check the name.")
