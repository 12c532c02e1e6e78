"""The parts of a state of Cube, and the distance between two states.

A state is MuJoCo's positions, velocities and controls, as in published files: `qpos` (21), `qvel` (20), `control` (7).
Letters: N states.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from lewm_data.envs.cube.kinematics import effector_position, effector_yaw

POSITIONS, VELOCITIES, CONTROLS = 21, 20, 7
STATE_DIM = POSITIONS + VELOCITIES + CONTROLS
ARM = slice(0, 6)  # angles of the arm's joints, rad
DRIVER = 6  # angle of the gripper's right driver, rad
CUBE = slice(14, 17)  # centre, m
ROTATION = slice(17, 21)  # the cube's rotation, a unit quaternion, real part first
CUBE_VELOCITY = slice(POSITIONS + 14, POSITIONS + 20)

# Source: OGBench. Where the cube and the gripper may be at the start and in the goal, in m.
CUBE_BOUNDS = np.array([[0.3, -0.3], [0.55, 0.3]])
GRIPPER_BOUNDS = np.array([[0.25, -0.35, 0.2], [0.6, 0.35, 0.35]])
HALF_SIDE = 0.02  # half the cube's side, m
CLOSED = 0.8  # angle of the driver when the gripper is closed and holds nothing, rad
SOLVED_WITHIN = 0.04  # m


@dataclass(frozen=True)
class Place:
    """Where the cube lies and where the gripper is, in m, and how far each is turned about the vertical, in radians."""

    cube: Float64[np.ndarray, "2"]
    cube_yaw: float
    gripper: Float64[np.ndarray, "3"]
    gripper_yaw: float


def draw_place(rng: np.random.Generator) -> Place:
    """Draws a place: the cube anywhere on the table, the gripper anywhere above it."""
    cube, turned = rng.uniform(*CUBE_BOUNDS), rng.uniform(0.0, 2 * np.pi)
    return Place(cube, turned, rng.uniform(*GRIPPER_BOUNDS), rng.uniform(-np.pi, np.pi))


def upright(yaw: float) -> Float64[np.ndarray, "4"]:
    """The rotation about the vertical, as a quaternion."""
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


def gripper_opening(states: Float[np.ndarray, "*N S"]) -> Float64[np.ndarray, "*N"]:
    """The gripper's opening as OGBench defines it: 0 for an open gripper, 1 for a closed one."""
    return np.asarray(np.clip(np.asarray(states, np.float64)[..., DRIVER] / CLOSED, 0.0, 1.0))


def gripper_pose(states: Float[np.ndarray, "*N S"]) -> tuple[Float64[np.ndarray, "*N 3"], Float64[np.ndarray, "*N"]]:
    """The point between the fingertips, and how far the gripper is turned about the vertical."""
    return effector_position(states[..., ARM]), effector_yaw(states[..., ARM])


def cube_yaw(states: Float[np.ndarray, "*N S"]) -> Float64[np.ndarray, "*N"]:
    """How far the cube is turned about the vertical, in radians, -π to π."""
    w, x, y, z = np.moveaxis(np.asarray(states, np.float64)[..., ROTATION], -1, 0)
    return np.asarray(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def path_distance(states: Float[np.ndarray, "N S"], goals: Float[np.ndarray, "N S"]) -> Float64[np.ndarray, " N"]:
    """The straight distances, in metres, that the cube and the gripper have to move, added up.

    This is not the shortest path, on which the gripper would have to go to the cube first.
    """
    cube = np.linalg.norm(np.asarray(goals, np.float64)[:, CUBE] - states[:, CUBE], axis=1)
    gripper = np.linalg.norm(gripper_pose(goals)[0] - gripper_pose(states)[0], axis=1)
    distance: np.ndarray = cube + gripper
    return distance


def solved(states: Float[np.ndarray, "N S"], goals: Float[np.ndarray, "N S"]) -> Bool[np.ndarray, " N"]:
    """Whether the cube's centre is within 0.04 m of where it should be, wherever the arm is.

    Source: OGBench, arXiv 2410.20092.
    """
    near: np.ndarray = np.linalg.norm(goals[:, CUBE] - states[:, CUBE], axis=1) <= SOLVED_WITHIN
    return near
