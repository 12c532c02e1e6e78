"""Motion of a disc among the walls, exact at any speed, for any number of worlds at once.

The centre of a disc that keeps off the walls is a point that keeps off the walls grown by its radius: flat
faces joined by quarter circles around the four corners of the door frame. A step follows its displacement to
the first contact with these, continues along the tangent with the rest of the displacement, and so on.

Letters: N worlds, M worlds whose path meets the door or its frame; u across the wall, v along it.
"""

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.two_room.geometry import (
    AGENT_RADIUS,
    FARTHEST,
    LEFT_FACE,
    NEAREST,
    RIGHT_FACE,
    WALL_CENTRE,
    WALL_HALF_THICKNESS,
    Rooms,
)

CONTACTS = 8  # the most contacts of a step; an agent that has more stops at the last one
SKIN = 1e-9  # a centre this far behind a face, by rounding, still counts as in front of it
GRAZE = 2 * AGENT_RADIUS * 1e-12  # a path that cuts a corner less deep than 1e-12 only touches it
NEVER = 2.0  # time of a contact that does not happen in this step, which lasts from 0 to 1

_U_SIGN = np.array([[1.0, -1.0, -1.0, 1.0]])  # the free side of border, border, the wall's left and right face
_V_SIGN = np.array([[1.0, -1.0, 1.0, -1.0]])  # the free side of border, border, the door's lower and higher edge
_U_PLANE = np.array([[NEAREST, FARTHEST, LEFT_FACE, RIGHT_FACE]])
_CORNER_U = WALL_CENTRE + WALL_HALF_THICKNESS * np.array([[-1.0, -1.0, 1.0, 1.0]])
_CORNER_V = np.array([[-1.0, 1.0, -1.0, 1.0]])


def move(
    position: Float64[np.ndarray, "N 2"], displacement: Float64[np.ndarray, "N 2"], rooms: Rooms
) -> Float64[np.ndarray, "N 2"]:
    """Moves every agent by its displacement, sliding along whatever it meets.

    Neither the length of the displacement nor the number of worlds matters: no wall is jumped over, and an
    agent's result is bitwise the same alone or in a batch (only element-wise arithmetic, no reductions over
    the batch).

    Args:
        position: Centres in free space, in units of the frame.
        displacement: The way of each centre in an empty world.
        rooms: The geometry of each world.
    """
    start, step = rooms.across_along(position), rooms.across_along(displacement)
    # Where only the border is met, the disc slides along a box. (np.clip takes three times as long for one world.)
    end = np.minimum(np.maximum(start + step, NEAREST), FARTHEST)
    low, high = np.minimum(start, end), np.maximum(start, end)
    meets = (high[:, 0] > LEFT_FACE) & (low[:, 0] < RIGHT_FACE)
    if meets.any():
        # A disc that stays beside the door moves in a box too: its room.
        beside = meets & ((low[:, 1] - rooms.door >= rooms.half) | (rooms.door - high[:, 1] >= rooms.half))
        left, right = beside & (start[:, 0] <= LEFT_FACE + SKIN), beside & (start[:, 0] >= RIGHT_FACE - SKIN)
        end[:, 0] = np.where(left, np.minimum(end[:, 0], LEFT_FACE), end[:, 0])
        end[:, 0] = np.where(right, np.maximum(end[:, 0], RIGHT_FACE), end[:, 0])
        (rest,) = np.nonzero(meets & ~left & ~right)
        if len(rest):
            end[rest] = _sweep(start[rest], step[rest], rooms.door[rest, None], rooms.half[rest, None])
    return rooms.across_along(end)


