"""OGBench: an .npz file of all steps, one after the other, with pictures as observations.

    observations (N, Y, X, 3), actions (N, A), terminals (N,): true in the last row of an episode, qpos (N, Q), ...

Pictures are unpacked as they are asked for: an OGBench file of pictures has 12 GB when it is unpacked.

Source: load_dataset of ogbench 1.2, and generate_manipspace.py of seohongpark/ogbench.

Letters: N steps of all episodes, R rows of an episode, Y and X the sides of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lewm_data.convert.npz import AGAIN, NpzArray, names_in
from lewm_data.convert.roles import as_actions
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION, MAX_FRAME

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
    if observations.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or not 0 < math.prod(shape[1:]) <= MAX_FRAME:
        raise DataError(
            f"{path}: observations are {observations.dtype} {shape}, expected pictures, uint8 (N, Y, X, 3)",
            'Take a dataset of pictures, whose name begins with "visual".',
        )
    _, camera_said = choose_camera(str(path), [OBSERVATIONS], camera)
    others = [name for name in names_in(path) if name not in (OBSERVATIONS, ACTIONS, TERMINALS)]
    arrays = {name: NpzArray(path, name) for name in others}
    columns = {name: array.whole() for name, array in arrays.items() if array.is_numeric}
    kept, left_out = list(columns), [name for name in others if name not in columns]
    columns[ACTION] = as_actions(NpzArray(path, ACTIONS).whole())
    ends = np.flatnonzero(NpzArray(path, TERMINALS).whole().reshape(-1)) + 1
    for name, values in columns.items():
        if len(values) != shape[0]:
            raise DataError(f"{path}: '{name}' has {len(values)} rows, observations {shape[0]}", AGAIN)
    if not len(ends) or ends[-1] != shape[0]:
        ends = np.append(ends, shape[0])
    begins = np.concatenate([[0], ends[:-1]])
    said = [camera_said, actions_said(ACTIONS, columns[ACTION].shape[1], "in the environment's units")]
    said += columns_said(kept, left_out)
    said.append("row t is the action taken from observation t; an episode ends where terminals is true")

    def read(index: int) -> Episode:
        begin, end = int(begins[index]), int(ends[index])
        cut = {name: values[begin:end] for name, values in columns.items()}
        name = f"{path}: episode {index}"
        return Episode(name, end - begin, cut, None, lambda: _pictures(observations, begin, end - begin))

    return Source(
        format="OGBench",
        episodes=tuple(f"episode {index}" for index in range(len(ends))),
        read=read,
        assumptions=tuple(said),
        size=(shape[1], shape[2]),
        close=observations.close,
    )


def _pictures(observations: NpzArray, first: int, count: int) -> Iterator[UInt8[np.ndarray, "Y X 3"]]:
    return observations.rows(first, count)
