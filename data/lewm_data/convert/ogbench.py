"""OGBench: an .npz file of all steps, one after the other, with pictures as observations.

    observations (N, Y, X, 3), actions (N, A), terminals (N,): true in the last row of an episode, qpos (N, Q), ...

Pictures of the locomotion and manipulation worlds have 64 x 64 pixels and three channels. Those of Powderworld have
32 x 32 and six, and its actions are numbers of options. Forks of OGBench stack several views: (N, V, Y, X, 3).

Pictures are unpacked as they are asked for: an OGBench file of pictures has 12 GB when it is unpacked.

Source: load_dataset and PowderworldEnv of ogbench 1.2, and generate_manipspace.py and generate_powderworld.py of
seohongpark/ogbench.

Letters: N steps of all episodes, R rows of an episode, Y and X the sides of a picture, V views, A action dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from lewm_data.convert.npz import AGAIN, NpzArray, names_in
from lewm_data.convert.roles import MOST_CHOICES, as_actions, one_hot
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION, MAX_FRAME

View = int | slice | tuple[slice, ...]  # an index into an observation
POWDERWORLD = 6  # channels of its observations: two pictures
OBSERVATIONS, ACTIONS, TERMINALS = "observations", "actions", "terminals"


def recognises(path: Path) -> bool:
    """Whether this is an .npz file with observations, actions and terminals."""
    return path.suffix.lower() == ".npz" and {OBSERVATIONS, ACTIONS, TERMINALS} <= set(names_in(path))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a file.

    Raises:
        DataError: Its observations are no pictures, its arrays have different lengths, or it is damaged.
    """
    observations = NpzArray(path, OBSERVATIONS)
    shape = observations.shape
    views = _views(shape) if observations.dtype == np.uint8 and 0 < math.prod(shape[1:]) <= MAX_FRAME else {}
    if not views:
        raise DataError(
            f"{path}: observations are {observations.dtype} {shape}, expected pictures, uint8 (N, Y, X, 3)",
            'Take a dataset of pictures, whose name begins with "visual" or "powderworld".',
        )
    chosen, camera_said = choose_camera(str(path), list(views), camera)
    others = [name for name in names_in(path) if name not in (OBSERVATIONS, ACTIONS, TERMINALS)]
    arrays = {name: NpzArray(path, name) for name in others}
    columns = {name: array.whole() for name, array in arrays.items() if array.is_numeric}
    kept, left_out = list(columns), [name for name in others if name not in columns]
    columns[ACTION], unit = _actions(path)
    ends = np.flatnonzero(NpzArray(path, TERMINALS).whole().reshape(-1)) + 1
    for name, values in columns.items():
        if len(values) != shape[0]:
            raise DataError(f"{path}: '{name}' has {len(values)} rows, observations {shape[0]}", AGAIN)
    if not len(ends) or ends[-1] != shape[0]:
        ends = np.append(ends, shape[0])
    begins = np.concatenate([[0], ends[:-1]])
    said = [camera_said, actions_said(ACTIONS, columns[ACTION].shape[1], unit)]
    if shape[-1] == POWDERWORLD:
        said.append("of Powderworld's six channels, 0 to 2 show the world, 3 to 5 what is about to be placed in it")
    said += columns_said(kept, left_out)
    said.append("row t is the action taken from observation t; an episode ends where terminals is true")

    def read(index: int) -> Episode:
        begin, end = int(begins[index]), int(ends[index])
        cut = {name: values[begin:end] for name, values in columns.items()}
        name = f"{path}: episode {index}"
        view = views[chosen]
        return Episode(name, end - begin, cut, None, lambda: _pictures(observations, view, begin, end - begin))

    return Source(
        format="OGBench",
        episodes=tuple(f"episode {index}" for index in range(len(ends))),
        read=read,
        assumptions=tuple(said),
        size=(shape[-3], shape[-2]),
        close=observations.close,
    )


def _views(shape: tuple[int, ...]) -> dict[str, View]:
    """The pictures in an observation, by the names that they get; none where its shape is no picture's."""
    if len(shape) == 5 and shape[4] == 3:
        return {f"view-{number}": np.s_[number] for number in range(shape[1])}
    if len(shape) != 4 or shape[3] == 0 or shape[3] % 3:
        return {}
    if shape[3] == 3:
        return {OBSERVATIONS: np.s_[:]}
    return {f"channels-{first}-{first + 2}": np.s_[:, :, first : first + 3] for first in range(0, shape[3], 3)}


def _actions(path: Path) -> tuple[Float32[np.ndarray, "N A"], str]:
    """All actions, and words for their unit. One whole number a row is a choice, as in Powderworld."""
    values = NpzArray(path, ACTIONS).whole()
    if values.dtype.kind not in "iu" or values.size != len(values) or not len(values):
        return as_actions(values), "in the environment's units"
    count = int(values.max()) + 1
    if count > MOST_CHOICES:
        raise DataError(f"{path}: actions of {count} options, at most {MOST_CHOICES} are read", "Leave it out.")
    return one_hot(str(path), values, 0, count), "a choice, as a one-hot vector: options up to the greatest in the file"


def _pictures(observations: NpzArray, view: View, first: int, count: int) -> Iterator[UInt8[np.ndarray, "Y X 3"]]:
    return (row[view] for row in observations.rows(first, count))
