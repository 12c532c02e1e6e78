"""What arm and gripper are told: angles of the joints, from where the gripper should go.

Letters: Q positions of MuJoCo's joints.
"""

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.cube.kinematics import FINGERTIPS
from lewm_data.envs.cube.task import ARM, gripper_opening, gripper_pose
from lewm_data.envs.mujoco.camera import MjModel

# Source: OGBench. An action of 1 is so many m along x, y and z, rad about the vertical, and the gripper's whole way.
ACTION_SCALE = np.array([0.05, 0.05, 0.05, 0.3, 1.0])
WORKSPACE = np.array([[0.25, -0.35, 0.02], [0.6, 0.35, 0.35]])  # m
HOME = np.array([-1.0, -1.0, 1.0, -1.0, -1.0, 0.0]) * np.pi / 2  # rad
GRIPPER_SCALE = 255.0  # of the gripper's control


class ArmControl:
    """OGBench's control of the gripper's pose, which always points down.

    Args:
        model: The world.
    """

    def __init__(self, model: MjModel) -> None:
        from ogbench.manipspace.controllers import DiffIKController  # installed, since `model` is there

        self._inverse = DiffIKController(model=model, sites=["ur5e/attachment_site"])
        self._home = np.array(model.qpos0)
        self._home[ARM] = HOME

    def told(self, positions: Float64[np.ndarray, " Q"], action: Float64[np.ndarray, "5"]) -> Float64[np.ndarray, "7"]:
        """Angles of the arm and the gripper's control, for the pose that an action asks for from the present one."""
        place, yaw = gripper_pose(positions)
        change = action * ACTION_SCALE
        angles = self._angles(np.clip(place + change[:3], *WORKSPACE), yaw + change[3], positions)
        opening = np.clip(gripper_opening(positions) + change[4], 0.0, 1.0)
        return np.append(angles, GRIPPER_SCALE * opening)

    def pose(self, place: Float64[np.ndarray, "3"], yaw: float) -> Float64[np.ndarray, "6"]:
        """Angles of the arm for a pose of the gripper, the solution next to where OGBench's arm is at home."""
        return self._angles(place, np.float64(yaw), self._home)

    def _angles(
        self, place: Float64[np.ndarray, "3"], yaw: np.float64, near: Float64[np.ndarray, " Q"]
    ) -> Float64[np.ndarray, "6"]:
        half = (yaw - np.pi / 2) / 2
        down = np.array([0.0, np.cos(half), np.sin(half), 0.0])  # a quaternion: turned over, then about the vertical
        flange = place + np.array([0.0, 0.0, FINGERTIPS])
        return self._inverse.solve(pos=flange, quat=down[None], curr_qpos=near)[ARM]
