"""The geometry of the worlds as arrays, and their free positions.

Letters: N worlds, K of them; x to the right and y down, u across the wall and v along it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int

from lewm_data.envs.two_room.factors import BORDER, TwoRoomFactors

WALL_CENTRE = 112 / 224
WALL_HALF_THICKNESS = 5 / 224
AGENT_RADIUS = 7 / 224  # radius of the disc that collides, standard deviation of the dot that is drawn

NEAREST = BORDER + AGENT_RADIUS  # least coordinate of the agent's centre
FARTHEST = 1 - NEAREST
LEFT_FACE = WALL_CENTRE - WALL_HALF_THICKNESS - AGENT_RADIUS  # where the wall stops a centre from the left
RIGHT_FACE = WALL_CENTRE + WALL_HALF_THICKNESS + AGENT_RADIUS


@dataclass(frozen=True)
class Rooms:
    """The geometry of N worlds as arrays, in the wall's own coordinates: u across the wall, v along it."""

    door: Float64[np.ndarray, "N"]
    half: Float64[np.ndarray, "N"]
    speed: Float64[np.ndarray, "N 1"]
    horizontal: Bool[np.ndarray, "N 1"]
    all_vertical: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "all_vertical", not self.horizontal.any())

    @staticmethod
    def of(factors: Sequence[TwoRoomFactors]) -> "Rooms":
        """One row for each of `factors`."""
        return Rooms(
            door=np.array([one.door_position for one in factors], np.float64),
            half=np.array([one.door_half_extent for one in factors], np.float64),
            speed=np.array([[one.agent_speed] for one in factors], np.float64),
            horizontal=np.array([[one.wall_axis == 1] for one in factors], np.bool_),
        )

    def take(self, index: Int[np.ndarray, "K"]) -> "Rooms":
        """The rooms at `index`, in which numbers may repeat."""
        return Rooms(self.door[index], self.half[index], self.speed[index], self.horizontal[index])

    def across_along(self, vectors: Float64[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 2"]:
        """Maps (x, y) to (u, v), and back: the exchange of two coordinates is its own inverse."""
        return vectors if self.all_vertical else np.where(self.horizontal, vectors[:, ::-1], vectors)


def clearance(position: Float64[np.ndarray, "N 2"], rooms: Rooms) -> Float64[np.ndarray, "N"]:
    """Distance from the agent's disc to the nearest wall or border, negative where they overlap."""
    u, v = rooms.across_along(position).T
    border = np.minimum(np.minimum(u, v) - NEAREST, FARTHEST - np.maximum(u, v))
    beside = np.abs(u - WALL_CENTRE) - WALL_HALF_THICKNESS  # (N,) from the wall's face, negative in its band
    opening = rooms.half - np.abs(v - rooms.door)  # (N,) from the door frame, negative beside the door
    outside = np.sqrt(np.square(np.maximum(beside, 0)) + np.square(np.maximum(opening, 0)))
    wall = np.where((beside > 0) | (opening > 0), outside, np.maximum(beside, opening))
    gap: np.ndarray = np.minimum(border, wall - AGENT_RADIUS)
    return gap


def pushed_out(position: Float64[np.ndarray, "K 2"], rooms: Rooms) -> Float64[np.ndarray, "K 2"]:
    """The nearest free position of a centre that lies barely in a wall."""
    placed = np.clip(rooms.across_along(position), NEAREST, FARTHEST)
    side, end = np.sign(placed[:, 0] - WALL_CENTRE), np.sign(placed[:, 1] - rooms.door)
    corner = np.stack([WALL_CENTRE + side * WALL_HALF_THICKNESS, rooms.door + end * rooms.half], axis=1)
    free_side = np.stack([side, -end], axis=1)  # (K, 2) away from each of the corner's two edges
    away = (placed - corner) * free_side
    outward = np.where(away > 0, away, 0)
    distance = np.sqrt(np.square(outward[:, :1]) + np.square(outward[:, 1:]))
    in_wall = (distance > 0) & (distance < AGENT_RADIUS)
    scaled = outward * (AGENT_RADIUS / np.where(in_wall, distance, 1)) * free_side
    placed = np.where(in_wall & (away > 0), corner + scaled, placed)
    return rooms.across_along(placed)