def _sweep(
    centre: Float64[np.ndarray, "M 2"],
    step: Float64[np.ndarray, "M 2"],
    door: Float64[np.ndarray, "M 1"],
    half: Float64[np.ndarray, "M 1"],
) -> Float64[np.ndarray, "M 2"]:
    rows = np.arange(len(centre))
    corners = np.stack(np.broadcast_arrays(_CORNER_U, door + half * _CORNER_V), axis=-1)  # (M, 4, 2)
    edge = half - AGENT_RADIUS
    v_plane = np.concatenate(  # (M, 4)
        [np.full_like(door, NEAREST), np.full_like(door, FARTHEST), door - edge, door + edge], axis=1
    )
    for _ in range(CONTACTS):
        (u, v), (du, dv) = centre[:, :, None].swapaxes(0, 1), step[:, :, None].swapaxes(0, 1)  # each (M, 1)
        u_time = _plane_times(u, du, _U_PLANE, _U_SIGN)
        beside_door = np.abs(v + u_time[:, 2:] * dv - door) >= half
        u_time[:, 2:] = np.where(beside_door, u_time[:, 2:], NEVER)
        v_time = _plane_times(v, dv, v_plane, _V_SIGN)
        within_wall = np.abs(u + v_time[:, 2:] * du - WALL_CENTRE) <= WALL_HALF_THICKNESS
        v_time[:, 2:] = np.where(within_wall, v_time[:, 2:], NEVER)
        times = np.concatenate([u_time, v_time, _corner_times(centre, step, corners)], axis=1)  # (M, 12)
        which = np.argmin(times, axis=1)
        time = times[rows, which][:, None]
        hits = time <= 1
        centre = centre + np.minimum(time, 1) * step
        if not hits.any():
            break
        # Rounding must not carry a centre through a wall: put it on the face or the arc that it has met.
        surface, kind = which % 4, which // 4  # kind 0: a face across u, 1: across v, 2: a corner
        hit = hits[:, 0]
        centre[:, 0] = np.where(hit & (kind == 0), _U_PLANE[0, surface], centre[:, 0])
        centre[:, 1] = np.where(hit & (kind == 1), v_plane[rows, surface], centre[:, 1])
        corner = corners[rows, surface]
        away = centre - corner
        distance = np.sqrt(np.square(away[:, :1]) + np.square(away[:, 1:]))
        away = away / np.maximum(distance, SKIN)
        round_corner = hits & (kind == 2)[:, None]
        centre = np.where(round_corner, corner + AGENT_RADIUS * away, centre)
        axis = np.stack([kind == 0, kind == 1], axis=1).astype(np.float64)
        normal = np.where(round_corner, away, axis)
        inward = normal[:, :1] * step[:, :1] + normal[:, 1:] * step[:, 1:]
        step = np.where(hits, (1 - time) * (step - inward * normal), 0.0)
    end: np.ndarray = np.clip(centre, NEAREST, FARTHEST)
    return end


def _plane_times(
    x: Float64[np.ndarray, "M 1"],
    dx: Float64[np.ndarray, "M 1"],
    plane: Float64[np.ndarray, "#M 4"],
    sign: Float64[np.ndarray, "1 4"],
) -> Float64[np.ndarray, "M 4"]:
    """When a coordinate reaches each plane from its free side, or NEVER."""
    depth, speed = (x - plane) * sign, dx * sign
    reached = (speed < 0) & (depth >= -SKIN) & (depth + speed < 0)
    return np.where(reached, np.maximum(depth, 0) / np.where(reached, -speed, 1.0), NEVER)


def _corner_times(
    centre: Float64[np.ndarray, "M 2"],
    step: Float64[np.ndarray, "M 2"],
    corners: Float64[np.ndarray, "M 4 2"],
) -> Float64[np.ndarray, "M 4"]:
    """When a centre comes within the radius of each corner, or NEVER."""
    du, dv = step[:, :1], step[:, 1:]
    u, v = centre[:, :1] - corners[:, :, 0], centre[:, 1:] - corners[:, :, 1]  # (M, 4)
    approach = u * du + v * dv
    gap = u * u + v * v - AGENT_RADIUS**2
    length = du * du + dv * dv
    discriminant = approach * approach - length * gap
    reached = (approach < 0) & (discriminant > length * GRAZE)
    # gap / (s - b) equals the smaller root (-b - s) / a, without the cancellation at contact.
    root = np.sqrt(np.where(reached, discriminant, 0.0))
    time = np.maximum(gap, 0) / np.where(reached, root - approach, 1.0)
    return np.where(reached & (time <= 1), time, NEVER)
