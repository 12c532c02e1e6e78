"""Reading videos frame by frame: files through PyAV, and folders of images.

Letters: Y and X the sides of a frame, V and U those of a resized frame. Time 0 is a video's first frame.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lewm_data.errors import DataError, missing
from lewm_data.foreign import decoding
from lewm_data.store.schema import FASTEST, SLOWEST
from lewm_data.video.pictures import displayed_size, pixels, read_image
from lewm_data.video.video_file import AGAIN, Picture, VideoFile, beyond_end, probe

if TYPE_CHECKING:
    import av

IMAGES = (".png", ".jpg", ".jpeg")
ROUNDING = 1e-6  # seconds by which rounding may change sums and quotients of times
MOST_REPEATS = 100_000  # the most frames that only repeat the one before: 3 hours of a standstill at 10 a second
LARGEST = 16_384  # the largest side of a resized frame in pixels, which is H.264's largest


@dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Attributes:
        time: Seconds from the video's first frame.
        pixels: Red, green, blue.
    """

    time: float
    pixels: UInt8[np.ndarray, "Y X 3"]


class Video:
    """A video file or a folder of images; `Video.open` makes it. All reading ends with its `with` block.

    Attributes:
        path: The file or folder.
        height: Y as displayed, after the turn that the file asks for.
        width: X as displayed, likewise; pixels that are not square are made so.
        fps: Frames a second, on average; None for a folder, which has no clock.
        duration: Duration in seconds that the file states; None where it states none, and for a folder.
        count: Number of frames that the file states or that follows from duration and rate, or None; for a folder the
            number of images.
    """

    path: Path
    height: int
    width: int
    fps: float | None
    duration: float | None
    count: int | None

    def __init__(self, path: Path) -> None:
        self.path = path
        import_av("reading a video")
        self._readings = ExitStack()
        self._source: VideoFile | list[Path]
        if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises if no file can have the name
            self._source = images_in(path)
            first = read_image(self._source[0])
            self.fps, self.duration, self.count = None, None, len(self._source)
        else:
            self._source = probe(path)
            first = self._source.first
            self.fps, self.duration, self.count = self._source.fps, self._source.duration, self._source.count
        self.height, self.width = displayed_size(first)

    @classmethod
    def open(cls, path: str | Path) -> Video:
        """Opens a video, or a folder of PNG and JPEG images in the natural order of their names.

        Raises:
            DataError: There is no such file, it is empty, is no video or has no picture, the folder has no images, or
                PyAV is not installed.
        """
        return cls(Path(path))

    def frames(
        self,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        start: float = 0.0,
        stop: float | None = None,
    ) -> Iterator[Frame]:
        """The frames from `start` up to, but without, `stop`, read one by one; transparent pixels are laid on white.

        Args:
            fps: None gives every stored frame at its time. A rate gives the frames that a player shows at the times
                k / fps. The images of a folder have this rate, or 1 a second with None.
            size: Y and X of the frames, resized with antialiasing; None leaves the size unchanged.
            start: Time in seconds.
            stop: Time in seconds; None means the end.

        Raises:
            DataError: A rate or size is out of bounds, `start` is below 0, or `stop` is not after it; while reading,
                `start` lies beyond the end, more than `MOST_REPEATS` frames repeat the one before, or an image of a
                folder cannot be read or differs in size from the first.
        """
        check_request(self.path, fps, size, start, stop)
        reading = self._read(fps, size or (self.height, self.width), start, math.inf if stop is None else stop)
        self._readings.callback(reading.close)
        return reading

    def close(self) -> None:
        """Ends all reading and closes the files."""
        self._readings.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(
        self, fps: float | None, size: tuple[int, int], start: float, stop: float
    ) -> Generator[Frame, None, None]:
        shown: Iterable[tuple[float, av.VideoFrame]]
        if not isinstance(self._source, VideoFile):
            shown = self._images(self._source, fps or 1.0, start, stop)
        elif fps is None:
            shown = ((picture.time, picture.image) for picture in self._source.pictures(start))
        else:
            shown = _sampled(self.path, self._source.pictures(start), fps, start, self._source.slack)
        for time, image in shown:
            if time >= stop - ROUNDING:
                return
            if time >= start - ROUNDING:
                with decoding(self.path, f"the picture at {time:g} s cannot be converted", AGAIN):
                    frame = Frame(time, pixels(image, size))
                yield frame

    def _images(
        self, files: list[Path], rate: float, start: float, stop: float
    ) -> Iterator[tuple[float, av.VideoFrame]]:
        for i in steps(self.path, len(files), rate, start, stop):
            image = read_image(files[i])
            height, width = displayed_size(image)
            if (height, width) != (self.height, self.width):
                raise DataError(
                    f"{files[i]}: is {width} x {height}, expected {self.width} x {self.height} as in {files[0].name}",
                    "Give all images of a folder one size.",
                )
            yield i / rate, image


