"""The factors of variation of Two-Room.

Everything is in units of the frame, x to the right and y down, so that a world is the same at every
resolution. The numbers are written over 224, the frame in which the paper's world is defined.

A factor has one name in Python and another elsewhere: `door_half_extent` is "door.half_extent" in the options of a
reset, on the command line and in datasets.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from lewm_data.errors import DataError, unknown

BORDER = 14 / 224  # width of the black frame around the world
MIN_DOOR_HALF_EXTENT = 8 / 224  # 1/224 more than the radius of the agent
SPEED_RANGE = (1.75 / 224, 10.5 / 224)

Color = tuple[int, int, int]


@dataclass(frozen=True)
class TwoRoomFactors:
    """The factors of variation of one Two-Room world.

    Args:
        door_position: Centre of the door along the wall, in units of the frame.
        door_half_extent: Half the width of the opening; at least 8/224, so that the agent (radius 7/224)
            fits.
        wall_axis: The coordinate that the wall divides: 0 for a left and a right room, 1 for an upper and a lower
            one; the two worlds are each other's transposes.
        agent_speed: Displacement of a step at an action component of 1, from 1.75/224 to 10.5/224.
        agent_color: RGB, 0 to 255.
        wall_color: RGB of the wall and of the border.
        background_color: RGB of the floor.

    Raises:
        DataError: A value out of its range, or a door that reaches into the border.

    Source: arXiv 2603.19312 and its released environment (the defaults).
    """

    door_position: float = 49 / 224
    door_half_extent: float = 14 / 224
    wall_axis: int = 0
    agent_speed: float = 5 / 224
    agent_color: Color = (255, 0, 0)
    wall_color: Color = (0, 0, 0)
    background_color: Color = (255, 255, 255)

    def __post_init__(self) -> None:
        for name in ("agent_color", "wall_color", "background_color"):
            object.__setattr__(self, name, _color(name, getattr(self, name)))
        for name in ("door_position", "door_half_extent", "agent_speed"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.wall_axis not in (0, 1):
            raise DataError(
                f"wall_axis is {self.wall_axis!r}, expected 0 or 1",
                "The wall divides x (0) or y (1): one of two rooms.",
            )
        if not SPEED_RANGE[0] <= self.agent_speed <= SPEED_RANGE[1]:
            raise DataError(
                f"agent_speed is {self.agent_speed:.5f} a step, expected {SPEED_RANGE[0]:.5f} to {SPEED_RANGE[1]:.5f}",
                "Write speeds as pixels of the paper's frame over 224, for example 5 / 224.",
            )
        if self.door_half_extent < MIN_DOOR_HALF_EXTENT:
            raise DataError(
                f"door_half_extent is {self.door_half_extent:.5f}, not at least {MIN_DOOR_HALF_EXTENT:.5f}",
                "A narrower door does not let the agent through.",
            )
        lowest = BORDER + self.door_half_extent
        if not lowest <= self.door_position <= 1 - lowest:
            raise DataError(
                f"door_position is {self.door_position:.5f}, expected {lowest:.5f} to {1 - lowest:.5f} "
                f"for a door_half_extent of {self.door_half_extent:.5f}",
                "Keep the whole door between the borders.",
            )

    def varied(self, changes: Mapping[str, object]) -> "TwoRoomFactors":
        """These factors with some of them replaced, by name ("door.position").

        Raises:
            DataError: A name is no factor (the nearest one is suggested), or a value is out of its range.
        """
        known = {one.name.replace("_", ".", 1): one.name for one in fields(self)}
        for name in changes:
            if name not in known:
                raise unknown("factor of variation", str(name), known)
        named = {known[name]: value for name, value in changes.items()}
        return replace(self, **named)  # type: ignore[arg-type]  # __post_init__ checks the values


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise DataError(
            f"{name} is {value!r}, expected a finite number",
            "Positions and lengths are fractions of the frame.",
        )
    return float(value)


def _color(name: str, value: object) -> Color:
    channels = tuple(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else ()
    if len(channels) != 3 or not all(isinstance(c, int | np.integer) and 0 <= c <= 255 for c in channels):
        raise DataError(f"{name} is {value!r}, expected three whole numbers from 0 to 255", "Write it as (255, 0, 0).")
    red, green, blue = (int(c) for c in channels)
    return (red, green, blue)
