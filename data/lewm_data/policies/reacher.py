"""The demonstrator of Reacher: it moves the arm to the goal's pose, then to one pose after the other.

Letters: N environments, K of them that begin an episode.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int

from lewm_data.envs.reacher.task import STATE_DIM, angles_between, draw_pose, solved
from lewm_data.errors import DataError
from lewm_data.policies.policy import EpisodeNoise, VectorEnvironment

# Torque of shoulder and wrist at 1 rad and at 1 rad/s, as shares of the greatest torque. With more damping the wrist
# would shake: it is too light for that at 25 steps a second.
STIFFNESS = np.array([3.0, 1.5])
DAMPING = np.array([0.35, 0.1])
POSES = 32  # more poses than are reached in an episode of 200 steps


class ReacherExpert:
    """A damped spring pulls the arm to the goal's angles, then to further random poses, so that it never just stands.

    Gaussian noise is added to the torques, and the sum is clipped to [-1, 1]. Without noise the median is 23 steps to
    the goal; with noise 0.5 it is hardly more.

    Args:
        env: The environments to act in.
        noise: Standard deviation of the noise, before clipping.

    Raises:
        DataError: A negative noise.
    """

    def __init__(self, env: VectorEnvironment, noise: float) -> None:
        if not 0 <= noise < np.inf:
            raise DataError(f"noise is {noise}, expected at least 0", "It is a standard deviation; 0 is none.")
        self._sigma, self._steps = noise, env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, 2)
        self._poses = np.zeros((env.num_envs, POSES, STATE_DIM))
        self._reached = np.zeros(env.num_envs, np.int64)
        self._rows = np.arange(env.num_envs)

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            self._noise.begin(slot, rng.normal(0.0, self._sigma, (self._steps, 2)))
            self._poses[slot] = [draw_pose(rng) for _ in range(POSES)]
            self._reached[slot] = 0

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N 2"]:
        """The next action of every environment."""
        state = observation["state"]
        further = self._poses[self._rows, (self._reached - 1) % POSES]
        aim = np.where(self._reached[:, None] > 0, further, observation["goal"])
        self._reached += solved(state, aim)
        noise, _ = self._noise.next()
        torque = STIFFNESS * angles_between(state, aim) - DAMPING * state[:, 2:] + noise
        return np.clip(torque, -1.0, 1.0).astype(np.float32)
