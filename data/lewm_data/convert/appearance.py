"""What a recorder did to its pictures that a frame of a dataset must not have: colours exchanged, rows turned over.

Frames of a dataset are red, green, blue, with rows from the top and columns from the left. Nothing in most files tells
whether their pictures are so; what a source's format says, and what the user says, is applied to each frame.

Letters: V and U the sides of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from lewm_data.errors import unknown

RGB, BGR = "rgb", "bgr"
COLOR_ORDERS = {RGB: "red, green, blue", BGR: "blue, green, red"}
NOT_FLIPPED = "none"
FLIPS = {NOT_FLIPPED: (1, 1), "vertical": (-1, 1), "horizontal": (1, -1), "both": (-1, -1)}  # steps of rows and columns
FLIPPED = {
    "vertical": "rows run from the bottom to the top",
    "horizontal": "columns run from the right to the left",
    "both": "pictures stand on their head",
}


@dataclass(frozen=True)
class Appearance:
    """How the pictures of a source are stored.

    Attributes:
        color_order: The order of their colours, as a usual decoder hands them over: "rgb" or "bgr".
        flip: What turns them the right way up: "none", "vertical", "horizontal" or "both", a turn by 180 degrees.
    """

    color_order: str = RGB
    flip: str = NOT_FLIPPED

    def corrected(self, frame: UInt8[np.ndarray, "V U 3"]) -> UInt8[np.ndarray, "V U 3"]:
        """The frame as a dataset's frames are; a view of what is given."""
        down, right = FLIPS[self.flip]
        return frame[::down, ::right, :: -1 if self.color_order == BGR else 1]


@dataclass(frozen=True)
class Doubt:
    """What a format assumes where its files do not tell; a plain sentence each that names the option that changes it.

    Attributes:
        color_order: The order of colours that is assumed.
        colors: The sentence about it; None where there is no doubt.
        flip: The sentence about which way up the pictures are; None where there is no doubt.
    """

    color_order: str = RGB
    colors: str | None = None
    flip: str | None = None

    def settled(self, color_order: str | None, flip: str) -> Appearance:
        """How the pictures are stored, where the user says `color_order` and `flip`; None leaves the format's order."""
        return Appearance(color_order or self.color_order, flip)

    def in_words(self, color_order: str | None, flip: str) -> Iterator[str]:
        """What is assumed, or what the user says."""
        if color_order is not None:
            yield f"colours in the order {COLOR_ORDERS[color_order]}, as you say"
        elif self.colors is not None:
            yield self.colors
        if flip != NOT_FLIPPED:
            yield f"{FLIPPED[flip]} in the source, as you say: they are turned over"
        elif self.flip is not None:
            yield self.flip


NO_DOUBT = Doubt()


def check_appearance(color_order: str | None, flip: str) -> None:
    """Raises unless there is such an order of colours, and such a flip.

    Raises:
        DataError: There is none.
    """
    if color_order is not None and color_order not in COLOR_ORDERS:
        raise unknown("order of colours", color_order, tuple(COLOR_ORDERS))
    if flip not in FLIPS:
        raise unknown("flip", flip, tuple(FLIPS))
