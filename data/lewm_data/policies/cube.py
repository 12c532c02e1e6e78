"""The demonstrator of Cube, OGBench's: it picks the cube up, carries it to the goal, lets it go and moves away.

Letters: N environments, K of them that begin an episode, S state width.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int

from lewm_data.envs.cube.task import CUBE, Place, cube_yaw, draw_place, gripper_pose
from lewm_data.errors import DataError
from lewm_data.policies.policy import EpisodeNoise, VectorEnvironment

# Source: OGBench. Relative strength of the noise along x, y and z, about the vertical, and of the gripper.
NOISE_SCALE = np.array([1.0, 1.0, 1.0, 3.0, 10.0])
PLACES = 8  # more places than are reached in an episode of 200 steps


class CubeExpert:
    """OGBench's Markovian oracle carries the cube to the goal, then to further random places, so it never just waits.

    Gaussian noise is added to the oracle's actions, and the sum is clipped to [-1, 1]. Each episode has one strength of
    noise, uniform between 0 and `noise`.

    Args:
        env: The environments to act in.
        noise: Standard deviation of the strongest noise along x, y and z, before clipping.

    Raises:
        DataError: A negative noise.

    Source: OGBench, arXiv 2410.20092.
    """

    def __init__(self, env: VectorEnvironment, noise: float) -> None:
        from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle  # installed, since `env` needs it

        if not 0 <= noise < np.inf:
            raise DataError(f"noise is {noise}, expected at least 0", "It is a standard deviation; 0 is none.")
        self._strongest, self._steps = noise, env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, len(NOISE_SCALE))
        self._oracles: list[Any] = [CubeMarkovOracle(env=None) for _ in range(env.num_envs)]
        self._further: list[Iterator[Place]] = [iter(())] * env.num_envs
        self._aims: list[Place | None] = [None] * env.num_envs  # the aim of each oracle

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            strength = rng.uniform(0.0, self._strongest) * NOISE_SCALE
            self._noise.begin(slot, rng.normal(0.0, strength, (self._steps, len(NOISE_SCALE))))
            self._further[slot] = iter([draw_place(rng) for _ in range(PLACES)])
            self._aims[slot] = None

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N 5"]:
        """The next action of every environment."""
        noise, _ = self._noise.next()
        actions = [
            self._act(slot, {name: values[slot] for name, values in observation.items()}) for slot in range(len(noise))
        ]
        return np.clip(actions + noise, -1.0, 1.0).astype(np.float32)

    def _act(self, slot: int, seen: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "5"]:
        goal, oracle, aim = seen["goal"], self._oracles[slot], self._aims[slot]
        if aim is None:
            gripper, gripper_yaw = gripper_pose(goal)
            aim = self._begin(slot, Place(goal[CUBE][:2], float(cube_yaw(goal)), gripper, float(gripper_yaw)))
        elif oracle.done:
            aim = self._begin(slot, next(self._further[slot], aim))
        proprio = {name.replace("_", "/", 1): value for name, value in seen.items() if name.startswith("proprio_")}
        privileged = {
            "privileged/target_block": 0,
            "privileged/block_0_pos": seen["privileged_block_0_pos"],
            "privileged/block_0_yaw": seen["privileged_block_0_yaw"],
            "privileged/target_block_pos": np.append(aim.cube, goal[CUBE][2]),
            "privileged/target_block_yaw": [aim.cube_yaw],
        }
        action: np.ndarray = oracle.select_action(None, proprio | privileged)
        return action

    def _begin(self, slot: int, aim: Place) -> Place:
        """Does what the oracle's own `reset` does, without a draw from NumPy's global generator."""
        oracle = self._oracles[slot]
        oracle._done, oracle._step = False, 0
        oracle._final_pos, oracle._final_yaw = aim.gripper, aim.gripper_yaw
        self._aims[slot] = aim
        return aim
