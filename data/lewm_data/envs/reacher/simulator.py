"""Reacher: an arm of two links, seen from above, that has to take up a pose.

Letters: Y and X the sides of a frame.
"""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from lewm_data.envs.mujoco.camera import Camera, MjModel, shared_camera
from lewm_data.envs.mujoco.simulator import MujocoSimulator, clipped, memoryless, mujoco
from lewm_data.envs.reacher.factors import CAMERA, KNOBS
from lewm_data.envs.reacher.task import draw_pose, solved
from lewm_data.errors import missing

SUBSTEPS = 2  # a step has 2 substeps of 0.02 s, as in the released environment


class ReacherSimulator(MujocoSimulator):
    """One Reacher world: the arm of dm_control's "reacher", which torques at shoulder and wrist turn for 0.04 s a step.

    A state is shoulder and wrist angles in radians, then their velocities. The goal is a pose, and its image the arm in
    that pose. The sphere, dm_control's target of the finger, is not drawn, as in published data: two poses reach it, so
    it would not say which pose is the goal.

    Args:
        frame_size: Pixels a side.

    Raises:
        DataError: A frame size out of range, or dm_control is not installed.

    Source: dm_control, arXiv 2006.12983.
    Differs: a step is two of dm_control's, as in the released environment.
    """

    def __init__(self, frame_size: int) -> None:
        super().__init__(reacher_model(), ("qpos", "qvel"), KNOBS, action_dim=2, frame_size=frame_size)

    def draw(self, rng: np.random.Generator) -> tuple[Float64[np.ndarray, "4"], Float64[np.ndarray, "4"]]:
        """Two random poses for start and goal, uniform over all that the arm can have."""
        return draw_pose(rng), draw_pose(rng)

    def step(self, action: Float[np.ndarray, "2"]) -> None:
        """Turns shoulder and wrist with torques of `action`, clipped to [-1, 1], times 0.05 N m.

        Raises:
            DataError: An action that is not finite.
        """
        self._advance(clipped(action), SUBSTEPS)

    def columns(self) -> Mapping[str, Float64[np.ndarray, " C"]]:
        """The columns of published files; the target is the finger's place in the goal pose.

        `observation` is dm_control's: angles, the way from the finger to the target, velocities.
        """
        position, velocity = self.data.qpos.copy(), self.data.qvel.copy()
        finger, target = (data.geom("finger").xpos[:2].copy() for data in (self.data, self.goal_data))
        return {
            "qpos": position,
            "qvel": velocity,
            "finger_pos": finger,
            "target_pos": target,
            "observation": np.concatenate([position, target - finger, velocity]),
        }

    def is_solved(self) -> bool:
        """Whether every joint is within 0.05 rad of the goal's."""
        return bool(solved(self.state[None], self.goal[None])[0])

    def camera(self) -> Camera:
        """dm_control's camera, which looks from above."""
        return shared_camera("reacher", self.frame_size, lambda: Camera(reacher_model(), CAMERA, self.frame_size))


@functools.cache
def reacher_model() -> MjModel:
    """The model with the default factors; the same for all simulators of a process.

    Raises:
        DataError: dm_control is not installed.
    """
    found = importlib.util.find_spec("dm_control")
    if found is None or not found.submodule_search_locations:
        raise missing("Reacher's model is from dm_control", "mujoco")
    # Only its file is read: importing dm_control takes seconds, and requires a certain version of MuJoCo.
    path = Path(found.submodule_search_locations[0]) / "suite" / "reacher.xml"
    model = memoryless(mujoco.MjModel.from_xml_path(str(path)))
    model.material("target").rgba[3] = 0
    return model
