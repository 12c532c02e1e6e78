"""The geometry of Push-T: the walls, the T-shaped block, the agent's disc.

Lengths are in units of the world, a square of 512 units with x to the right and y down. A state is agent x, y, block
x, y, block angle, agent velocity x, y, as in published files. The block's position is the middle of the bar's outer
edge; its angle turns from x towards y.

Source: the Push-T of Florence et al. and Chi et al. (arXiv 2303.04137), which the field uses.
"""

import numpy as np
from jaxtyping import Float, Float64

SIDE = 512.0
LOW, HIGH = 7.0, 504.0  # inner faces of the walls
AGENT_RADIUS = 15.0
CENTRE_OF_GRAVITY = 45.0  # from the block's position along the stem: midway between the centres of bar and stem

AGENT, BLOCK, ANGLE, VELOCITY = slice(0, 2), slice(2, 4), 4, slice(5, 7)
POSE = slice(2, 5)
STATE_DIM = 7

# (centre, half the sides) of the bar and of the stem, in the block's own axes
RECTANGLES = np.array([[[0.0, 15.0], [60.0, 15.0]], [[0.0, 75.0], [15.0, 45.0]]])
_SIGNS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
CORNERS = (RECTANGLES[:, :1] + _SIGNS * RECTANGLES[:, 1:]).reshape(8, 2)  # the bar's four, then the stem's


def turned(
    vectors: Float[np.ndarray, "*#N 2"], angle: Float[np.ndarray, "*#N"] | float
) -> Float64[np.ndarray, "... 2"]:
    """`vectors` turned by `angle`, in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def corners(pose: Float64[np.ndarray, "3"], scale: float) -> Float64[np.ndarray, "8 2"]:
    """The corners of the block's bar, then of its stem."""
    return turned(CORNERS * scale, float(pose[2])) + pose[:2]


def distance_to_block(point: Float[np.ndarray, "2"], pose: Float[np.ndarray, "3"], scale: float) -> float:
    """The distance of a point of the world from the block's rim, negative within the block.

    Args:
        point: Its x and y.
        pose: The block's x, y and angle.
        scale: The block's size, 1 for the usual one.
    """
    own = turned(point - pose[:2], -float(pose[2]))
    return float(distance_in_block(own[None] / scale)[0]) * scale


def distance_in_block(points: Float[np.ndarray, "*N 2"]) -> Float64[np.ndarray, "*N"]:
    """The distance from the rim of a block of scale 1 for points in the block's own axes, negative within the block."""
    beyond = np.abs(points[..., None, :] - RECTANGLES[:, 0]) - RECTANGLES[:, 1]  # (..., bar or stem, x or y)
    outside = np.sqrt(np.square(np.maximum(beyond, 0.0)).sum(axis=-1))
    inside = np.minimum(beyond.max(axis=-1), 0.0)
    return (outside + inside).min(axis=-1)
