"""robomimic: one HDF5 file of demonstrations, with pictures of one or more cameras among the observations.

    data/demo_0: actions (T, A), rewards (T,), obs/agentview_image (T, Y, X, 3), obs/robot0_eef_pos (T, 3), next_obs/...

Source: dataset_states_to_obs.py of ARISE-Initiative/robomimic 0.3. LIBERO and MimicGen have the same layout, but
create_dataset.py of Lifelong-Robot-Learning/LIBERO takes a row's observations after its action, and its state before.

Letters: T actions of a demonstration, Y and X the sides of a picture.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped, UInt8

from lewm_data.convert.appearance import Doubt
from lewm_data.convert.hdf5 import Hdf5, looks_like, numbered, source_of
from lewm_data.convert.roles import as_actions
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION, REWARD

if TYPE_CHECKING:
    import av

DATA, PREFIX = "data", "demo_"
ACTIONS, REWARDS, STATES = "actions", "rewards", "states"
KEPT_OUT = ("dones", "action_dict", "datagen_info", "robot_states")
JOINTS = "joint_states"
LIBERO = "bddl_file_name"  # an attribute that LIBERO alone writes: where the task is described


def recognises(path: Path) -> bool:
    """Whether this is a file of demonstrations."""
    return looks_like(path, lambda file: bool(numbered(file.names(DATA), PREFIX)))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a file.

    Raises:
        DataError: Its demonstrations have no pictures or no actions, or there is no such camera.
    """
    return source_of(path, lambda file: _opened(file, camera))


def _opened(file: Hdf5, camera: str | None) -> Source:
    demos = numbered(file.names(DATA), PREFIX)
    first = f"{DATA}/{demos[0]}"
    observed = file.names(f"{first}/obs")
    cameras = [name for name in observed if file.is_pictures(f"{first}/obs/{name}")]
    if not cameras:
        raise DataError(
            f"{file.path}: its demonstrations have no pictures, only {', '.join(observed) or 'nothing'}",
            "Add them with robomimic's dataset_states_to_obs.py and its option --camera_names.",
        )
    chosen, camera_said = choose_camera(str(file.path), cameras, camera)
    ended = file.holds(f"{first}/next_obs/{chosen}")
    late = not ended and _is_late(file, demos)
    kept = [name for name in observed if name not in cameras and file.is_numeric(f"{first}/obs/{name}")]
    columns = [*kept, *([] if ended or late else [STATES])]
    left_out = [name for name in observed if name not in cameras and name not in kept]
    left_out += [name for name in file.names(first) if name in KEPT_OUT or (name == STATES and STATES not in columns)]
    said = [camera_said, actions_said(ACTIONS, file.dataset(f"{first}/{ACTIONS}").shape[-1])]
    said += columns_said([*columns, REWARD], left_out)
    if late:
        said.append("recorded by LIBERO: observation t follows action t, and row t + 1 is the action taken from it")
    else:
        said.append("row t is the action taken from observation t")
    if ended:
        said.append("the picture after an episode's last action is that of next_obs")
    return Source(
        format="robomimic",
        episodes=tuple(demos),
        read=lambda index: _read(file, demos[index], chosen, columns, ended, late),
        assumptions=tuple(said),
        size=file.picture_size(f"{first}/obs/{chosen}"),
        fps=_rate(file),
        doubt=_doubt(file),
        close=file.close,
    )


def _read(file: Hdf5, demo: str, camera: str, kept: list[str], ended: bool, late: bool) -> Episode:
    where = f"{DATA}/{demo}"
    columns = {name: _with_last(file, where, name, ended) for name in kept if name != STATES}
    if STATES in kept and file.holds(f"{where}/{STATES}"):
        columns[STATES] = file.numbers(f"{where}/{STATES}")
    first = int(late)  # the action before the first picture led to it
    columns[ACTION] = as_actions(file.numbers(f"{where}/{ACTIONS}", slice(first, None)))
    if file.holds(f"{where}/{REWARDS}"):
        columns[REWARD] = file.numbers(f"{where}/{REWARDS}", slice(first, None)).astype(np.float32)
    rows = len(file.dataset(f"{where}/obs/{camera}")) + ended
    rate = _rate(file)
    times = None if rate is None else np.arange(rows) / rate
    return Episode(f"{file.path}: {demo}", rows, columns, times, lambda: _pictures(file, where, camera, ended))


def _with_last(file: Hdf5, where: str, name: str, ended: bool) -> Shaped[np.ndarray, "_ ..."]:
    """The observations of a demonstration, with the one after the last action where it was recorded."""
    values = file.numbers(f"{where}/obs/{name}")
    return np.concatenate([values, file.numbers(f"{where}/next_obs/{name}", slice(-1, None))]) if ended else values


def _pictures(file: Hdf5, where: str, camera: str, ended: bool) -> Iterator[av.VideoFrame | UInt8[np.ndarray, "Y X 3"]]:
    last = file.pictures(f"{where}/next_obs/{camera}", slice(-1, None)) if ended else ()
    return itertools.chain(file.pictures(f"{where}/obs/{camera}"), last)


def _is_late(file: Hdf5, demos: Sequence[str]) -> bool:
    """Whether observations follow the action of their row, as LIBERO records them.

    Files that others recorded anew keep its attributes, but not this: where the joints are among the observations and
    in the states, which are of before the action, the first demonstration in which they move tells.
    """
    if file.text(DATA, LIBERO) is None:
        return False
    for demo in demos:
        names = f"{DATA}/{demo}/obs/{JOINTS}", f"{DATA}/{demo}/{STATES}"
        if not all(file.holds(name) for name in names):
            continue
        seen, before = (file.numbers(name) for name in names)
        if seen.ndim != 2 or before.ndim != 2 or len(seen) != len(before) or seen.shape[1] >= before.shape[1]:
            continue
        joints = before[:, 1 : 1 + seen.shape[1]]  # after the time
        if len(seen) < 2 or not np.isfinite([seen, joints]).all():
            continue
        after, same = np.abs(seen[:-1] - joints[1:]).mean(), np.abs(seen - joints).mean()
        if after != same:
            return bool(after < same)
    return True


def _doubt(file: Hdf5) -> Doubt:
    """Which way up the pictures are: robosuite gives rows from the bottom, which robomimic alone turns over.

    Source: IMAGE_CONVENTION of robosuite's macros, which LIBERO's create_dataset.py writes into its files.
    """
    over = "--flip vertical turns them over"
    if file.text(DATA, "macros_image_convention") == "opengl":
        return Doubt(flip=f"pictures as they are stored, although the file says that they are upside down ({over})")
    return Doubt(flip=f"pictures as they are stored ({over}, if they are upside down)")


def _rate(file: Hdf5) -> float | None:
    """Steps a second of the environment, where the file says it."""
    try:
        environment = json.loads(file.text(DATA, "env_args") or "null")
        rate = environment["env_kwargs"]["control_freq"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return float(rate) if isinstance(rate, int | float) and 0 < rate < 1e4 else None
