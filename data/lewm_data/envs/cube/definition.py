"""Cube as collection, evaluation, probing and surprise know it."""

import numpy as np
from gymnasium import spaces

from lewm_data.envs.cube.factors import FACTORS
from lewm_data.envs.cube.perturbations import PERTURBATIONS
from lewm_data.envs.cube.task import STATE_DIM, path_distance, solved
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.envs.world import World
from lewm_data.policies.cube import CubeExpert

# Every episode has all these steps, as in published files: after the goal is reached, the arm lets the cube go.
MAX_EPISODE_STEPS = 200


def _make(num_envs: int, frame_size: int, pixels: bool) -> SimulatorVectorEnv:
    from lewm_data.envs.cube.simulator import CubeSimulator  # imports MuJoCo and OGBench, which have to be installed

    return SimulatorVectorEnv(
        lambda: CubeSimulator(frame_size), num_envs, frame_size, MAX_EPISODE_STEPS, pixels, terminates=False
    )


CUBE = World(
    name="cube",
    gymnasium_id="lewm/Cube-v0",
    about="an arm with a gripper has to put a cube somewhere else",
    extra="mujoco",
    make=_make,
    policies={"expert": lambda env, noise: CubeExpert(env, noise)},
    default_policy="expert",
    default_noise=0.1,  # OGBench
    action_space=spaces.Box(-1.0, 1.0, (5,), np.float32),
    state_dim=STATE_DIM,
    state_columns=("qpos", "qvel", "control"),
    path_distance=path_distance,
    solved=solved,
    targets={
        "cube": "privileged_block_0_pos",
        "gripper": "proprio_effector_pos",
        "opening": "proprio_gripper_opening",
    },
    perturbations=PERTURBATIONS,
    factors=FACTORS,
    workers=True,
)
