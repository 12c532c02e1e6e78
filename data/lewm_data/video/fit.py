"""Pictures made into frames of another shape without being distorted.

Letters: Y and X the sides of a picture, V and U those of the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from lewm_data.errors import unknown
from lewm_data.video.pictures import displayed_size, pixels, stored_size
from lewm_data.video.video import import_av

if TYPE_CHECKING:
    import av

CROP, LETTERBOX, STRETCH = "crop", "letterbox", "stretch"
FITS = (CROP, LETTERBOX, STRETCH)


def fitted(
    picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"], size: tuple[int, int], fit: str
) -> UInt8[np.ndarray, "V U 3"]:
    """A picture as a frame of `size` (V, U), resized with antialiasing.

    Args:
        picture: A decoded picture, which is shown as its file asks for, or an array.
        size: V and U.
        fit: "crop" cuts the longer sides off evenly, "letterbox" adds black bars, "stretch" distorts.

    Raises:
        DataError: There is no such fit.
    """
    check_fit(fit)
    if isinstance(picture, np.ndarray) and picture.shape[:2] == size:
        return picture
    decoded = _decoded(picture)
    scaled = scaled_size(displayed_size(decoded), size, fit)
    image = pixels(decoded, scaled)
    if scaled == size:
        return image
    frame = np.zeros((*size, 3), np.uint8)
    ours, theirs = zip(*(_overlap(side, other) for side, other in zip(size, scaled, strict=True)), strict=True)
    frame[ours] = image[theirs]
    return frame


def picture_size(picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"]) -> tuple[int, int]:
    """Y and X of a picture as it is shown."""
    return (picture.shape[0], picture.shape[1]) if isinstance(picture, np.ndarray) else displayed_size(picture)


def scaled_size(shown: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[int, int]:
    """Y and X to which a picture of `shown` is resized before it is cropped, or bars are added, to `size`."""
    if fit == STRETCH:
        return size
    ratios = [side / of for side, of in zip(size, shown, strict=True)]
    ratio = max(ratios) if fit == CROP else min(ratios)
    return round(shown[0] * ratio) or 1, round(shown[1] * ratio) or 1


def in_words(shown: tuple[int, int], size: tuple[int, int], fit: str) -> str:
    """What happens to pictures of `shown` (Y, X) that become frames of `size`; sizes are said as width x height."""
    said = f"pictures of {shown[1]} x {shown[0]} become frames of {size[1]} x {size[0]}"
    scaled = scaled_size(shown, size, fit)
    if shown == size:
        return f"frames of {size[1]} x {size[0]}, as recorded"
    if fit == STRETCH and scaled_size(shown, size, CROP) != size:
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


def check_fit(fit: str) -> None:
    """Raises unless there is such a fit.

    Raises:
        DataError: There is none.
    """
    if fit not in FITS:
        raise unknown("fit", fit, FITS)


def _decoded(picture: av.VideoFrame | UInt8[np.ndarray, "Y X 3"]) -> av.VideoFrame:
    if not isinstance(picture, np.ndarray):
        return picture
    av = import_av("resizing a frame")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")


def _overlap(side: int, scaled: int) -> tuple[slice, slice]:
    """Where a scaled side lies in the middle of a frame's side, and which part of it that is."""
    both = min(side, scaled)
    ours, theirs = (side - both) // 2, (scaled - both) // 2
    return slice(ours, ours + both), slice(theirs, theirs + both)
