"""The annotated video: each frame, with the curve of surprise up to it running underneath."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lewm.errors import LewmError, missing
from lewm.files import check_output
from lewm.surprise.strip import HEIGHT, Strip
from lewm.surprise.trace import SurpriseTrace
from lewm_data.video.video_writer import VideoWriter, import_encoder

SIDE = 480  # least width of the picture: small frames are enlarged by a whole factor
WIDEST, TALLEST = 960, 1920  # greatest width and height: larger frames are reduced
BORDER = 5  # pixels of the red border around a flagged frame
RED = (192, 57, 43)

Sink = Callable[[list[UInt8[np.ndarray, "Y X 3"]], SurpriseTrace], None]


def check_annotated(path: Path) -> None:
    """Raise before the work, not after it, where `path` cannot become an annotated video.

    Raises:
        LewmError: Pillow is not installed, or `path` does not end in .mp4 or cannot be written.
        DataError: PyAV is not installed, or comes without the encoder.
    """
    if path.suffix != ".mp4":
        raise LewmError(f"{path}: an annotated video is an .mp4", "Give --out-video a name that ends in .mp4.")
    import_encoder("mp4")
    try:
        import PIL.ImageDraw  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing("annotating a video needs Pillow", "video") from error
    check_output(path, "Give --out-video the name of a file in a folder that you can write to.")


@contextlib.contextmanager
def annotated_video(path: Path, fps: float, strip: Strip) -> Iterator[Sink]:
    """A sink of frames and their trace that writes an mp4; the file is there whole or not at all.

    Args:
        path: Where it goes; it has passed `check_annotated`.
        fps: Frames a second of the video.
        strip: What is drawn under the frames; it takes their scores.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps) as video:

        def write(pictures: list[UInt8[np.ndarray, "Y X 3"]], trace: SurpriseTrace) -> None:
            for i, picture in enumerate(pictures):
                flagged = bool(trace.flagged[i])
                strip.push(float(trace.time[i]), float(trace.score[i]), flagged)
                video.write(_above(_scaled(picture), strip, flagged))

        yield write


def _above(picture: UInt8[np.ndarray, "Y X 3"], strip: Strip, flagged: bool) -> UInt8[np.ndarray, "y x 3"]:
    """A picture above its strip, with even sides, as the encoder needs them."""
    height, width = picture.shape[:2]
    canvas = np.full((height + height % 2 + HEIGHT, width + width % 2, 3), 255, np.uint8)
    canvas[:height, :width] = picture
    if flagged:
        framed = canvas[:height, :width]
        framed[:BORDER], framed[-BORDER:], framed[:, :BORDER], framed[:, -BORDER:] = RED, RED, RED, RED
    canvas[-HEIGHT:] = strip.drawn(canvas.shape[1])
    return canvas


def _scaled(picture: UInt8[np.ndarray, "Y X 3"]) -> UInt8[np.ndarray, "y x 3"]:
    from PIL import Image

    height, width = picture.shape[:2]
    if width > WIDEST or height > TALLEST:
        size = (min(WIDEST, max(1, width * TALLEST // height)), min(TALLEST, max(1, height * WIDEST // width)))
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    factor = max(1, min(-(-SIDE // width), TALLEST // height))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
