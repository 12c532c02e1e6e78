"""DINO-WM's Push-T: tensors of all episodes, padded to the longest, and a video for each.

    train/ val/: states.pth (E, T, 5), velocities.pth (E, T, 2), rel_actions.pth (E, T, 2), obses/episode_000.mp4 ...

seq_lengths.pkl is a pickle, which could run any program, and is never opened: an episode is as long as its video.

Source: pusht_dset.py of gaoyuezhou/dino_wm.

Letters: E episodes, T steps of the longest, R pictures of an episode.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lewm_data.convert.media import all_pictures
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding
from lewm_data.store.contents import memory_limit
from lewm_data.store.schema import ACTION
from lewm_data.video.fit import not_square, picture_size
from lewm_data.video.video import import_av
from lewm_data.video.video_file import probe

SPLITS = ("train", "val")
OBSES = "obses"
VIDEO = re.compile(r"episode_(\d{1,9})\.mp4")
STATES, VELOCITIES, RELATIVE, ABSOLUTE = "states", "velocities", "rel_actions", "abs_actions"
MORE = "Convert it on a machine with more memory."
SCALE = 100  # by which the loader divides actions


@dataclass(frozen=True)
class _Split:
    """A folder of episodes.

    Attributes:
        path: The folder.
        videos: The video of each episode, and its row in the tensors.
        tensors: The tensors by the name of their file.
    """

    path: Path
    videos: tuple[tuple[Path, int], ...]
    tensors: dict[str, Float[np.ndarray, "E T _"]]


def recognises(path: Path) -> bool:
    """Whether this is a split, or a folder of splits."""
    return bool(_splits(path))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a split, or train and val together.

    Raises:
        DataError: A tensor is missing, is no tensor of numbers, or PyTorch is not installed.
    """
    import_av("reading a video")
    splits = [_open_split(one) for one in _splits(path)]
    named = RELATIVE if all(RELATIVE in split.tensors for split in splits) else ABSOLUTE
    for split in splits:
        if named not in split.tensors:
            raise DataError(f"{split.path}: has no {RELATIVE}.pth", "Copy it from where the videos came from.")
    kept = [name for name in (STATES, VELOCITIES) if all(name in split.tensors for split in splits)]
    episodes = [(split, video, row) for split in splits for video, row in split.videos]
    _, camera_said = choose_camera(str(path), [OBSES], camera)
    said = [camera_said, actions_said(f"{named}.pth", splits[0].tensors[named].shape[2], f"divided by {SCALE}")]
    said += columns_said(kept, ["seq_lengths.pkl, which is a pickle: an episode is as long as its video"])
    said.append("row t is the action taken from picture t")
    if len(splits) > 1:
        said.append("; ".join(f"{split.path.name}: {len(split.videos)} episodes" for split in splits) + ", together")
    said.append("the rate of the videos is not taken for that of the steps")
    first = probe(episodes[0][1]).first
    said += not_square(first)

    def read(index: int) -> Episode:
        split, video, row = episodes[index]
        file = probe(video)
        count = len(file.times()) - 1
        columns = {name: _of_episode(split, name, video, row, count) for name in kept}
        columns[ACTION] = _of_episode(split, named, video, row, count).astype(np.float32) / SCALE
        return Episode(str(video), count, columns, None, lambda: all_pictures(file, count))

    return Source(
        format="DINO-WM",
        episodes=tuple(str(video.relative_to(path)) for _, video, _ in episodes),
        read=read,
        assumptions=tuple(said),
        size=picture_size(first),
    )


def _splits(path: Path) -> list[Path]:
    return [
        one for one in (path, *(path / name for name in SPLITS)) if (one / f"{STATES}.pth").is_file() and _videos(one)
    ]


def _videos(split: Path) -> list[tuple[Path, int]]:
    """The videos of a split and their numbers, in the order of these."""
    folder = split / OBSES
    if not folder.is_dir():
        return []
    found = ((one, VIDEO.fullmatch(one.name)) for one in folder.iterdir())
    return sorted(((one, int(match[1])) for one, match in found if match), key=lambda video: video[1])


def _open_split(path: Path) -> _Split:
    files = [path / f"{name}.pth" for name in (STATES, VELOCITIES, RELATIVE, ABSOLUTE)]
    return _Split(path, tuple(_videos(path)), {file.stem: _tensor(file) for file in files if file.exists()})


def _tensor(path: Path) -> Float[np.ndarray, "E T _"]:
    """A tensor from a file of PyTorch's, read so that nothing in it is run."""
    import torch  # the only format that needs it

    check_file(path, memory_limit())
    with decoding(path, "is no file of one tensor that can be read", "Copy it again."):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(one.file_size for one in archive.infolist())
            if size > memory_limit():
                raise DataError(f"{path}: unpacks to {size:,} bytes, at most {memory_limit():,} fit here", MORE)
        values = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(values, torch.Tensor) or values.ndim != 3 or not values.is_floating_point():
            shape = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, torch.Tensor) else type(values)
            raise DataError(f"{path}: holds {shape}, expected a tensor of fractions (E, T, ...)", "Copy it again.")
        return values.numpy()  # a view: strides may repeat the few numbers that a file has any number of times


def _of_episode(split: _Split, name: str, video: Path, row: int, count: int) -> Float[np.ndarray, "R _"]:
    values = split.tensors[name]
    if row >= len(values) or count > values.shape[1]:
        raise DataError(
            f"{video}: has {count} pictures and the number {row}, {split.path / name}.pth holds {values.shape[0]} "
            f"episodes of at most {values.shape[1]} steps",
            "Copy the folder again: its parts are not of one dataset.",
        )
    return values[row, :count]
