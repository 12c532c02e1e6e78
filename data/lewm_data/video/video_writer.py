"""Writing videos: frame by frame as .mp4, or all at once.

Letters: T frames, Y and X their sides.
"""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lewm_data.errors import DataError, unknown
from lewm_data.temporary import replacing
from lewm_data.video.video import import_av

if TYPE_CHECKING:
    import av

ENCODERS = {"mp4": "libx264", "gif": "gif"}  # by the ending of the file
CONSTANT_QUALITY = {"crf": "20", "preset": "veryfast"}  # options of H.264 that keep black and white sharp


def import_encoder(ending: str) -> Any:  # noqa: ANN401
    """PyAV, with the encoder for an ending ("mp4" or "gif"). Call it before long work that ends in a video.

    Raises:
        DataError: The ending is another one, PyAV is not installed, or it lacks the encoder.
    """
    if ending not in ENCODERS:
        raise unknown("video ending", ending, list(ENCODERS))
    av = import_av("writing a video")
    if ENCODERS[ending] not in av.codecs_available:
        raise DataError(
            f"writing .{ending} needs the encoder {ENCODERS[ending]}, which this PyAV comes without",
            'Run: pip install --force-reinstall "av"',
        )
    return av


def write_video(path: Path, frames: UInt8[np.ndarray, "T Y X 3"], fps: float) -> None:
    """Writes frames as .mp4 (H.264) or .gif; the file is written whole or not at all.

    Raises:
        DataError: The ending is another one, a side is odd (mp4), there are no frames, or PyAV is not installed.
    """
    ending = path.suffix.removeprefix(".")
    import_encoder(ending)
    if len(frames) == 0:
        raise _no_frames(path)
    if ending == "gif":
        _write_gif(path, frames, _rate(fps))
        return
    with VideoWriter(path, fps) as video:
        for frame in frames:
            video.write(frame)


class VideoWriter:
    """Writes an .mp4 (H.264) frame by frame in a `with` block; after the block the file is whole, or not there.

    Args:
        path: The file; an existing one is replaced at the block's end.
        fps: Frames a second, above 0.

    Raises:
        DataError: The ending is another one, or PyAV is not installed; at the block's end, no frame was written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix != ".mp4":
            raise unknown("video ending", path.suffix.removeprefix("."), ["mp4"])
        self._av = import_encoder("mp4")
        self._path, self._rate = path, _rate(fps)
        self._stream: Any = None
        self._count = 0

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            self._container = stack.enter_context(self._av.open(str(temporary), "w"))
            stack.push(self._finish)
            self._closing = stack.pop_all()
        return self

    def write(self, frame: UInt8[np.ndarray, "Y X 3"]) -> None:
        """Appends a frame; the first one gives the size.

        Raises:
            DataError: A side is odd, or the size differs from the first frame's.
        """
        height, width, _ = frame.shape
        if self._stream is None:
            if height % 2 or width % 2:
                raise DataError(f"{self._path}: frames of {width} x {height}", "H.264 needs even sides.")
            self._stream = self._container.add_stream(ENCODERS["mp4"], rate=self._rate, options=CONSTANT_QUALITY)
            self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        elif (height, width) != (self._stream.height, self._stream.width):
            raise DataError(
                f"{self._path}: frame {self._count} is {width} x {height}, "
                f"expected {self._stream.width} x {self._stream.height} as the first",
                "Give all frames one size.",
            )
        picture = self._av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self._count, 1 / self._rate
        self._container.mux(self._stream.encode(picture))
        self._count += 1

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401
        self._closing.__exit__(*error)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self._stream is None:
                raise _no_frames(self._path)
            self._container.mux(self._stream.encode(None))


def _write_gif(path: Path, frames: UInt8[np.ndarray, "T Y X 3"], rate: Fraction) -> None:
    av = import_encoder("gif")
    pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
    with replacing(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream(ENCODERS["gif"], rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "pal8"
        for i, picture in enumerate(_with_palette(av, pictures)):
            picture.pts, picture.time_base = i, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _with_palette(av: Any, pictures: list[av.VideoFrame]) -> list[av.VideoFrame]:  # noqa: ANN401
    """The pictures in the 256 colours that suit them best."""
    graph = av.filter.Graph()
    first = pictures[0]
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 1000))
    split, generate, use = graph.add("split"), graph.add("palettegen"), graph.add("paletteuse", "dither=none")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(generate, 1, 0)
    generate.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for i, picture in enumerate(pictures):
        picture.pts, picture.time_base = i, Fraction(1, 1000)
        source.push(picture)
    source.push(None)
    return [sink.pull() for _ in pictures]


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)  # 30000/1001 and similar rates are exact


def _no_frames(path: Path) -> DataError:
    return DataError(f"{path}: a video without a frame", "Give at least one.")
