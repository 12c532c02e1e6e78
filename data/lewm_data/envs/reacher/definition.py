"""Reacher as collection, evaluation, probing and surprise know it."""

import numpy as np
from gymnasium import spaces

from lewm_data.envs.reacher.factors import FACTORS
from lewm_data.envs.reacher.perturbations import PERTURBATIONS
from lewm_data.envs.reacher.task import STATE_DIM, path_distance, solved
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.envs.world import World
from lewm_data.policies.reacher import ReacherExpert

# Every episode has all these steps, as in published files.
MAX_EPISODE_STEPS = 200


def _make(num_envs: int, frame_size: int, pixels: bool) -> SimulatorVectorEnv:
    from lewm_data.envs.reacher.simulator import ReacherSimulator  # imports MuJoCo, which has to be installed

    return SimulatorVectorEnv(
        lambda: ReacherSimulator(frame_size), num_envs, frame_size, MAX_EPISODE_STEPS, pixels, terminates=False
    )


REACHER = World(
    name="reacher",
    gymnasium_id="lewm/Reacher-v0",
    about="an arm of two links has to take up a pose",
    extra="mujoco",
    make=_make,
    policies={"expert": lambda env, noise: ReacherExpert(env, noise)},
    default_policy="random",  # the published file's; the paper says SAC
    default_noise=0.5,
    action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
    state_dim=STATE_DIM,
    state_columns=("qpos", "qvel"),
    path_distance=path_distance,
    solved=solved,
    targets={"finger": "finger_pos", "shoulder": "qpos[0]:angle", "wrist": "qpos[1]:angle"},
    perturbations=PERTURBATIONS,
    factors=FACTORS,
    workers=True,
)
