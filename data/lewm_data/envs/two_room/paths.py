"""Length of the shortest path between two states, through the door where the states are in different rooms.

Letters: N pairs; u across the wall, v along it.
"""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
from jaxtyping import Bool, Float64

from lewm_data.envs.two_room.factors import TwoRoomFactors
from lewm_data.envs.two_room.geometry import AGENT_RADIUS, WALL_CENTRE, WALL_HALF_THICKNESS, Rooms

_BELOW, _ABOVE, _FREE = (
    1,
    -1,
    0,
)  # the side in v on which the path passes a corner of the door frame, if it touches it
_LEFT, _RIGHT = WALL_CENTRE - WALL_HALF_THICKNESS, WALL_CENTRE + WALL_HALF_THICKNESS


def path_distance(
    a: Float64[np.ndarray, "N 2"],
    b: Float64[np.ndarray, "N 2"],
    factors: TwoRoomFactors | Sequence[TwoRoomFactors] = TwoRoomFactors(),  # noqa: B008  # frozen
) -> Float64[np.ndarray, "N"]:
    """Length of the shortest path of the agent's centre from `a` to `b`, in units of the frame.

    It is exact up to rounding: the path is a taut string of straight lines and arcs around the door frame's corners.

    Args:
        a: Agent centres in free space.
        b: Agent centres in free space.
        factors: One world for all pairs, or one for each pair.
    """
    each = [factors] if isinstance(factors, TwoRoomFactors) else list(factors)
    rooms = Rooms.of(each)
    return room_distance(a, b, rooms.take(np.zeros(len(a), np.int64)) if len(each) == 1 else rooms)


def room_distance(
    a: Float64[np.ndarray, "N 2"], b: Float64[np.ndarray, "N 2"], rooms: Rooms
) -> Float64[np.ndarray, "N"]:
    """`path_distance` for geometry that is already in arrays.

    Free space has no holes, so there is one taut string, and it runs monotonously across the wall. It touches
    at most one corner on either side of the wall. A string held by only some of the corners is never longer
    than the true one, and one of them is the true one: the answer is the longest of the strings that are
    taut.
    """
    start, end = rooms.across_along(a), rooms.across_along(b)
    backwards = start[:, :1] > end[:, :1]
    start, end = np.where(backwards, end, start), np.where(backwards, start, end)
    longest: np.ndarray = np.sqrt(np.square(end[:, 0] - start[:, 0]) + np.square(end[:, 1] - start[:, 1]))
    # Only an arc that lies between the two states can hold the string.
    left_possible = (start[:, 0] < _LEFT) & (end[:, 0] > _LEFT - AGENT_RADIUS)
    right_possible = (end[:, 0] > _RIGHT) & (start[:, 0] < _RIGHT + AGENT_RADIUS)
    (near,) = np.nonzero(left_possible | right_possible)
    if not len(near):
        return longest
    door, half = rooms.door[near], rooms.half[near]
    for left, right in product((_FREE, _BELOW, _ABOVE), repeat=2):
        discs = [
            (np.full_like(door, u), door - side * half, side) for u, side in ((_LEFT, left), (_RIGHT, right)) if side
        ]
        if discs:
            length, taut = _string(start[near], end[near], discs)
            taut &= left_possible[near] | (left == _FREE)
            taut &= right_possible[near] | (right == _FREE)
            longest[near] = np.maximum(longest[near], np.where(taut, length, 0.0))
    return longest


def _string(
    start: Float64[np.ndarray, "K 2"],
    end: Float64[np.ndarray, "K 2"],
    discs: Sequence[tuple[np.ndarray, np.ndarray, int]],
) -> tuple[Float64[np.ndarray, "K"], Bool[np.ndarray, "K"]]:
    """Length of the string around `discs` (u, v, side), and whether it presses against all of them."""
    stops = [(start[:, 0], start[:, 1], 0), *discs, (end[:, 0], end[:, 1], 0)]
    length = np.zeros(len(start))
    taut = np.ones(len(start), np.bool_)
    heading_before = np.zeros(len(start))
    for i, ((u0, v0, side0), (u1, v1, side1)) in enumerate(pairwise(stops)):
        du, dv = u1 - u0, v1 - v0
        distance = np.sqrt(du * du + dv * dv)
        offset = (side0 - side1) * AGENT_RADIUS  # how much the tangent deviates from the line of centres
        length += np.sqrt(np.maximum(distance * distance - offset * offset, 0))
        heading = np.arctan2(dv, du) - np.arcsin(np.clip(offset / np.maximum(distance, 1e-12), -1, 1))
        taut &= np.abs(heading) <= np.pi / 2 + 1e-9
        if i:
            turn = side0 * (heading_before - heading)
            length += AGENT_RADIUS * turn
            taut &= turn >= 0
        heading_before = heading
    return length, taut
