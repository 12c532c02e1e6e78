"""One pass through a video, from frames to traces, with everything that is remembered on the way.

n frames at a time, Y and X the sides of a picture, y and x those of the training frames.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from lewm.errors import LewmError
from lewm.model.frames import fitted, warn_if_reshaped
from lewm.surprise.familiarity import unfamiliarity
from lewm.surprise.pictures import Curve, Peaks
from lewm.surprise.reference import Reference
from lewm.surprise.trace import Detector, Event, EventMerger, SurpriseTrace
from lewm_data.video.video import Frame

log = logging.getLogger(__name__)

TOGETHER = 32  # the most frames that are encoded together
HELD = 2**28  # bytes of pictures that are held for that: 32 pictures of up to 1600 x 1600, fewer of larger ones
FIRST_FRAMES = 32  # how many first frames are compared with those of the run's data


class VideoPass:
    """The state of one pass through a video."""

    def __init__(
        self,
        detector: Detector,
        reference: Reference,
        size: tuple[int, int],
        fit: str,
        name: str,
        actions: Tensor | None,
        timed: bool,
    ) -> None:
        self.detector, self.reference, self.name = detector, reference, name
        self.size, self.fit, self.actions, self.timed = size, fit, actions, timed
        self.merger = EventMerger(detector.meter.frameskip)
        self.events: list[Event] = []
        self.flagged = 0
        self.unfamiliarity = 0.0
        self.curve = Curve()
        self.peaks = Peaks(detector.meter.frameskip)

    def pieces(self, frames: Iterator[Frame]) -> Iterator[tuple[list[UInt8[np.ndarray, "Y X 3"]], SurpriseTrace]]:
        """Yields some pictures at a time, as they were read, with their trace."""
        model = self.detector.meter.model
        while some := _together(frames):
            pictures = [frame.pixels for frame in some]
            if self.actions is not None and self.detector.meter.seen + len(some) > len(self.actions) + 1:
                raise self._wrong_number(f"more than {len(self.actions) + 1}")
            small = resized(torch.from_numpy(np.stack(pictures)), self.size, self.fit)
            if self.detector.meter.seen == 0:
                self._first_look(small[:FIRST_FRAMES], pictures[0])
            with torch.inference_mode():
                latents = model.embed(small).float()
            trace = self.detector.push(latents, np.array([frame.time for frame in some]))
            self.flagged += int(trace.flagged.sum())
            self.curve.push(trace)
            self.peaks.push(pictures, trace)
            self._ended(self.merger.push(trace))
            yield pictures, trace

    def finish(self) -> None:
        """To be called when the video has ended."""
        seen, warm_up = self.detector.meter.seen, self.detector.meter.warm_up
        if self.actions is not None and seen < len(self.actions) and not self.timed:
            raise self._wrong_number(str(seen))
        if seen <= warm_up:
            raise LewmError(
                f"{self.name}: {seen} frames; the first {warm_up} only make the context, so at least {warm_up + 1} are "
                "needed",
                "Give a longer video, or a smaller --frameskip with --actions none.",
            )
        self._ended(self.merger.finish())

    def _ended(self, events: list[Event]) -> None:
        self.events += events
        self.peaks.sort_out(events, self.merger.open)

    def _wrong_number(self, frames: str) -> LewmError:
        assert self.actions is not None
        return LewmError(
            f"{self.name}: {frames} frames, but {len(self.actions)} actions",
            "T frames need the T - 1 actions between them (one more is left unused); --fps sets the frames a second.",
        )

    def _first_look(self, frames: UInt8[Tensor, "n y x 3"], picture: UInt8[np.ndarray, "Y X 3"]) -> None:
        known = self.reference
        self.unfamiliarity = unfamiliarity(frames, known.thumbnails, known.distances)
        if self.unfamiliarity > 1:
            log.warning(
                "%s: the first frames look unlike those of the run's data, %.1f times as far from them as any clean "
                "frame. What follows may say more about the pictures than about what happens in them.",
                self.name,
                self.unfamiliarity,
            )
        warn_if_reshaped(picture.shape[0], picture.shape[1], self.size, self.fit)


def _together(frames: Iterator[Frame]) -> list[Frame]:
    """The next frames, as many as are encoded together."""
    some = list(itertools.islice(frames, 1))
    if some:
        some += itertools.islice(frames, min(TOGETHER, max(1, HELD // some[0].pixels.nbytes)) - 1)
    return some


def resized(frames: UInt8[Tensor, "n Y X 3"], size: tuple[int, int], fit: str) -> UInt8[Tensor, "n y x 3"]:
    """Frames at another size (rows, columns): averaged over areas when shrinking, else bilinear with antialiasing.

    Another shape is made of them as `fit` says, see `lewm.model.frames.fitted`.

    A renderer also averages over a pixel's area. A bilinear filter is wider: it would blur a picture that was only
    enlarged, and the clean frames of such a video would be flagged.
    """
    if frames.shape[1:3] == size:
        return frames
    return fitted(frames.permute(0, 3, 1, 2), size, fit, _resize).permute(0, 2, 3, 1)


def _resize(pixels: UInt8[Tensor, "n 3 Y X"], size: tuple[int, int]) -> UInt8[Tensor, "n 3 y x"]:
    if pixels.shape[2] >= size[0] and pixels.shape[3] >= size[1]:
        return F.interpolate(pixels.float(), size, mode="area").round().to(torch.uint8)
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)
