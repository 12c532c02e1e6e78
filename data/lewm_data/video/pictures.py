"""A decoded picture as it is displayed, and image files. PyAV must be installed.

Letters: Y and X the sides of a picture.
"""

from __future__ import annotations

import io
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from lewm_data.foreign import check_file, decoding

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

# SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_ACCURATE_RND: antialiased as in torch
SMOOTH = 0x2 | 0x2000 | 0x4000 | 0x40000

MOST_PIXELS = 2**25  # an 8K video has 7680 x 4320. Decoded and converted, such a picture takes 1 GB at most
MOST_BYTES = 8 * MOST_PIXELS  # an image file of four channels of 16 bits, stored without compression
CODEC_OPTIONS = {"max_pixels": str(MOST_PIXELS)}  # the decoder refuses a larger picture before it allocates memory
_kept = threading.local()
ROWS = 256  # rows that are laid on white together
UNREADABLE = f"is no PNG or JPEG picture that can be read, of at most {MOST_PIXELS // 10**6} million pixels"
AGAIN = "Leave it out, or make it again."


def read_image(path: Path) -> av.VideoFrame:
    """Decodes a PNG or JPEG file.

    Raises:
        DataError: It is no file, cannot be read, is neither PNG nor JPEG, or has more than `MOST_PIXELS` pixels.
    """
    check_file(path, MOST_BYTES)
    with decoding(path, UNREADABLE, AGAIN):
        content = path.read_bytes()  # if it were opened by its name, "%d" in it would mean a number
    return decode_image(content, path)


def decode_image(content: bytes, where: Path | str) -> av.VideoFrame:
    """Decodes the bytes of a PNG or JPEG file.

    Args:
        content: The bytes; zeros may follow.
        where: Where they are from, for errors.

    Raises:
        DataError: They cannot be decoded, are neither PNG nor JPEG, or have more than `MOST_PIXELS` pixels.
    """
    import av

    with (
        decoding(where, UNREADABLE, AGAIN),
        av.open(io.BytesIO(content), "r", container_options={"format_whitelist": "png_pipe,jpeg_pipe"}) as container,
    ):
        container.streams.video[0].codec_context.options = CODEC_OPTIONS
        return next(container.decode(video=0))


def displayed_size(image: av.VideoFrame) -> tuple[int, int]:
    """Y and X with pixels made square, after the turn that the file asks for."""
    shape = image.opaque if isinstance(image.opaque, Fraction) else 1
    height, width = image.height, max(round(image.width * shape), 1)
    return (width, height) if _quarter_turns(image) % 2 else (height, width)


def stored_size(image: av.VideoFrame) -> tuple[int, int]:
    """Y and X in the pixels of the file, after the turn that the file asks for."""
    return (image.width, image.height) if _quarter_turns(image) % 2 else (image.height, image.width)


def set_pixel_shape(image: av.VideoFrame, shape: Fraction) -> None:
    """Keeps with a picture how many times as wide as high its pixels are, which PyAV's pictures do not know."""
    # An object of its own: PyAV forgets one that several pictures have as soon as the first of them is gone.
    image.opaque = Fraction(shape.numerator, shape.denominator)


def pixels(image: av.VideoFrame, size: tuple[int, int]) -> UInt8[np.ndarray, "Y X 3"]:
    """The picture laid on white, turned, and resized to `size` (Y, X) with antialiasing."""
    import av

    turns = _quarter_turns(image)
    height, width = size[::-1] if turns % 2 else size
    if image.format.has_palette or any(component.is_alpha for component in image.format.components):
        image = av.VideoFrame.from_ndarray(_on_white(image.to_ndarray(format="rgba")), format="rgb24")
    scaled = _reformatter().reformat(image, width, height, "rgb24", interpolation=SMOOTH).to_ndarray()
    return np.rot90(scaled, turns).copy()


def _reformatter() -> VideoReformatter:
    """This thread's own, which keeps the filters of the last size: to make them takes longer than to use them."""
    from av.video.reformatter import VideoReformatter

    if not hasattr(_kept, "reformatter"):
        _kept.reformatter = VideoReformatter()
    found: VideoReformatter = _kept.reformatter
    return found


def _quarter_turns(image: av.VideoFrame) -> int:
    """The number of counterclockwise quarter turns that the file asks for, as files of an upright phone do."""
    return round(image.rotation / 90) % 4


def _on_white(rgba: UInt8[np.ndarray, "Y X 4"]) -> UInt8[np.ndarray, "Y X 3"]:
    laid = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, len(rgba), ROWS):
        rows = rgba[top : top + ROWS].astype(np.uint16)
        colour, alpha = rows[..., :3], rows[..., 3:]
        laid[top : top + ROWS] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return laid
