"""Frames to look at, from a video, a folder of images, or an episode of a dataset.

Letters: T frames of an episode, A action dimension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION
from lewm_data.video.video import Frame, Video, check_request, resized, steps

DATASETS = (".h5", ".hdf5")
READ_TOGETHER = 32  # frames of a dataset that are read at a time: 5 MB at 224 × 224


@dataclass(frozen=True)
class Episode:
    """One episode of an open dataset as a video, with one frame for each environment step."""

    dataset: Dataset
    index: int
    name: str

    def frames(
        self, fps: float | None, size: tuple[int, int] | None, start: float, stop: float | None
    ) -> Iterator[Frame]:
        """The frames, with the arguments and results of `Source.frames`."""
        check_request(self.name, fps, size, start, stop)
        return self._read(fps or 1.0, size or self.dataset.frame_size, start, math.inf if stop is None else stop)

    def close(self) -> None:
        """Closes the dataset."""
        self.dataset.close()

    def _read(self, rate: float, size: tuple[int, int], start: float, stop: float) -> Iterator[Frame]:
        rows = self.dataset.rows(np.array([self.index]))
        chosen = steps(self.name, len(rows), rate, start, stop)
        for first in range(0, len(chosen), READ_TOGETHER):
            group = chosen[first : first + READ_TOGETHER]
            frames = self.dataset.frames(rows[group])
            self.dataset.check_frames(rows[group], frames)
            for step, frame in zip(group, frames, strict=True):
                yield Frame(step / rate, resized(frame, size))


@dataclass(frozen=True)
class Source:
    """Frames in their order, and the actions between them where they are known. Close it, or use `with`.

    Attributes:
        name: The name by which the source was opened.
        fps: Frames a second, on average; None where there is no clock, in a folder and in a dataset.
        count: Number of frames; in a video this is an estimate, or None.
        actions: Actions in environment units, `actions[t]` between frames t and t + 1; None except for a dataset.
        steps_per_second: The rate that a dataset states; None where it states none, and for other sources.
    """

    name: str
    fps: float | None
    count: int | None
    actions: Float32[np.ndarray, "K A"] | None
    _media: Video | Episode
    steps_per_second: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds of a video; None where they are not known."""
        stated = self._media.duration if isinstance(self._media, Video) else None
        return self.count / self.fps if stated is None and self.count and self.fps else stated

    def frames(
        self,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        start: float = 0.0,
        stop: float | None = None,
    ) -> Iterator[Frame]:
        """The frames from `start` up to, but without, `stop`, read a few at a time.

        Args:
            fps: For a video, see `Video.frames`. Images of a folder and steps of an episode are one frame each, 1 / fps
                seconds apart, or 1 second with None, so that their times are their numbers.
            size: Y and X of the frames, resized with antialiasing; None leaves the size unchanged.
            start: Time in seconds.
            stop: Time in seconds; None means the end.

            Raises:
                DataError: See `Video.frames`.
        """
        return self._media.frames(fps, size, start, stop)

    def close(self) -> None:
        """Ends all reading and closes the files."""
        self._media.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(spec: str) -> Source:
    """Opens a video, a folder of images, or an episode of a dataset.

    Args:
        spec: A path; for an episode the path of the dataset, "#" and the episode's number: "data.h5#17".

        Raises:
            DataError: It cannot be read, or it is a dataset and the episode's number is missing or does not exist.
    """
    path, episode = split_episode(spec)
    if not is_dataset(path):
        video = Video.open(path)
        return Source(spec, video.fps, video.count, None, video)
    if episode is None:
        raise DataError(f"{spec}: is a dataset, expected one of its episodes", f"Name an episode: {path}#0")
    dataset = Dataset.open(path)
    try:
        actions = dataset.column(ACTION, np.array([episode]))[:-1].astype(np.float32)
    except DataError:
        dataset.close()
        raise
    rate = dataset.attributes.get("fps")
    stated = float(rate) if isinstance(rate, int | float) else None
    return Source(spec, None, len(actions) + 1, actions, Episode(dataset, episode, spec), stated)


def split_episode(spec: str) -> tuple[Path, int | None]:
    """The path and the episode's number of "data.h5#17"; the path and None for any other path.

    Raises:
        DataError: The text after the "#" is not a number.
    """
    path, mark, number = spec.rpartition("#")
    if not mark or not is_dataset(Path(path)):
        return Path(spec), None
    if not re.fullmatch(r"-?[0-9]{1,18}", number):  # 18 digits fit 64 bits; Dataset checks whether it has the episode
        raise DataError(f'{spec}: expected the number of an episode after "#"', f"For example: {path}#0")
    return Path(path), int(number)


def is_dataset(path: Path) -> bool:
    """Whether a file has the ending of datasets, in small or capital letters."""
    return path.suffix.lower() in DATASETS
