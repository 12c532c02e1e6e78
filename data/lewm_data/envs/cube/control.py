"""The controls of arm and gripper: angles of the joints, from the pose that the gripper should take.

Letters: Q positions of MuJoCo's joints.
"""

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.cube.kinematics import FINGERTIPS
from lewm_data.envs.cube.task import ARM, gripper_opening, gripper_pose
from lewm_data.envs.mujoco.camera import MjModel

# Source: OGBench. The effect of an action of 1: m along x, y and z, rad about the vertical, the gripper's full range.
ACTION_SCALE = np.array([0.05, 0.05, 0.05, 0.3, 1.0])
WORKSPACE = np.array([[0.25, -0.35, 0.02], [0.6, 0.35, 0.35]])  # m
HOME = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) * np.pi / 2  # rad
GRIPPER_SCALE = 255.0  # the greatest control of the gripper


class ArmControl:
    """OGBench's control of the gripper's pose, which always points down.

    Args:
        model: The world.
    """

    def __init__(self, model: MjModel) -> None:
        from ogbench.manipspace.controllers import DiffIKController  # installed, since `model` came from it

        self._inverse = DiffIKController(model=model, sites=["ur5e/attachment_site"])
        self._home = np.array(model.qpos0)
        self._home[ARM] = HOME

    def told(self, positions: Float64[np.ndarray, " Q"], action: Float64[np.ndarray, "5"]) -> Float64[np.ndarray, "7"]:
        """The arm's angles and the gripper's control for the pose to which an action leads from the present pose."""
        place, yaw = gripper_pose(positions)
        change = action * ACTION_SCALE
        angles = self._angles(np.clip(place + change[:3], *WORKSPACE), yaw + change[3], positions)
        opening = np.clip(gripper_opening(positions) + change[4], 0.0, 1.0)
        return np.append(angles, GRIPPER_SCALE * opening)

    def pose(self, place: Float64[np.ndarray, "3"], yaw: float) -> Float64[np.ndarray, "6"]:
        """The arm's angles for a pose of the gripper: the solution nearest to OGBench's home pose."""
        return self._angles(place, np.float64(yaw), self._home)

    def _angles(
        self, place: Float64[np.ndarray, "3"], yaw: np.float64, near: Float64[np.ndarray, " Q"]
    ) -> Float64[np.ndarray, "6"]:
        half = (yaw - np.pi / 2) / 2
        down = np.array([0.0, np.cos(half), np.sin(half), 0.0])  # a quaternion: upside down, then turned about z
        flange = place + np.array([0.0, 0.0, FINGERTIPS])
        return self._inverse.solve(pos=flange, quat=down[None], curr_qpos=near)[ARM]
