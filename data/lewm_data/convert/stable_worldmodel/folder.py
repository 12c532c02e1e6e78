"""The folders of stable-worldmodel: columns as .npz files, pictures as JPEG files or as a video an episode.

    ep_len.npz ep_offset.npz action.npz ...   pixels/ep_0_step_0.jpeg ...   or pixels/ep_0.mp4 ...

Source: FolderWriter and VideoWriter of stable-worldmodel 0.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lewm_data.convert.media import all_pictures
from lewm_data.convert.npz import NpzArray
from lewm_data.convert.source import Source
from lewm_data.convert.stable_worldmodel.rows import LENGTHS, OFFSETS, Table, cameras_in, source
from lewm_data.errors import DataError
from lewm_data.video.pictures import displayed_size, read_image
from lewm_data.video.video import import_av
from lewm_data.video.video_file import probe

if TYPE_CHECKING:
    import av

ARRAY = "arr_0"  # the name that numpy.savez gives
ENDING = ".npz"
PICTURES = (".jpeg", ".jpg")


def recognises(path: Path) -> bool:
    """Whether this is a folder with the lengths of episodes, and folders of pictures."""
    return (path / f"{LENGTHS}{ENDING}").is_file() and bool(_pictured(path))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a folder.

    Raises:
        DataError: A file is damaged, or there is no such camera.
    """
    import_av("reading pictures")
    files = sorted(one for one in path.iterdir() if one.suffix == ENDING and one.stem not in (LENGTHS, OFFSETS))
    arrays = {file.name.removesuffix(ENDING): NpzArray(file, ARRAY) for file in files}
    table = Table(
        where=str(path),
        cameras=cameras_in(_pictured(path)),
        columns={name: array.whole() for name, array in arrays.items() if array.is_numeric},
        lengths=NpzArray(path / f"{LENGTHS}{ENDING}", ARRAY).whole(),
        offsets=NpzArray(path / f"{OFFSETS}{ENDING}", ARRAY).whole(),
        others=[name for name, array in arrays.items() if not array.is_numeric]
        + [name for name in _pictured(path) if name not in cameras_in(_pictured(path))],
    )
    return source(
        table,
        camera,
        lambda name: displayed_size(next(_pictures(path / name, 0, 1, check=False))),
        lambda name, episode, _, count: _pictures(path / name, episode, count),
    )


def _pictured(path: Path) -> list[str]:
    """Folders with pictures or a video of the first episode."""
    names = [f"ep_0_step_0{ending}" for ending in PICTURES] + ["ep_0.mp4"]
    folders = sorted(one for one in path.iterdir() if one.is_dir())
    return [folder.name for folder in folders if any((folder / name).is_file() for name in names)]


def _pictures(folder: Path, episode: int, count: int, check: bool = True) -> Iterator[av.VideoFrame]:
    video = folder / f"ep_{episode}.mp4"
    if not video.exists():
        yield from (read_image(_file(folder, episode, step)) for step in range(count))
        return
    file = probe(video)
    if not check:
        yield file.first
        return
    found = len(file.times()) - 1
    if found != count:
        raise DataError(f"{video}: has {found} pictures, expected {count} as in {LENGTHS}{ENDING}", "Copy it again.")
    yield from all_pictures(file, count)


def _file(folder: Path, episode: int, step: int) -> Path:
    named = [folder / f"ep_{episode}_step_{step}{ending}" for ending in PICTURES]
    return next((file for file in named if file.exists()), named[0])