def check_request(
    name: Path | str, fps: float | None, size: tuple[int, int] | None, start: float, stop: float | None
) -> None:
    """Raises unless the arguments of a request for frames are valid; `name` is for messages.

    Raises:
        DataError: A rate or size is out of bounds, `start` is below 0, or `stop` is not after it.
    """
    if fps is not None and not SLOWEST <= fps <= FASTEST:
        raise DataError(f"{name}: {fps:g} frames a second asked for", f"Ask for {SLOWEST:g} to {FASTEST:g}.")
    if size is not None and not 1 <= min(size) <= max(size) <= LARGEST:
        raise DataError(f"{name}: frames of {size[1]} x {size[0]} asked for", f"Ask for sides of 1 to {LARGEST}.")
    if not 0 <= start < math.inf:
        raise DataError(f"{name}: asked to start at {start:g} s", "Start at 0 s or later.")
    if stop is not None and not start < stop:
        raise DataError(f"{name}: asked to stop at {stop:g} s, having started at {start:g} s", "Stop later.")


def steps(name: Path | str, count: int, rate: float, start: float, stop: float) -> range:
    """The numbers i of `count` frames whose times i / rate lie from `start` up to, but without, `stop`.

    Raises:
        DataError: `start` lies beyond the end.
    """
    if count / rate <= start:
        raise beyond_end(name, start, count / rate)
    return range(math.ceil((start - ROUNDING) * rate), math.ceil(min(count, (stop - ROUNDING) * rate)))


def resized(frame: UInt8[np.ndarray, "Y X 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "V U 3"]:
    """The frame resized to `size` (Y, X) in the same way as videos; unchanged where it has that size."""
    if frame.shape[:2] == size:
        return frame
    av = import_av("resizing a frame")
    return pixels(av.VideoFrame.from_ndarray(frame, format="rgb24"), size)


def import_av(what: str) -> Any:  # noqa: ANN401
    """PyAV, which `what` ("writing a video") needs. Call it before long work that ends in a video.

    Raises:
        DataError: PyAV is not installed; the error says what to install.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise missing(f"{what} needs PyAV", "video") from error
    return av


def _sampled(
    path: Path, pictures: Iterator[Picture], fps: float, start: float, slack: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """The pictures that a player shows at the times k / fps, from `start` on."""
    k = math.ceil((start - ROUNDING) * fps)
    repeats = 0
    for picture in pictures:
        shown = 0
        while k / fps < picture.until - slack:
            repeats += shown > 0
            if repeats > MOST_REPEATS:
                raise DataError(
                    f"{path}: at {fps:g} frames a second more than {MOST_REPEATS:,} frames repeat the one before",
                    "Ask for fewer frames a second.",
                )
            yield k / fps, picture.image
            k, shown = k + 1, shown + 1


def images_in(folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder, in the natural order of their names.

    Raises:
        DataError: The folder cannot be listed, or has none.
    """
    with decoding(folder, "cannot be listed", "Give another folder."):
        files = list(folder.iterdir())
    images = [file for file in files if file.suffix.lower() in IMAGES and not file.name.startswith(".")]
    if not images:
        raise DataError(f"{folder}: no images in this folder", "Give a folder of .png or .jpg files, or a video.")
    return sorted(images, key=lambda file: natural(file.name))


def natural(name: str) -> list[int | str]:
    """A key that sorts names as people do: "step 9" before "step 10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
