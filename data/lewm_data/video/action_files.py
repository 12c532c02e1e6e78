"""Actions that belong to a video, from a table of numbers or an episode of a dataset.

Letters: T actions, A action dimension.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from lewm_data.convert.clock import clock_of
from lewm_data.convert.first_line import FirstLine
from lewm_data.convert.roles import roles_of
from lewm_data.convert.sampling import FASTER, HOLD, resampled, rows_at
from lewm_data.errors import DataError, unknown
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION
from lewm_data.tables import TABLES, read_table
from lewm_data.video.sources import DATASETS, is_dataset, split_episode


@dataclass(frozen=True)
class Clip:
    """The video that actions belong to.

    Attributes:
        fps: Its pictures a second; None where they have no clock.
        count: How many it has, if that is known.
        duration: Its seconds, if they are known.
    """

    fps: float | None = None
    count: int | None = None
    duration: float | None = None


UNKNOWN = Clip()


@dataclass(frozen=True)
class Actions:
    """Actions from a file.

    Attributes:
        values: The actions in environment units, one a step.
        timed: Whether the file says when each was taken; then they are at the times k / fps of the video.
    """

    values: Float32[np.ndarray, "T A"]
    timed: bool


def read_actions(
    path: str | Path, action_dim: int, fps: float | None = None, resample: str = HOLD, clip: Clip = UNKNOWN
) -> Actions:
    """Reads actions. A last row of NaN is left out: it means no action after the last frame.

    A row is one step, unless the table has a column of times and `fps` is given.

    Args:
        path: A table, see `lewm_data.tables.read_table`, whose columns are understood as in `lewm data convert`; or a
            dataset, with "#" and the episode's number ("data.h5#17") unless it has only one episode.
        action_dim: A.
        fps: Steps a second; None takes every row.
        resample: How the actions between two steps become one, see `lewm_data.convert.sampling.resampled`.
        clip: The video that they belong to. A table without times that has a row for each of its pictures is taken at
            their rate.

    Raises:
        DataError: There is no such file, it is of another kind, it has no actions or another number of columns, or a
            value is not a finite number.
    """
    file, episode = split_episode(str(path))
    timed = False
    if is_dataset(file):
        actions = _read_dataset(file, episode)
    elif file.suffix.lower() in TABLES:
        actions, timed = _read_table(file, fps, resample, clip)
    else:
        raise unknown("ending of a file of actions", file.suffix, (*TABLES, *DATASETS))
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
    return Actions(actions, timed)


def _read_table(path: Path, fps: float | None, resample: str, clip: Clip) -> tuple[Float[np.ndarray, "T A"], bool]:
    """The actions of a table, and whether they are at the times k / fps."""
    table = read_table(path)
    table = FirstLine.of(path, table, lambda: clip.count).applied(table)
    roles = roles_of(str(path), table)
    actions = np.concatenate([table.columns[name] for name in roles.actions], axis=1)
    if fps is None or len(actions) < 2:
        return actions, False
    if roles.time is not None:
        stamps = table.columns[roles.time][:, 0]
        seconds = clock_of(path, roles.time, stamps, clip.duration).seconds(path, stamps)
        if seconds[-1] < 0:
            raise DataError(f"{path}: all its times are before the video's first picture", "Correct the times.")
    elif clip.fps and clip.count and clip.fps > FASTER * fps and abs(len(actions) - clip.count) <= 1:
        seconds = np.arange(len(actions)) / clip.fps
    else:
        return actions, False
    rows = rows_at(seconds, fps, 0.0)
    return resampled({ACTION: actions}, rows, resample)[ACTION], True


def _read_dataset(path: Path, episode: int | None) -> Float[np.ndarray, "T A"]:
    with Dataset.open(path) as dataset:
        if episode is None and dataset.num_episodes > 1:
            raise DataError(f"{path}: has {dataset.num_episodes} episodes", f"Name one of them: {path}#0")
        return dataset.column(ACTION, np.array([episode or 0]))
