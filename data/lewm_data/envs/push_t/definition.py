"""Push-T as collection, evaluation, probing and surprise know it."""

import numpy as np
from gymnasium import spaces

from lewm_data.envs.push_t.factors import FACTORS
from lewm_data.envs.push_t.geometry import STATE_DIM
from lewm_data.envs.push_t.perturbations import PERTURBATIONS
from lewm_data.envs.push_t.simulator import PushTSimulator
from lewm_data.envs.push_t.task import path_distance, solved
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.envs.world import World
from lewm_data.policies.push_t import PushTExpert

# Published episodes have about 196 steps, whenever their goal is reached; so episodes do not end there here either.
MAX_EPISODE_STEPS = 200


def _make(num_envs: int, frame_size: int, pixels: bool) -> SimulatorVectorEnv:
    return SimulatorVectorEnv(
        lambda: PushTSimulator(frame_size), num_envs, frame_size, MAX_EPISODE_STEPS, pixels, terminates=False
    )


PUSH_T = World(
    name="push-t",
    gymnasium_id="lewm/PushT-v0",
    about="a disc has to push a T-shaped block to a pose",
    extra="push-t",
    make=_make,
    policies={"expert": lambda env, noise: PushTExpert(env, noise)},
    default_policy="expert",
    default_noise=0.1,
    default_repeat=0.05,
    action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
    state_dim=STATE_DIM,
    state_columns=("state",),
    path_distance=path_distance,
    solved=solved,
    targets={"agent": "state[0:2]", "block": "state[2:4]", "angle": "state[4]:angle"},
    perturbations=PERTURBATIONS,
    factors=FACTORS,
    workers=True,
)
