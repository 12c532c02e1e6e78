"""Checks frames: an error for those that the model would misread, a warning for those that it stretches."""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

from lewm.errors import LewmError

log = logging.getLogger(__name__)

SEEN = 0.02  # nobody sees that a frame is stretched by a smaller share


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


@functools.cache
def warn_if_stretched(height: int, width: int, shape: tuple[int, int]) -> None:
    """Says, once in a process, that frames of `height` and `width` pixels are resized to another shape (Y, X)."""
    rows, columns = shape
    if abs(rows * width - columns * height) > SEEN * rows * width:
        log.warning("%d x %d frames are stretched to the shape %d x %d.", height, width, rows, columns)
