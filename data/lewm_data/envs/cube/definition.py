"""Cube as collection, evaluation, probing and surprise know it."""

import functools

import numpy as np
from gymnasium import spaces

from lewm_data.envs.cube.detail import CELLS
from lewm_data.envs.cube.factors import FACTORS
from lewm_data.envs.cube.perturbations import perturbations
from lewm_data.envs.cube.task import STATE_DIM, path_distance, solved
from lewm_data.envs.simulator import Simulator
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.envs.world import World
from lewm_data.policies.cube import CubeExpert

# Every episode has all these steps, as in published files: after the goal is reached, the arm lets the cube go.
MAX_EPISODE_STEPS = 200


@functools.cache
def cube(detail: str) -> World:
    """The world with frames of a detail, one of `CELLS`."""

    def simulator(frame_size: int) -> Simulator:
        from lewm_data.envs.cube.simulator import CubeSimulator  # imports MuJoCo and OGBench: they must be installed

        return CubeSimulator(frame_size, detail)

    def make(num_envs: int, frame_size: int, pixels: bool) -> SimulatorVectorEnv:
        return SimulatorVectorEnv(
            lambda: simulator(frame_size), num_envs, frame_size, MAX_EPISODE_STEPS, pixels, terminates=False
        )

    return World(
        name="cube",
        gymnasium_id="lewm/Cube-v0",
        about="an arm with a gripper has to put a cube somewhere else",
        extra="mujoco",
        make=make,
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
        perturbations=perturbations(simulator),
        factors=FACTORS,
        workers=True,
        detail=detail,
        details={name: functools.partial(cube, name) for name in CELLS},
    )


CUBE = cube("full")
