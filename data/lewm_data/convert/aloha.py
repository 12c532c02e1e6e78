"""ALOHA: an HDF5 file an episode, with joints and one or more cameras.

    episode_0.hdf5: action (T, A), observations/qpos (T, J), observations/images/cam_high (T, Y, X, 3) or a JPEG a row

Source: record_episodes.py of tonyzhaozh/aloha and MarkFzp/mobile-aloha, and forks of them.

Letters: R rows of an episode, Y and X the sides of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from lewm_data.convert.appearance import BGR, RGB, Doubt
from lewm_data.convert.hdf5 import ENDINGS, Hdf5, looks_like
from lewm_data.convert.roles import as_actions, joined
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.store.schema import ACTION
from lewm_data.video.video import import_av, natural

if TYPE_CHECKING:
    import av

IMAGES, OBSERVATIONS = "observations/images", "observations"
RATE = 50  # steps a second of ALOHA's own recorder, which does not write it down: DT = 0.02 in its constants.py
LENGTHS = "compress_len"
BASE = "base_action"  # the velocities of a mobile robot's base, which belong to the action


def recognises(path: Path) -> bool:
    """Whether this is an episode, or a folder of episodes."""
    return any(looks_like(one, _is_episode) for one in _files(path)[:1])


def opens(path: Path, camera: str | None) -> Source:
    """Opens an episode, or a folder of episodes in the natural order of their names.

    Raises:
        DataError: The first episode cannot be read, or there is no such camera.
    """
    import_av("reading pictures")
    files = _files(path)
    first = Hdf5.open(files[0])
    try:
        chosen, camera_said = choose_camera(str(path), first.names(IMAGES), camera)
        doubt = _doubt(first, chosen)
        kept = [name for name in _others(first) if first.is_numeric(name)]
        size = first.picture_size(f"{IMAGES}/{chosen}")
        left_out = [_short(name) for name in _others(first) if name not in kept]
        actions = [name for name in (ACTION, BASE) if first.holds(name)]
        width = sum(first.dataset(name).shape[-1] for name in actions)
        said = [camera_said, actions_said(", ".join(actions), width, "as sent to the motors")]
        said += columns_said([_short(name) for name in kept], left_out)
    finally:
        first.close()
    said.append("row t is the action sent after picture t was taken")
    said.append(f"the rate is not in the files: ALOHA records {RATE} steps a second (--fps {RATE} says so)")
    return Source(
        format="ALOHA",
        episodes=tuple(str(file.relative_to(path)) if file != path else file.name for file in files),
        read=lambda index: _read(files[index], chosen, actions, kept),
        assumptions=tuple(said),
        size=size,
        doubt=doubt,
    )


def _is_episode(file: Hdf5) -> bool:
    return file.holds(ACTION) and bool(file.names(IMAGES))


def _files(path: Path) -> list[Path]:
    """The HDF5 files of a folder in the natural order of their names, or the file itself."""
    if not path.is_dir():
        return [path]
    found = (one for one in path.iterdir() if one.suffix.lower() in ENDINGS and not one.name.startswith("."))
    return sorted(found, key=lambda one: natural(one.name))


def _read(path: Path, camera: str, actions: list[str], kept: list[str]) -> Episode:
    name = f"{IMAGES}/{camera}"
    file = Hdf5.open(path)
    try:
        columns = {_short(one): file.numbers(one) for one in kept}
        columns[ACTION] = joined(str(path), {one: as_actions(file.numbers(one)) for one in actions})
        rows = len(file.dataset(name))
    finally:
        file.close()
    return Episode(str(path), rows, columns, None, lambda: _pictures(path, name))


def _pictures(path: Path, name: str) -> Iterator[av.VideoFrame | UInt8[np.ndarray, "Y X 3"]]:
    file = Hdf5.open(path)
    try:
        yield from file.pictures(name)
    finally:
        file.close()


def _others(file: Hdf5) -> list[str]:
    """All datasets besides the actions and the pictures; compress_len is about the pictures."""
    outside = [name for name in file.names() if file.holds(name) and name not in (ACTION, BASE, LENGTHS)]
    return [*outside, *(name for name in file.within(OBSERVATIONS) if not name.startswith(f"{IMAGES}/"))]


def _short(name: str) -> str:
    return name.removeprefix(f"{OBSERVATIONS}/").replace("/", ".")


def _doubt(file: Hdf5, camera: str) -> Doubt:
    """The order of the colours, which ALOHA's recorder reverses where it has OpenCV make JPEG rows.

    OpenCV takes red, green, blue for the reverse, and ALOHA's loader has it read the rows, which reverses them once
    more. This recorder alone adds the lengths of the rows.
    """
    if file.holds(LENGTHS) and file.dataset(f"{IMAGES}/{camera}").ndim < 4:
        said = "red and blue of the JPEG rows are exchanged, as ALOHA's recorder stores and its loader reads them"
        return Doubt(BGR, f"{said} (--color-order {RGB} leaves them as they are)")
    return Doubt(
        RGB, f"colours as they are stored (--color-order {BGR} exchanges red and blue, if they look exchanged)"
    )
