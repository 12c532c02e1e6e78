"""Actions that belong to a video, from a table of numbers or an episode of a dataset.

Letters: T actions, A action dimension.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from lewm_data.errors import DataError, unknown
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION
from lewm_data.tables import TABLES, read_table
from lewm_data.video.sources import DATASETS, is_dataset, split_episode


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


def _read_dataset(path: Path, episode: int | None) -> Float[np.ndarray, "T A"]:
    with Dataset.open(path) as dataset:
        if episode is None and dataset.num_episodes > 1:
            raise DataError(f"{path}: has {dataset.num_episodes} episodes", f"Name one of them: {path}#0")
        return dataset.column(ACTION, np.array([episode or 0]))
