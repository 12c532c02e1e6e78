"""Minari: a folder with an HDF5 file of episodes and a file that describes their spaces.

    data/main_data.hdf5: episode_0: observations (T + 1, ...) or a group of them, actions (T, A), rewards (T,), ...
    data/metadata.json: the spaces as text

Source: HDF5Storage of minari 0.5.4.

Letters: T actions of an episode, A their width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from lewm_data.convert.hdf5 import Hdf5, looks_like, numbered, source_of
from lewm_data.convert.roles import as_actions, column_name
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding
from lewm_data.store.schema import ACTION, REWARD

FILE, METADATA = "main_data.hdf5", "metadata.json"
PREFIX = "episode_"
OBSERVATIONS, ACTIONS, REWARDS, INFOS = "observations", "actions", "rewards", "infos"
MOST_METADATA = 1 << 27  # bytes: it has the limits of every pixel, 4 MB for pictures of 224 x 224
MOST_CHOICES = 4096  # options of a discrete action, each of which becomes a number


def recognises(path: Path) -> bool:
    """Whether this is a dataset's folder, its folder `data`, or the file in that."""
    if _is_arrow(path):
        return True
    return looks_like(_file(path), lambda file: bool(file.names(f"{PREFIX}0/{OBSERVATIONS}") or _whole(file)))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a dataset.

    Raises:
        DataError: Its observations have no pictures, its actions are of several parts, it is stored as Arrow files, or
            there is no such camera.
    """
    if _is_arrow(path):
        raise DataError(
            f"{path}: is stored as Arrow files, expected {FILE}", 'Record it with data_format="hdf5", or copy it so.'
        )
    return source_of(_file(path), lambda file: _opened(file, path, camera))


def _opened(file: Hdf5, path: Path, camera: str | None) -> Source:
    episodes = numbered(file.names(), PREFIX)
    first = episodes[0]
    observed = file.within(f"{first}/{OBSERVATIONS}") if not _whole(file) else [f"{first}/{OBSERVATIONS}"]
    observed = [name.removeprefix(f"{first}/") for name in observed]
    pictured = [name for name in observed if file.is_pictures(f"{first}/{name}")]
    if not pictured:
        raise DataError(
            f"{path}: its observations have no pictures, only {', '.join(map(_short, observed)) or 'nothing'}",
            "Record them with pictures, for example through gymnasium.wrappers.AddRenderObservation.",
        )
    chosen, camera_said = choose_camera(str(path), [_short(name) for name in pictured], camera)
    where = pictured[[_short(name) for name in pictured].index(chosen)]
    if not file.holds(f"{first}/{ACTIONS}"):
        parts = ", ".join(file.names(f"{first}/{ACTIONS}")) or "none"
        raise DataError(f"{path}: its actions are in several parts: {parts}", "Record them as one array.")
    whole = file.dataset(f"{first}/{ACTIONS}").dtype.kind in "iu"
    choices = _choices(file.path.with_name(METADATA)) if whole else None
    kept = [name for name in observed if name not in pictured and file.is_numeric(f"{first}/{name}")]
    left_out = [_short(name) for name in observed if name not in kept and name not in pictured]
    left_out += [INFOS] if file.names(f"{first}/{INFOS}") else []
    width = choices[1] if choices else as_actions(file.numbers(f"{first}/{ACTIONS}", slice(0, 1))).shape[1]
    unit = "a choice, as a one-hot vector" if choices else "in the environment's units"
    said = [camera_said, actions_said(ACTIONS, width, unit)]
    said += columns_said([*map(_column, kept), REWARD], left_out)
    said.append("row t is the action taken from observation t")

    def read(index: int) -> Episode:
        episode = episodes[index]
        columns = {_column(name): file.numbers(f"{episode}/{name}") for name in kept}
        actions = file.numbers(f"{episode}/{ACTIONS}")
        columns[ACTION] = _one_hot(f"{file.path}: {episode}", actions, choices) if choices else as_actions(actions)
        columns[REWARD] = file.numbers(f"{episode}/{REWARDS}").astype(np.float32)
        rows = len(file.dataset(f"{episode}/{where}"))
        pictures = f"{episode}/{where}"
        return Episode(f"{file.path}: {episode}", rows, columns, None, lambda: file.pictures(pictures))

    return Source(
        format="Minari",
        episodes=tuple(episodes),
        read=read,
        assumptions=tuple(said),
        size=file.picture_size(f"{first}/{where}"),
        close=file.close,
    )


def _file(path: Path) -> Path:
    """The file of a dataset that is given as its folder, as the folder `data`, or as that file."""
    return next((one for one in (path / "data" / FILE, path / FILE) if one.is_file()), path)


def _is_arrow(path: Path) -> bool:
    """Whether this is the folder of a dataset in Minari's other storage, a folder an episode."""
    return (path / "data" / METADATA).is_file() and (path / "data" / "0").is_dir()


def _whole(file: Hdf5) -> bool:
    """Whether the observation is one array."""
    return file.holds(f"{PREFIX}0/{OBSERVATIONS}")


def _short(name: str) -> str:
    """An observation's name within the observations; that of one array is "observations"."""
    return column_name(name.removeprefix(f"{OBSERVATIONS}/"))


def _column(name: str) -> str:
    """The name of an observation's column, as `lewm collect` gives it."""
    short = _short(name)
    return "observation" if short == OBSERVATIONS else f"observation.{short}"


def _choices(path: Path) -> tuple[int, int] | None:
    """The first option and the number of options of a discrete action; None where the action is none."""
    space = _action_space(path)
    if space.get("type") != "Discrete":
        return None
    first, count = space.get("start", 0), space.get("n")
    if not (isinstance(first, int) and isinstance(count, int) and 0 < count <= MOST_CHOICES):
        raise DataError(f"{path}: actions of {count} options, at most {MOST_CHOICES} are read", "Leave it out.")
    return first, count


def _action_space(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise DataError(f"{path}: no such file, and the actions are choices", "Copy the whole folder of the dataset.")
    check_file(path, MOST_METADATA)
    with decoding(path, "is no description of a dataset by Minari", "Copy the dataset again."):
        space = json.loads(json.loads(path.read_bytes())["action_space"])
        return {"type": space["type"], **space}


def _one_hot(where: str, values: Shaped[np.ndarray, "T ..."], choices: tuple[int, int]) -> Float32[np.ndarray, "T A"]:
    first, count = choices
    numbers = values.reshape(-1).astype(np.int64) - first
    if len(numbers) != len(values) or ((numbers < 0) | (numbers >= count)).any():
        raise DataError(f"{where}: has other actions than the {count} options of its space", "Leave it out.")
    return np.eye(count, dtype=np.float32)[numbers]
