"""The world of Cube: OGBench's, as published data show it."""

import functools

from lewm_data.envs.cube.factors import KNOBS
from lewm_data.envs.mujoco.camera import MjModel
from lewm_data.envs.mujoco.simulator import memoryless
from lewm_data.errors import missing


@functools.cache
def cube_model() -> MjModel:
    """The model with the default factors; the same for all simulators of a process.

    Raises:
        DataError: ogbench is not installed.
    """
    try:
        from ogbench.manipspace.envs.cube_env import CubeEnv
    except ImportError as error:
        raise missing("Cube is a world of ogbench", "mujoco") from error
    env = CubeEnv("single", mode="data_collection", visualize_info=False)
    env.reset(seed=0)
    model = memoryless(env.model)
    KNOBS["agent.color"].change(model, KNOBS["agent.color"].default)
    return model
