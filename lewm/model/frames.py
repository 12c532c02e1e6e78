"""Frames as the model sees them: checked, and made square without being distorted where that is not asked for.

Shape letters: N frames, Y and X their sides, V and U the sides that they get.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor

from lewm.errors import LewmError
from lewm_data.video.placing import CROP, LETTERBOX, STRETCH, place

log = logging.getLogger(__name__)

SEEN = 0.02  # nobody sees that a frame is stretched, or cut, by a smaller share


def check_frames(frames: Tensor, shape: str) -> None:
    """Raises unless frames are uint8 with the channels last.

    Only dtype and shape are looked at: this waits for no device, and works for tensors without values.

    Args:
        shape: A letter for each dimension, then the 3 channels: "B T Y X 3".

    Raises:
        LewmError: They are not; says what was got, and how to convert it.
    """
    dimensions = len(shape.split())
    if frames.dtype == torch.uint8 and frames.ndim == dimensions and frames.shape[-1] == 3:
        return
    remedies = []
    if frames.dtype.is_floating_point:
        remedies.append(
            "where values lie in [0, 1], multiply by 255 and convert to uint8: (255 * x).round().to(torch.uint8)"
        )
    elif frames.dtype != torch.uint8:
        remedies.append("convert values of 0 to 255 to uint8: x.to(torch.uint8)")
    if frames.ndim >= 3 and frames.shape[-1] != 3 and frames.shape[-3] == 3:
        remedies.append("move the channels last: x.movedim(-3, -1)")
    if frames.ndim != dimensions:
        remedies.append(f"make it {dimensions} dimensions, for example with x[None] or x.flatten(0, 1)")
    raise LewmError(
        f"frames are {str(frames.dtype).removeprefix('torch.')} of shape {tuple(frames.shape)}, "
        f"expected uint8 of shape ({', '.join(shape.split())})",
        f"Convert them, x: {'; '.join(remedies) or 'give red, green and blue in the last dimension'}.",
    )


def fitted(
    frames: Shaped[Tensor, "N 3 Y X"],
    size: tuple[int, int],
    fit: str,
    resize: Callable[[Tensor, tuple[int, int]], Tensor],
) -> Shaped[Tensor, "N 3 V U"]:
    """Frames at another size, with a change of their shape as `fit` says.

    Args:
        frames: Frames of another size than `size`.
        size: V and U.
        fit: The value of `model.fit`, see `lewm_data.video.placing`.
        resize: Resizes frames to (rows, columns), which may distort them by the rounding of a pixel.
    """
    placing = place((frames.shape[-2], frames.shape[-1]), size, fit)
    kept = frames[..., *placing.kept]
    small = kept if kept.shape[-2:] == placing.inner else resize(kept, placing.inner)
    if placing.inner == size:
        return small
    rows, columns = placing.filled
    return F.pad(small, (columns.start, size[1] - columns.stop, rows.start, size[0] - rows.stop))


@functools.cache
def warn_if_reshaped(height: int, width: int, shape: tuple[int, int], fit: str) -> None:
    """Says, once in a process, what `fitted` does to frames of `height` and `width` that get another shape (Y, X).

    Sizes are said as width x height.
    """
    rows, columns = shape
    if abs(rows * width - columns * height) <= SEEN * rows * width:
        return
    if fit == STRETCH:
        log.warning("%d x %d frames are stretched to the shape %d x %d.", width, height, columns, rows)
    elif fit == LETTERBOX:
        log.warning("%d x %d frames get black bars, for the shape %d x %d.", width, height, columns, rows)
    else:
        kept = place((height, width), shape, CROP).kept
        sides = [side.stop - side.start for side in reversed(kept)]
        log.warning("%d x %d frames are cut to their middle, %d x %d.", width, height, *sides)
