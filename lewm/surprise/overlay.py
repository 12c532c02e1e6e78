"""The annotated video: each frame, with the curve of surprise up to it running underneath."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lewm.errors import LewmError, missing
from lewm.files import check_output
from lewm.surprise.trace import SurpriseTrace
from lewm_data.video.video_writer import VideoWriter, import_encoder

SIDE = 320  # least width of the picture: small frames are enlarged by a whole factor
WIDEST, TALLEST = 960, 1920  # greatest width and height: larger frames are reduced
STRIP = 110  # height of the strip under the picture
SHOWN = 120  # frames that the strip shows
LOW, HIGH = 0.03, 100.0  # range of the strip, in units of the 99 % quantile of clean frames; logarithmic
MARGIN = 8
INK, PAPER, GREY, RED = (44, 62, 80), (255, 255, 255), (150, 155, 163), (192, 57, 43)

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
def annotated_video(path: Path, fps: float, threshold: float) -> Iterator[Sink]:
    """A sink of frames and their trace that writes an mp4; the file is there whole or not at all.

    Args:
        path: Where it goes; it has passed `check_annotated`.
        fps: Frames a second of the video.
        threshold: The score above which a frame is flagged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    strip = _Strip(threshold)
    with VideoWriter(path, fps) as video:

        def write(pictures: list[UInt8[np.ndarray, "Y X 3"]], trace: SurpriseTrace) -> None:
            for i, picture in enumerate(pictures):
                strip.push(float(trace.score[i]), bool(trace.flagged[i]))
                label = f"{trace.time[i]:.1f} s"
                video.write(strip.under(_scaled(picture), label))

        yield write


class _Strip:
    """The last scores, drawn under a picture."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.recent: collections.deque[tuple[float, bool]] = collections.deque(maxlen=SHOWN)

    def push(self, score: float, flagged: bool) -> None:
        self.recent.append((score, flagged))

    def under(self, picture: UInt8[np.ndarray, "Y X 3"], label: str) -> UInt8[np.ndarray, "y x 3"]:
        from PIL import Image, ImageDraw, ImageFont

        height, width = picture.shape[:2]
        canvas = Image.new("RGB", (width + width % 2, height + STRIP + (height + STRIP) % 2), PAPER)
        canvas.paste(Image.fromarray(picture), (0, 0))
        draw = ImageDraw.Draw(canvas)
        flagged = bool(self.recent) and self.recent[-1][1]
        if flagged:
            draw.rectangle((0, 0, width - 1, height - 1), outline=RED, width=5)
        font: Any = ImageFont.load_default(13)
        draw.text((MARGIN, height + 3), "surprise", INK, font)
        text = f"flagged  {label}" if flagged else label
        draw.text((width - MARGIN, height + 3), text, RED if flagged else GREY, font, anchor="ra")
        level = self._y(self.threshold, height)
        draw.line((0, level, width, level), RED, 1)
        step = (width - 2 * MARGIN) / (SHOWN - 1)
        points = [(MARGIN + i * step, self._y(score, height)) for i, (score, _) in enumerate(self.recent)]
        for i, ((x, y), (score, flag)) in enumerate(zip(points, self.recent, strict=True)):
            if i and not np.isnan(score) and not np.isnan(self.recent[i - 1][0]):
                draw.line((*points[i - 1], x, y), RED if flag else INK, 2)
        return np.asarray(canvas)

    def _y(self, score: float, top: int) -> float:
        """Row of a score in a canvas whose strip begins at `top`."""
        share = np.log(np.clip(score, LOW, HIGH) / LOW) / np.log(HIGH / LOW)
        return float(top + STRIP - MARGIN - np.nan_to_num(share) * (STRIP - 2 * MARGIN - 18))


def _scaled(picture: UInt8[np.ndarray, "Y X 3"]) -> UInt8[np.ndarray, "y x 3"]:
    from PIL import Image

    height, width = picture.shape[:2]
    if width > WIDEST or height > TALLEST:
        size = (min(WIDEST, max(1, width * TALLEST // height)), min(TALLEST, max(1, height * WIDEST // width)))
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    factor = max(1, min(-(-SIDE // width), TALLEST // height))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
