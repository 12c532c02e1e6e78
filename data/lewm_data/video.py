"""Writing short videos.

T frames, Y and X their sides.
"""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lewm_data.errors import DataError, unknown

if TYPE_CHECKING:
    import av

# ending -> (codec, its options); H.264 at constant quality, with black and white kept sharp
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "mp4": ("libx264", {"crf": "20", "preset": "veryfast"}),
    "gif": ("gif", {}),
}


def write_video(path: Path, frames: UInt8[np.ndarray, "T Y X 3"], fps: float) -> None:
    """Write frames as .mp4 (H.264) or .gif; the file is there whole or not at all.

    Raises:
        DataError: the ending is another one, a side is odd (mp4), or PyAV is not installed.
    """
    ending = path.suffix.removeprefix(".")
    if ending not in CODECS:
        raise unknown("video ending", ending, CODECS)
    if ending == "mp4" and (frames.shape[1] % 2 or frames.shape[2] % 2):
        raise DataError(f"{path}: frames of {frames.shape[1]} x {frames.shape[2]}", "H.264 needs even sides.")
    av = import_av()
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        with av.open(temporary, "w") as container:
            codec, options = CODECS[ending]
            rate = Fraction(fps).limit_denominator(1000)
            stream = container.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p" if ending == "mp4" else "pal8"
            pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
            for i, picture in enumerate(_with_palette(av, pictures) if ending == "gif" else pictures):
                picture.pts, picture.time_base = i, 1 / rate
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


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


def import_av() -> Any:  # noqa: ANN401
    """PyAV. Call it before work that ends in a video.

    Raises:
        DataError: It is not installed; says what to install.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise DataError(
            "writing a video needs PyAV, which is not installed", 'Run: pip install "lewm[video]"'
        ) from error
    return av
