"""Opening a Minari dataset, and reading its episodes.

Letters: T actions of an episode.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lewm_data.convert.hdf5 import Hdf5, looks_like, numbered, source_of
from lewm_data.convert.minari.arrow import OBSERVATIONS, PREFIX, ArrowEpisodes, is_storage
from lewm_data.convert.minari.spaces import METADATA, choices
from lewm_data.convert.roles import as_actions, column_name, one_hot
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION, REWARD
from lewm_data.video.video import import_av

FILE = "main_data.hdf5"
ACTIONS, REWARDS, INFOS = "actions", "rewards", "infos"


def recognises(path: Path) -> bool:
    """Whether this is a dataset's folder, its folder `data`, or the file in that."""
    if _arrow(path) is not None:
        return True
    first = f"{PREFIX}0/{OBSERVATIONS}"
    return looks_like(_file(path), lambda file: bool(file.names(first) or file.holds(first)))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a dataset.

    Raises:
        DataError: Its observations have no pictures, its actions are of several parts, there is no such camera, or a
            package is missing.
    """
    folder = _arrow(path)
    if folder is None:
        return source_of(_file(path), lambda file: _opened(file, path, camera))
    import_av("reading pictures")
    return _opened(ArrowEpisodes(folder), path, camera)


def _opened(file: Hdf5 | ArrowEpisodes, path: Path, camera: str | None) -> Source:
    episodes = numbered(file.names(), PREFIX)
    first = episodes[0]
    observed = [name.removeprefix(f"{first}/") for name in file.within(f"{first}/{OBSERVATIONS}")]
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
    example = file.numbers(f"{first}/{ACTIONS}", slice(0, 1))
    folder = file.path if isinstance(file, ArrowEpisodes) else file.path.parent
    options = choices(folder / METADATA) if example.dtype.kind in "iu" else None
    kept = [name for name in observed if name not in pictured and file.is_numeric(f"{first}/{name}")]
    left_out = [_short(name) for name in observed if name not in kept and name not in pictured]
    left_out += [INFOS] if file.names(f"{first}/{INFOS}") else []
    width = options[1] if options else as_actions(example).shape[1]
    unit = "a choice, as a one-hot vector" if options else "in the environment's units"
    said = [camera_said, actions_said(ACTIONS, width, unit)]
    said += columns_said([*map(_column, kept), REWARD], left_out)
    said.append("row t is the action taken from observation t")

    def read(index: int) -> Episode:
        episode = episodes[index]
        columns = {_column(name): file.numbers(f"{episode}/{name}") for name in kept}
        actions = file.numbers(f"{episode}/{ACTIONS}")
        columns[ACTION] = one_hot(f"{file.path}: {episode}", actions, *options) if options else as_actions(actions)
        columns[REWARD] = file.numbers(f"{episode}/{REWARDS}").astype(np.float32)
        pictures = f"{episode}/{where}"
        rows = file.count(pictures)
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


def _arrow(path: Path) -> Path | None:
    """The folder with the episodes of a dataset in Minari's other storages, a folder an episode; None for others."""
    return next((one for one in (path / "data", path) if is_storage(one)), None)


def _short(name: str) -> str:
    """An observation's name within the observations; that of one array is "observations"."""
    return column_name(name.removeprefix(f"{OBSERVATIONS}/"))


def _column(name: str) -> str:
    """The name of an observation's column, as `lewm collect` gives it."""
    short = _short(name)
    return "observation" if short == OBSERVATIONS else f"observation.{short}"
