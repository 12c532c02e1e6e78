"""A decoded picture as it is displayed, and image files. PyAV must be there.

Y and X are the sides of a picture.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from lewm_data.errors import DataError

if TYPE_CHECKING:
    import av

# SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_ACCURATE_RND: antialiased, as torch does it
SMOOTH = 0x2 | 0x2000 | 0x4000 | 0x40000


def read_image(path: Path) -> av.VideoFrame:
    """Decodes a PNG or JPEG file.

    Raises:
        DataError: It cannot be read, or is neither.
    """
    import av

    try:
        content = io.BytesIO(path.read_bytes())  # opened by its name, "%d" would stand for a number
        with av.open(content, "r", container_options={"format_whitelist": "png_pipe,jpeg_pipe"}) as container:
            return next(container.decode(video=0))
    except (av.FFmpegError, OSError, StopIteration) as error:
        raise DataError(f"{path}: is no image that can be read", "Leave it out, or make it again.") from error


def displayed_size(image: av.VideoFrame) -> tuple[int, int]:
    """Y and X after turning."""
    return (image.width, image.height) if _quarter_turns(image) % 2 else (image.height, image.width)


def pixels(image: av.VideoFrame, size: tuple[int, int]) -> UInt8[np.ndarray, "Y X 3"]:
    """The picture on white, turned, resized to `size` (Y, X) with antialiasing."""
    import av

    turns = _quarter_turns(image)
    height, width = size[::-1] if turns % 2 else size
    if image.format.has_palette or any(component.is_alpha for component in image.format.components):
        image = av.VideoFrame.from_ndarray(_on_white(image.to_ndarray(format="rgba")), format="rgb24")
    scaled = image.reformat(width, height, "rgb24", interpolation=SMOOTH).to_ndarray()
    return np.rot90(scaled, turns).copy()


def _quarter_turns(image: av.VideoFrame) -> int:
    """Counterclockwise turns that the file asks for, as those of a phone held upright do."""
    return round(image.rotation / 90) % 4


def _on_white(rgba: UInt8[np.ndarray, "Y X 4"]) -> UInt8[np.ndarray, "Y X 3"]:
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
