"""Frames of Two-Room: walls by exact area coverage, the agent as a Gaussian dot.

The walls do not move, so they are drawn once for each set of factors and copied. The dot is computed only in the
window where it changes a pixel.

Letters: N worlds, Y and X the sides of a frame, W the window's side.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from lewm_data.envs.two_room.factors import BORDER, TwoRoomFactors
from lewm_data.envs.two_room.geometry import AGENT_RADIUS, WALL_CENTRE, WALL_HALF_THICKNESS

# An opacity under 1/512 changes no channel by half a level, so the dot is invisible beyond this distance.
DOT_REACH = AGENT_RADIUS * math.sqrt(2 * math.log(512))
BATCH = 16  # worlds whose windows are blended together, so few that temporaries stay in the cache


@lru_cache(maxsize=256)
def background(factors: TwoRoomFactors, frame_size: int) -> UInt8[np.ndarray, "Y X 3"]:
    """The world without its agent; read-only, because equal worlds share it."""
    inside = _coverage(BORDER, 1 - BORDER, frame_size)
    wall = _coverage(WALL_CENTRE - WALL_HALF_THICKNESS, WALL_CENTRE + WALL_HALF_THICKNESS, frame_size)
    door = _coverage(
        factors.door_position - factors.door_half_extent,
        factors.door_position + factors.door_half_extent,
        frame_size,
    )
    floor = np.outer(inside, inside - wall) + np.outer(door, wall)  # (v, u)
    if factors.wall_axis == 1:
        floor = floor.T
    colors = np.array([factors.wall_color, factors.background_color], np.float64)
    frame: np.ndarray = np.rint(colors[0] + floor[:, :, None] * (colors[1] - colors[0])).astype(np.uint8)
    frame.flags.writeable = False
    return frame


def draw(
    position: Float64[np.ndarray, "N 2"],
    backgrounds: Sequence[UInt8[np.ndarray, "Y X 3"]],
    agent_color: Float32[np.ndarray, "N 3"],
) -> UInt8[np.ndarray, "N Y X 3"]:
    """Draws every agent into a fresh copy of its background.

    The dot's opacity at a pixel whose centre is at distance d is exp(-d² / 2r²). A frame is bitwise the same
    alone or in a batch.

    Args:
        position: Agent centres, in units of the frame.
        backgrounds: A frame of the same size for each world.
        agent_color: RGB of each agent, 0 to 255.
    """
    count, size = len(position), len(backgrounds[0])
    frames = np.empty((count, size, size, 3), np.uint8)
    first = backgrounds[0]
    if all(one is first for one in backgrounds):
        frames[:] = first
    else:
        for frame, one in zip(frames, backgrounds, strict=True):
            frame[:] = one
    for begin in range(0, count, BATCH):
        part = slice(begin, begin + BATCH)
        _stamp(frames[part], position[part], agent_color[part])
    return frames


def _stamp(
    frames: UInt8[np.ndarray, "N Y X 3"],
    position: Float64[np.ndarray, "N 2"],
    agent_color: Float32[np.ndarray, "N 3"],
) -> None:
    """Blends each agent into its frame, in place."""
    count, size = frames.shape[:2]
    width = min(size, math.ceil(2 * DOT_REACH * size) + 1)
    corner = np.floor((position - DOT_REACH) * size).astype(np.int64)
    corner = np.clip(corner, 0, size - width)  # (N, 2) the window stays within the frame
    pixel = (corner[:, :, None] + (np.arange(width) + 0.5)) / size  # (N, 2, W)
    profile = np.exp(np.square(pixel - position[:, :, None]) * (-0.5 / AGENT_RADIUS**2)).astype(np.float32)
    along_row = np.repeat(profile[:, 0], 3, axis=1)  # (N, 3W) the three channels of a pixel side by side
    opacity = profile[:, 1, :, None] * along_row[:, None, :]  # (N, W, 3W)

    # All windows at all places, (N, Y-W+1, X-W+1, W, 3W): a view of the contiguous frames.
    windows = np.ndarray(
        (count, size - width + 1, size - width + 1, width, 3 * width),
        np.uint8,
        buffer=frames,
        strides=(3 * size * size, 3 * size, 3, 3 * size, 1),
    )
    where = (np.arange(count), corner[:, 1], corner[:, 0])
    below = windows[where].astype(np.float32)  # (N, W, 3W)
    blend = np.tile(agent_color, (1, width))[:, None, :] - below
    blend *= opacity
    blend += below
    windows[where] = np.rint(blend, out=blend).astype(np.uint8)


def _coverage(low: float, high: float, size: int) -> Float64[np.ndarray, "X"]:
    """The share of each of `size` pixels that the interval covers, 0 to 1."""
    edge = np.arange(size + 1) / size
    overlap = np.minimum(edge[1:], high) - np.maximum(edge[:-1], low)
    covered: np.ndarray = np.clip(overlap * size, 0, 1)
    return covered
