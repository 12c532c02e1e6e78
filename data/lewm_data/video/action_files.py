"""Actions that belong to a video, from a file: .csv, .npy, or an episode of a dataset.

Letters: T actions, A action dimension.
"""

import csv
from array import array
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Shaped

from lewm_data.errors import DataError, unknown
from lewm_data.foreign import check_file, decoding
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION, NUMBERS
from lewm_data.video.sources import DATASETS, is_dataset, split_episode

MOST_CSV = 2**26  # bytes: 1 M rows of seven numbers, a quarter of an hour at 1000 rows a second
LONGEST_LINE = 2**18  # characters: 10,000 numbers, more than any action has
MOST_NPY = 2**28  # bytes: 4 M rows of seven float64, an hour at 1000 rows a second


def read_actions(path: str | Path, action_dim: int) -> Float32[np.ndarray, "T A"]:
    """Reads actions, one in each row. A last row of NaN is left out: it means no action after the last frame.

    Args:
        path: A .csv file, with columns separated by comma, semicolon or tab, with or without a line of names; a .npy
            file; or a dataset, with "#" and the episode's number ("data.h5#17") unless it has only one episode.
        action_dim: A.

    Raises:
        DataError: There is no such file, it is of another kind, it has no actions or another number of columns, or a
            value is not a finite number.
    """
    file, episode = split_episode(str(path))
    if file.suffix.lower() == ".csv":
        actions = _read_csv(file)
    elif file.suffix.lower() == ".npy":
        actions = _read_npy(file)
    elif is_dataset(file):
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
    check_file(path, MOST_CSV)
    numbers, columns, delimiter = array("d"), 0, ""
    with (
        decoding(path, "is not text", "Write a line of numbers an environment step."),
        path.open(encoding="utf-8-sig") as file,
    ):
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            if len(line) > LONGEST_LINE:
                found = f"{len(line):,} characters, at most {LONGEST_LINE:,} are read"
                raise DataError(f"{path}, line {number}: {found}", "Give an environment step a line of its own.")
            first = not delimiter
            delimiter = delimiter or next((mark for mark in "\t;" if mark in line), ",")
            try:
                fields = next(csv.reader([line.strip("\r\n")], delimiter=delimiter))
                if first and not any(_is_number(field) for field in fields):
                    continue  # the columns' names
                row = [float(field) for field in fields]
            except (ValueError, csv.Error) as error:
                found = f"expected numbers, found {line.rstrip()[:60]!r}"
                raise DataError(f"{path}, line {number}: {found}", "Correct it.") from error
            columns = columns or len(row)
            if len(row) != columns:
                found = f"{len(row)} columns, expected {columns} as before"
                raise DataError(f"{path}, line {number}: {found}", "Correct it.")
            numbers.extend(row)
    return np.array(numbers).reshape(-1, columns or 1)


def _read_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    check_file(path, MOST_NPY)
    with decoding(path, "is no .npy file of numbers, or not all of one", "Write it with numpy.save."):
        mapped = np.lib.format.open_memmap(path, mode="r")  # runs no pickle, and allocates nothing
        # The file is as long as its header says, so at most MOST_NPY. If another program shortens it now, reading it
        # raises an error; the mapped file would end the process.
        actions = np.load(path, allow_pickle=False) if mapped.dtype.kind in NUMBERS else mapped
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
