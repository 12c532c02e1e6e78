"""Decoded pictures made into frames of another shape, and what that does to them in words.

Letters: Y and X the sides of a picture, V and U those of the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from lewm_data.video.pictures import displayed_size, pixels, stored_size
from lewm_data.video.placing import CROP, LETTERBOX, STRETCH, check_fit, covering, middle, place
from lewm_data.video.video import import_av

if TYPE_CHECKING:
    import av


def fitted(
    picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"], size: tuple[int, int], fit: str
) -> UInt8[np.ndarray, "V U 3"]:
    """A picture as a frame of `size` (V, U), resized with antialiasing.

    The decoder resizes whole pictures. So what "crop" cuts off is cut off afterwards, in pixels of the frame.

    Args:
        picture: A decoded picture, which is shown as its file asks for, or an array.
        size: V and U.
        fit: See `placing.place`.

    Raises:
        DataError: There is no such fit.
    """
    check_fit(fit)
    if isinstance(picture, np.ndarray) and picture.shape[:2] == size:
        return picture
    decoded = _decoded(picture)
    shown = displayed_size(decoded)
    if fit == CROP:
        scaled = covering(shown, size)
        return np.ascontiguousarray(pixels(decoded, scaled)[middle(scaled, size)])
    placing = place(shown, size, fit)
    image = pixels(decoded, placing.inner)
    if placing.inner == size:
        return image
    frame = np.zeros((*size, 3), np.uint8)
    frame[placing.filled] = image
    return frame


def picture_size(picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"]) -> tuple[int, int]:
    """Y and X of a picture as it is shown."""
    return (picture.shape[0], picture.shape[1]) if isinstance(picture, np.ndarray) else displayed_size(picture)


def in_words(shown: tuple[int, int], size: tuple[int, int], fit: str) -> str:
    """What happens to pictures of `shown` (Y, X) that become frames of `size`; sizes are said as width x height."""
    said = f"pictures of {shown[1]} x {shown[0]} become frames of {size[1]} x {size[0]}"
    scaled = covering(shown, size) if fit == CROP else place(shown, size, fit).inner
    if shown == size:
        return f"frames of {size[1]} x {size[0]}, as recorded"
    if fit == STRETCH and covering(shown, size) != size:
        return f"{said}, stretched"
    if scaled == size:
        return said
    if fit == LETTERBOX:
        bars = "above and below" if scaled[0] < size[0] else "left and right"
        return f"{said}, with black bars {bars}"
    sides = "top and bottom" if scaled[0] > size[0] else "left and right"
    lost = 1 - size[0] * size[1] / (scaled[0] * scaled[1])
    return f"{said}; {lost:.0%} of each is cut off, {sides} (--fit letterbox keeps all)"


def not_square(picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"]) -> list[str]:
    """A sentence where a picture has pixels that are not square."""
    if isinstance(picture, np.ndarray) or stored_size(picture) == displayed_size(picture):
        return []
    (y, x), (shown_y, shown_x) = stored_size(picture), displayed_size(picture)
    return [f"pixels are not square: pictures of {x} x {y} are shown as {shown_x} x {shown_y}, as their file asks for"]


def _decoded(picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"]) -> av.VideoFrame:
    if not isinstance(picture, np.ndarray):
        return picture
    av = import_av("resizing a frame")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
