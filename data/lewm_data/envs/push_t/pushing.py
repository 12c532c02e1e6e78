"""Pushing in closed form: where the agent can touch the block, and how a push there moves it.

A push holds the agent at one point of the block's rim and moves it inwards. Without friction the force is along the
normal, and a block without momentum then moves along an arc: with a constant twist, in its own axes.

Letters: C contacts. A pose is the block's x, y and angle.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.push_t.geometry import CENTRE_OF_GRAVITY, CORNERS, distance_in_block, turned
from lewm_data.envs.push_t.physics import DAMPING, INERTIA, MASS, REACH, STIFFNESS, SUBSTEPS, TIME_STEP

SPACING = 8.0  # the largest distance between neighbouring contacts on a side of a block of scale 1
FROM_CORNER = 4.0  # distance from the outermost contact of a side to the side's end, where the agent would slip off
GYRATION = float(np.sqrt(INERTIA / MASS))  # turning a block by an angle counts as moving it by the angle times this


@dataclass(frozen=True)
class Contacts:
    """Where the agent can touch the block, in the block's own axes.

    Attributes:
        place: The agent's centre when it touches the block.
        normal: Unit vectors away from the block.
        twist: The block's motion for every unit that the agent moves inwards: x, y, angle.
    """

    place: Float64[np.ndarray, "C 2"]
    normal: Float64[np.ndarray, "C 2"]
    twist: Float64[np.ndarray, "C 3"]


def contacts(radius: float, scale: float) -> Contacts:
    """The contacts of an agent of this radius with a block of this scale, on every side."""
    points, normals = [], []
    for part in CORNERS.reshape(2, 4, 2):
        for begin, end in zip(part, np.roll(part, -1, axis=0), strict=True):
            length = float(np.linalg.norm(end - begin))
            along = (end - begin) / length
            count = int((length - 2 * FROM_CORNER) / SPACING) + 2
            for distance in np.linspace(FROM_CORNER, length - FROM_CORNER, count):
                points.append((begin + distance * along) * scale)
                normals.append([along[1], -along[0]])
    point, normal = np.array(points), np.array(normals)
    place = point + normal * radius
    fits = distance_in_block(place / scale) * scale > radius - 1e-6  # no other part of the block is in the way
    return Contacts(place[fits], normal[fits], _twist(point[fits], -normal[fits], scale))


def moved(twist: Float64[np.ndarray, "*#N 3"], length: Float64[np.ndarray, "*#N"]) -> Float64[np.ndarray, "... 3"]:
    """The block's pose after a push of `length` units, in the axes of its pose before."""
    angle = twist[..., 2] * length
    cosines = np.sinc(angle / np.pi) * length  # the integral of the cosine along the arc, then of the sine
    sines = np.sin(angle / 2) * np.sinc(angle / (2 * np.pi)) * length
    x, y = twist[..., 0], twist[..., 1]
    return np.stack([cosines * x - sines * y, sines * x + cosines * y, angle], axis=-1)


def seen_from(pose: Float64[np.ndarray, "*#N 3"], other: Float64[np.ndarray, "*#N 3"]) -> Float64[np.ndarray, "... 3"]:
    """`other` in the axes of `pose`, its angle from -π to π."""
    away = turned(other[..., :2] - pose[..., :2], -pose[..., 2])
    angle = (other[..., 2] - pose[..., 2] + np.pi) % (2 * np.pi) - np.pi
    return np.concatenate([away, angle[..., None]], axis=-1)


def followed_by(pose: Float64[np.ndarray, "3"], motion: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """The pose after a motion that is given in the axes of `pose`."""
    return np.append(pose[:2] + turned(motion[:2], float(pose[2])), pose[2] + motion[2])


def size(motion: Float64[np.ndarray, "*N 3"], scale: float) -> Float64[np.ndarray, "*N"]:
    """The size of a motion of a block of this scale, turning included, in units of the world."""
    turn: np.ndarray = motion[..., 2] * (GYRATION * scale)
    return np.sqrt(np.square(motion[..., 0]) + np.square(motion[..., 1]) + np.square(turn))


def action_to(displacement: Float64[np.ndarray, "2"], velocity: Float64[np.ndarray, "2"]) -> Float64[np.ndarray, "2"]:
    """The action, not clipped, that moves an agent with `velocity` by `displacement`."""
    return (displacement - _OF_VELOCITY * velocity) / (_OF_TARGET * REACH)


def _twist(
    point: Float64[np.ndarray, "C 2"], inwards: Float64[np.ndarray, "C 2"], scale: float
) -> Float64[np.ndarray, "C 3"]:
    """The motion that a force at `point` along `inwards` causes, scaled so that `point` moves by 1 along `inwards`."""
    lever = point - [0.0, CENTRE_OF_GRAVITY * scale]
    torque = lever[:, 0] * inwards[:, 1] - lever[:, 1] * inwards[:, 0]
    turn = torque / (GYRATION * scale) ** 2
    share = 1 / (1 + torque * turn)
    # The centre of gravity moves inwards; the block's position, which lies above it, also turns around it.
    across = inwards[:, 0] + turn * CENTRE_OF_GRAVITY * scale
    return np.stack([across, inwards[:, 1], turn], axis=1) * share[:, None]


def _controlled(target: float, velocity: float) -> float:
    """The position to which the controller has brought an agent that began at 0."""
    position = 0.0
    for _ in range(SUBSTEPS):
        velocity += (STIFFNESS * (target - position) - DAMPING * velocity) * TIME_STEP
        position += velocity * TIME_STEP
    return position


_OF_TARGET, _OF_VELOCITY = _controlled(1.0, 0.0), _controlled(0.0, 1.0)
