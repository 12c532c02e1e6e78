"""Frames of Push-T, antialiased: the distance of a pixel's centre from a shape tells how much of the pixel it covers.

The block and the agent look as in published frames: they have a rim in their own colour and are lighter within; the
line between the block's bar and stem is a rim too. The goal is not drawn: it is a frame of its own.

Letters: Y and X the sides of a frame, H and W those of a window in which something is drawn.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from lewm_data.envs.push_t.factors import Color, Factors
from lewm_data.envs.push_t.geometry import (
    AGENT,
    AGENT_RADIUS,
    HIGH,
    LOW,
    POSE,
    RECTANGLES,
    SIDE,
    corners,
)

WALL_COLOR = (211, 211, 211)
WALL_WIDTH = 4.0
AGENT_RIM = 4.0  # width, within the disc
BLOCK_RIM = 2.0  # width, to either side of every edge
LIGHTER = 1.2  # factor from the rim's colour to the colour within

Frame = UInt8[np.ndarray, "Y X 3"]
Cover = Float32[np.ndarray, "H W"]


def draw(state: Float64[np.ndarray, "7"], factors: Factors, frame_size: int) -> Frame:
    """The world in `state`."""
    frame = _empty(tuple(factors["background.color"]), frame_size).copy()
    _draw_block(frame, state[POSE], factors)
    _draw_agent(frame, state[AGENT], factors)
    return frame


@lru_cache(maxsize=256)
def _empty(color: Color, frame_size: int) -> Frame:
    """The floor within its walls; read-only, because equal worlds share it."""
    edge = np.arange(frame_size + 1) * (SIDE / frame_size)

    def covered(low: float, high: float) -> Float64[np.ndarray, " X"]:
        return np.clip(np.minimum(edge[1:], high) - np.maximum(edge[:-1], low), 0, None) * (frame_size / SIDE)

    within, around = covered(LOW, HIGH), covered(LOW - WALL_WIDTH, HIGH + WALL_WIDTH)
    wall = np.outer(around, around) - np.outer(within, within)
    frame = np.rint(color + wall[:, :, None] * (np.array(WALL_COLOR) - color)).astype(np.uint8)
    frame.flags.writeable = False
    return frame


def _draw_block(frame: Frame, pose: Float64[np.ndarray, "3"], factors: Factors) -> None:
    scale = factors["block.scale"]
    around = corners(pose, scale)
    window, x, y = _window(frame, around.min(axis=0) - BLOCK_RIM, around.max(axis=0) + BLOCK_RIM)
    pixel = np.float32(SIDE / len(frame))
    x, y = x - np.float32(pose[0]), y - np.float32(pose[1])
    cos, sin = np.float32(np.cos(pose[2])), np.float32(np.sin(pose[2]))
    u, v = cos * x + sin * y, cos * y - sin * x  # (H, W) in the block's own axes
    (bar, in_bar), (stem, in_stem) = (_rectangle(u, v, one, pixel) for one in (RECTANGLES * scale).astype(np.float32))
    rim = (bar - in_bar) * (1 - stem) + (stem - in_stem)  # the stem lies over the bar
    _blend(window, rim, in_bar * (1 - stem) + in_stem, factors["block.color"])


def _rectangle(
    u: Float32[np.ndarray, "H W"],
    v: Float32[np.ndarray, "H W"],
    rectangle: Float32[np.ndarray, "2 2"],
    pixel: np.float32,
) -> tuple[Cover, Cover]:
    """The coverage of a rectangle of the block, and that of its part within the rim."""
    (centre_u, centre_v), (half_u, half_v) = rectangle
    beyond_u, beyond_v = np.abs(u - centre_u) - half_u, np.abs(v - centre_v) - half_v
    distance = np.hypot(np.maximum(beyond_u, 0), np.maximum(beyond_v, 0))
    distance += np.minimum(np.maximum(beyond_u, beyond_v), 0)
    return _coverage(distance - BLOCK_RIM, pixel), _coverage(distance + BLOCK_RIM, pixel)


def _draw_agent(frame: Frame, centre: Float64[np.ndarray, "2"], factors: Factors) -> None:
    radius = AGENT_RADIUS * factors["agent.scale"]
    window, x, y = _window(frame, centre - radius, centre + radius)
    pixel = np.float32(SIDE / len(frame))
    distance = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1])) - np.float32(radius)
    outer, inner = _coverage(distance, pixel), _coverage(distance + AGENT_RIM, pixel)
    _blend(window, outer - inner, inner, factors["agent.color"])


def _window(
    frame: Frame, low: Float64[np.ndarray, "2"], high: Float64[np.ndarray, "2"]
) -> tuple[UInt8[np.ndarray, "H W 3"], Float32[np.ndarray, "1 W"], Float32[np.ndarray, "H 1"]]:
    """The part of the frame from `low` to `high`, a view, and the centres of its pixels."""
    size = len(frame)
    first = np.clip(np.floor(low * (size / SIDE) - 0.5), 0, size).astype(int)
    end = np.clip(np.ceil(high * (size / SIDE) + 0.5), 0, size).astype(int)
    x, y = (
        (np.arange(first[axis], end[axis], dtype=np.float32) + np.float32(0.5)) * np.float32(SIDE / size)
        for axis in (0, 1)
    )
    return frame[first[1] : end[1], first[0] : end[0]], x[None, :], y[:, None]


def _coverage(distance: Cover, pixel: np.float32) -> Cover:
    """The share of each pixel that lies inside, 0 to 1, from the distance of its centre to the edge."""
    return np.clip(np.float32(0.5) - distance / pixel, 0, 1)


def _blend(window: UInt8[np.ndarray, "H W 3"], rim: Cover, within: Cover, color: Color) -> None:
    """Lays a rim of `color` and its lighter inside over a part of the frame."""
    dark = np.array(color, np.float32)
    light = np.minimum(dark * np.float32(LIGHTER), 255)
    below = window * (1 - rim - within)[:, :, None]
    window[:] = np.rint(below + rim[:, :, None] * dark + within[:, :, None] * light).astype(np.uint8)
