"""Cube: an arm with a gripper that has to put a cube somewhere else.

Letters: S state width.
"""

import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64

from lewm_data.envs.cube.control import ArmControl
from lewm_data.envs.cube.detail import CELLS, TABLE_WIDTH, simplify
from lewm_data.envs.cube.factors import CAMERA, KNOBS
from lewm_data.envs.cube.model import cube_model
from lewm_data.envs.cube.task import (
    ARM,
    CUBE,
    DRIVER,
    HALF_SIDE,
    ROTATION,
    cube_yaw,
    draw_place,
    gripper_opening,
    gripper_pose,
    solved,
    upright,
)
from lewm_data.envs.mujoco.camera import Camera, shared_camera
from lewm_data.envs.mujoco.simulator import MujocoSimulator, clipped

SUBSTEPS = 25  # a step has 25 substeps of 0.002 s
FULL_CONTACT = 50.0  # N at a fingertip; from this force on, OGBench's number for the contact is 1


class CubeSimulator(MujocoSimulator):
    """One world of OGBench's "cube-single": a UR5e arm with a Robotiq gripper, and a cube of 4 cm.

    An action moves the gripper, for 0.05 s, along x, y, z, turns it about the vertical, and closes it; it always points
    down. The goal is a whole state, of which the cube's position counts; its image has the arm in another pose. No mark
    shows the goal in frames.

    Args:
        frame_size: Pixels a side.
        detail: How finely the arm is drawn, one of `CELLS`. The motion does not depend on it.

    Raises:
        DataError: A frame size out of range, or ogbench is not installed.

    Source: OGBench, arXiv 2410.20092.
    Differs: the gripper moves from its present place, not from its place 0.002 s before, and MuJoCo's solver starts
        anew at every step, because a state holds neither the earlier place nor the solver's earlier forces.
    """

    def __init__(self, frame_size: int, detail: str) -> None:
        super().__init__(cube_model(), ("qpos", "qvel", "ctrl"), KNOBS, action_dim=5, frame_size=frame_size)
        self._control, self._detail = _arm_control(), detail

    def draw(self, rng: np.random.Generator) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " S"]]:
        """Draws places for start and goal: the cube anywhere on the table, the gripper anywhere above it and open."""
        return self._resting(rng), self._resting(rng)

    def step(self, action: Float[np.ndarray, "5"]) -> None:
        """Lets 0.05 s pass; `action` is clipped to [-1, 1].

        Raises:
            DataError: An action that is not finite.
        """
        self._advance(self._control.told(self.data.qpos, clipped(action)), SUBSTEPS)

    def columns(self) -> Mapping[str, Float64[np.ndarray, " C"]]:
        """The columns of published files, with OGBench's names, in which "_" replaces "/"."""
        data, state = self.data, self.state
        place, yaw = gripper_pose(state)
        contact = np.linalg.norm(data.body("ur5e/robotiq/right_pad").cfrc_ext) / FULL_CONTACT
        columns = {
            "qpos": data.qpos.copy(),
            "qvel": data.qvel.copy(),
            "control": data.ctrl.copy(),
            "proprio_joint_pos": data.qpos[ARM].copy(),
            "proprio_joint_vel": data.qvel[ARM].copy(),
            "proprio_effector_pos": place,
            "proprio_effector_yaw": yaw[None],
            "proprio_gripper_opening": gripper_opening(state)[None],
            "proprio_gripper_vel": data.qvel[[DRIVER]],
            "proprio_gripper_contact": np.minimum(contact, 1.0)[None],
            "privileged_block_0_pos": data.qpos[CUBE].copy(),
            "privileged_block_0_quat": data.qpos[ROTATION].copy(),
            "privileged_block_0_yaw": cube_yaw(state)[None],
        }
        return {**columns, "observation": _observation(columns)}

    def is_solved(self) -> bool:
        """Whether the cube's centre is within 0.04 m of where it should be."""
        return bool(solved(self.state[None], self.goal[None])[0])

    def camera(self) -> Camera:
        """OGBench's camera for pixels, which looks from the front."""
        size, cell = self.frame_size, CELLS[self._detail] * TABLE_WIDTH / self.frame_size
        return shared_camera(
            f"cube, {self._detail}",
            size,
            lambda: Camera(cube_model(), CAMERA, size, functools.partial(simplify, cell=cell)),
        )

    def _resting(self, rng: np.random.Generator) -> Float64[np.ndarray, " S"]:
        positions = np.zeros(self.model.nq)
        place = draw_place(rng)
        positions[ARM] = self._control.pose(place.gripper, place.gripper_yaw)
        positions[CUBE] = [*place.cube, HALF_SIDE * self.factors["cube.scale"]]
        positions[ROTATION] = upright(place.cube_yaw)
        return np.concatenate([positions, np.zeros(self.model.nv), self._control.told(positions, np.zeros(5))])


def _observation(columns: Mapping[str, Float64[np.ndarray, " C"]]) -> Float64[np.ndarray, "28"]:
    """OGBench's observation, with its centre and its scales."""
    centre = [0.425, 0.0, 0.0]
    yaw, cube = columns["proprio_effector_yaw"], columns["privileged_block_0_yaw"]
    return np.concatenate(
        [
            columns["proprio_joint_pos"],
            columns["proprio_joint_vel"],
            10 * (columns["proprio_effector_pos"] - centre),
            np.cos(yaw),
            np.sin(yaw),
            3 * columns["proprio_gripper_opening"],
            columns["proprio_gripper_contact"],
            10 * (columns["privileged_block_0_pos"] - centre),
            columns["privileged_block_0_quat"],
            np.cos(cube),
            np.sin(cube),
        ]
    )


@functools.cache
def _arm_control() -> ArmControl:
    return ArmControl(cube_model())
