"""Decoding a video file through PyAV, picture by picture: times, seeking, damage.

Damage is skipped, as players do, with a warning in the log: pictures that cannot be decoded are left out, and the video
ends where the file cannot be read any further. Pictures that a container lost without a trace cannot be noticed.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding
from lewm_data.store.schema import FASTEST, SLOWEST
from lewm_data.video.pictures import CODEC_OPTIONS, MOST_PIXELS, set_pixel_shape

if TYPE_CHECKING:
    import av

logger = logging.getLogger(__name__)

# Playlists are left out: they name other files and hosts, which PyAV would read
FORMATS = "mov,matroska,avi,gif,apng,mpegts,mpeg,flv,asf,ogg,png_pipe,jpeg_pipe"
MATROSKA = "matroska,webm"
INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", MATROSKA, "avi")  # in others, seeks land anywhere, with other times
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
USUAL_RATE = 25.0  # pictures a second, where a file states no rate, or one that no camera has
COARSEST = 0.005  # the most seconds by which rounding may change a time stamp
LONGEST = 3600.0  # the most seconds for which one picture is shown; a later time stamp is damage
SLIMMEST, WIDEST = Fraction(1, 4), Fraction(4)  # pixels' width by their height; what a file states beyond is damage
SHORT = 1.0  # the fewest seconds missing at the end that cause a warning
AGAIN = "Give an .mp4, .mov, .mkv, .webm, .avi or .gif file; if it is one, copy or record it again."


@dataclass(frozen=True)
class Picture:
    """A decoded picture, shown from `time` until `until`, in seconds from the video's first one."""

    time: float
    until: float
    image: av.VideoFrame


@dataclass(frozen=True)
class VideoFile:
    """A file with at least one picture; `probe` makes it.

    Attributes:
        path: The file.
        first: Its first picture.
        origin: The time stamp of `first`.
        tick: The unit of time stamps in seconds.
        fps: Pictures a second, on average.
        duration: Duration in seconds that the file states, or None.
        count: Number of pictures that the file states or that follows from duration and rate, or None.
    """

    path: Path
    first: av.VideoFrame
    origin: int
    tick: Fraction
    fps: float
    duration: float | None
    count: int | None

    @property
    def slack(self) -> float:
        """The most seconds by which a time may be wrong: time stamps are rounded to whole ticks."""
        return min(float(self.tick) / 2, COARSEST)

    def pictures(self, start: float) -> Iterator[Picture]:
        """Every picture, beginning with the one that is shown at `start` seconds or an earlier one.

        Raises:
            DataError: The video ends, and its end is not after `start`.
        """
        pictures = self._decode(start)
        first = next(pictures, None)
        if start > 0 and (first is None or first.time > start):  # the format cannot seek, or the seek went too far
            pictures = self._decode(0.0)
            first = next(pictures, None)
        end = 0.0
        for picture in itertools.chain([first] if first else [], pictures):
            end = picture.until
            yield picture
        if end <= start:
            raise beyond_end(self.path, start, end)

    def times(self) -> Float64[np.ndarray, " E"]:
        """The time of every picture in seconds from the first, and the end of the last (T + 1,); nothing is decoded.

        Raises:
            DataError: The file cannot be read, or does not state the times of its pictures.
        """
        stamps, length = [], 0
        with _unreadable(self.path), _open(self.path) as container:
            for packet in container.demux(_streams(container)[0]):
                stamp = packet.dts if container.format.name == "avi" else packet.pts
                if stamp is not None and not packet.is_discard:
                    stamps.append(stamp)
                    length = packet.duration or length
        if not stamps:
            raise DataError(f"{self.path}: does not state the times of its pictures", AGAIN)
        times = (np.sort(np.array(stamps)) - min(stamps)) * float(self.tick)
        return np.append(times, times[-1] + (length * float(self.tick) or 1 / self.fps))

    def _decode(self, start: float) -> Iterator[Picture]:
        import av

        with _unreadable(self.path), _open(self.path) as container:
            stream = _streams(container)[0]
            if start > 0:
                if container.format.name not in INDEXED:
                    return
                try:
                    container.seek(self.origin + int(start / self.tick), stream=stream)
                except (av.FFmpegError, OverflowError):  # OverflowError: a time stamp beyond 64 bits
                    return
            image, time = None, 0.0
            for following in _images(container, stream, self.path):
                stamp = _stamp(container, following)
                if image is None and stamp is None and start > 0:
                    return
                now = time if stamp is None else float((stamp - self.origin) * self.tick)
                if image is not None:
                    now = now if time < now < time + LONGEST else time + self._length(image)
                    yield Picture(time, now, image)
                image, time = following, now
            if image is not None:
                end = time + self._length(image)
                if self.duration is not None and end < self.duration - SHORT:
                    logger.warning("%s: ends after %.2f s of the %.2f s it states", self.path, end, self.duration)
                yield Picture(time, end, image)

    def _length(self, image: av.VideoFrame) -> float:
        """Seconds for which a picture is shown, where no next picture tells it."""
        return float(image.duration * self.tick) or 1 / self.fps


