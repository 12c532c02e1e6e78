"""The task of Reacher: start and goal of the arm, and the distance between them.

States are shoulder and wrist angles in radians, then their velocities in radians a second.

Letters: N states.
"""

import math

import numpy as np
from jaxtyping import Bool, Float, Float64

STATE_DIM = 4
WRIST_LIMIT = math.radians(160)
SOLVED_WITHIN = 0.05  # rad


def draw_pose(rng: np.random.Generator) -> Float64[np.ndarray, "4"]:
    """A random arm at rest, with uniform angles: the shoulder turns all round, the wrist by 160° to both sides."""
    return np.array([rng.uniform(-math.pi, math.pi), rng.uniform(-WRIST_LIMIT, WRIST_LIMIT), 0.0, 0.0])


def angles_between(states: Float[np.ndarray, "*N 4"], goals: Float[np.ndarray, "*N 4"]) -> Float64[np.ndarray, "*N 2"]:
    """The angles by which shoulder and wrist have to turn: the shoulder the shorter way, the wrist its only way."""
    angles: np.ndarray = np.asarray(goals, np.float64)[..., :2] - states[..., :2]
    angles[..., 0] = (angles[..., 0] + math.pi) % (2 * math.pi) - math.pi
    return angles


def path_distance(states: Float[np.ndarray, "N 4"], goals: Float[np.ndarray, "N 4"]) -> Float64[np.ndarray, " N"]:
    """The length of the straight way in the joints' angles, in radians: the root of the squared turns' sum.

    It does not measure time, which also depends on masses and velocities.
    """
    distance: np.ndarray = np.linalg.norm(angles_between(states, goals), axis=1)
    return distance


def solved(states: Float[np.ndarray, "N 4"], goals: Float[np.ndarray, "N 4"]) -> Bool[np.ndarray, " N"]:
    """Whether every joint is within 0.05 rad of the goal's, at any velocity.

    Source: arXiv 2603.19312.
    Differs: here a shoulder that is whole turns away from the goal's angle is there; in the released code it is not.
    """
    near: np.ndarray = (np.abs(angles_between(states, goals)) < SOLVED_WITHIN).all(axis=1)
    return near
