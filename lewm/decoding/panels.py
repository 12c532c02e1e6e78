"""Pictures side by side, for films.

T frames, Y and X their sides.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

SIDE = 256  # a panel's least height: small frames are enlarged by a whole factor
BORDER = 6
GREY, GREEN, RED, BLUE = (200, 200, 200), (40, 160, 70), (200, 50, 40), (50, 100, 200)


def shown_at(height: int, width: int) -> tuple[int, int]:
    """Y and X of a frame in a panel: a whole multiple of its own size, SIDE or more high, and even, as videos need."""
    step = 2 if height % 2 or width % 2 else 1
    factor = step * -(-SIDE // (step * height))
    return height * factor, width * factor


def enlarge(frames: UInt8[np.ndarray, "T Y X 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "T Y2 X2 3"]:
    """Frames at a larger size, every pixel a sharp rectangle."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, frames.shape[1:3], strict=True))
    return frames[:, rows][:, :, columns]


def framed(picture: UInt8[np.ndarray, "Y X 3"], colour: tuple[int, int, int]) -> UInt8[np.ndarray, "Y+12 X+12 3"]:
    """A picture with a border of one colour."""
    height, width, _ = picture.shape
    canvas = np.empty((height + 2 * BORDER, width + 2 * BORDER, 3), dtype=np.uint8)
    canvas[:] = colour
    canvas[BORDER:-BORDER, BORDER:-BORDER] = picture
    return canvas