def probe(path: Path) -> VideoFile:
    """Opens a file and decodes its first picture. PyAV must be installed.

    Raises:
        DataError: There is no such file, or it is empty, is no video or has no picture.
    """
    import av

    check_file(path)
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty, expected a video", AGAIN)
    with _unreadable(path), _open(path) as container:
        streams = _streams(container)
        if not streams:
            kinds = sorted({stream.type for stream in container.streams} - {"video"})
            raise DataError(f"{path}: expected a video, found {' and '.join(kinds) or 'nothing'}", AGAIN)
        stream = streams[0]
        if stream.width * stream.height * max(_pixel_shape(stream), 1) > MOST_PIXELS:
            raise DataError(
                f"{path}: pictures of {stream.width} x {stream.height} pixels, at most {MOST_PIXELS:,} are decoded",
                "Make a smaller copy of it.",
            )
        first = next(_images(container, stream, path), None)
        if first is None:
            raise DataError(f"{path}: is a video without a picture", AGAIN)
        fps = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        if not SLOWEST <= fps <= FASTEST:
            fps = USUAL_RATE
        ticks, tick = stream.duration, stream.time_base
        if not ticks:
            ticks, tick = container.duration, Fraction(1, av.time_base)
        duration = float(ticks * tick) if ticks else None
        origin = _stamp(container, first) or 0
        if duration and container.format.name == MATROSKA:  # states when the video ends, not how long it lasts
            duration = max(duration - float(origin * stream.time_base), 0.0) or None
        return VideoFile(
            path=path,
            first=first,
            origin=origin,
            tick=stream.time_base,
            fps=fps,
            duration=duration,
            count=stream.frames or (round(duration * fps) if duration else None),
        )


def beyond_end(path: Path | str, start: float, end: float) -> DataError:
    """The error for a start beyond the video's end."""
    return DataError(f"{path}: ends at {end:g} s, asked to start at {start:g} s", "Start earlier.")


def _unreadable(path: Path) -> AbstractContextManager[None]:
    return decoding(path, "is not a video that can be read, or not all of one", AGAIN)


def _open(path: Path) -> Any:  # noqa: ANN401
    import av

    # not `options`: with it, PyAV before 18 crashes on files that state their streams late
    return av.open(f"file:{path}", container_options=OPTIONS, metadata_errors="replace")


def _streams(container: Any) -> list[Any]:  # noqa: ANN401
    """The container's video streams; the cover of a song is no video."""
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _pixel_shape(stream: Any) -> Fraction:  # noqa: ANN401
    """How many times as wide as high a pixel is: 4/3 in recordings of television, 1 where the file does not say it."""
    shape = stream.sample_aspect_ratio
    return Fraction(shape) if shape and SLIMMEST <= shape <= WIDEST else Fraction(1)


def _stamp(container: Any, image: av.VideoFrame) -> int | None:  # noqa: ANN401
    """The time of a picture in ticks. An AVI states only the order of decoding, which is the order of its pictures."""
    stamp: int | None = image.dts if container.format.name == "avi" else image.pts
    return stamp


def _images(container: Any, stream: Any, path: Path) -> Iterator[av.VideoFrame]:  # noqa: ANN401
    """All pictures that can be decoded."""
    import av

    if stream.codec_context is None:
        raise DataError(f"{path}: is in a format that no decoder here reads", AGAIN)
    stream.codec_context.options = CODEC_OPTIONS
    packets, warned, shape = container.demux(stream), False, _pixel_shape(stream)
    while True:
        try:
            images: list[av.VideoFrame] = next(packets).decode()
            damaged = any(image.is_corrupt for image in images)
        except StopIteration:
            return
        except av.FFmpegError:
            images, damaged = [], True
        for image in images:
            set_pixel_shape(image, shape)
            yield image
        if damaged and not warned:
            warned = True
            logger.warning("%s: is damaged, some pictures are missing or wrong", path)
