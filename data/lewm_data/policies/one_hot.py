"""Choices without a purpose: independent of each other, or kept for a while.

Letters: T steps, G choices of an action, A numbers of an action, which has a one-hot group for each choice.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int

from lewm_data.policies.policy import EpisodeNoise, VectorEnvironment
from lewm_data.policies.random import CORRELATION_STEPS

# The probability is such that choices resemble later ones as much as the actions of `SmoothPolicy` do.
KEPT = math.exp(-1 / CORRELATION_STEPS)


class OneHotPolicy:
    """Uniform choices, independent of the observation; each is kept for the next step with some probability.

    Args:
        env: The environment in which it acts.
        groups: The number of options of each choice of an action.
        kept: Probability that a choice is kept for the next step; 0 for independent choices.
    """

    def __init__(self, env: VectorEnvironment, groups: tuple[int, ...], kept: float) -> None:
        self._sizes, self._kept, self._steps = np.array(groups), kept, env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, sum(groups))

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            chosen = rng.integers(self._sizes, size=(self._steps, len(self._sizes)))  # (T, G)
            again = rng.random(chosen.shape) < self._kept
            for step in range(1, self._steps):
                chosen[step] = np.where(again[step], chosen[step - 1], chosen[step])
            self._noise.begin(slot, self._one_hot(chosen))

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        return self._noise.next()[0].astype(np.float32)

    def _one_hot(self, chosen: Int[np.ndarray, "T G"]) -> Float32[np.ndarray, "T A"]:
        vectors = np.zeros((len(chosen), self._sizes.sum()), np.float32)
        begins = np.cumsum(self._sizes) - self._sizes
        np.put_along_axis(vectors, begins + chosen, 1.0, axis=1)
        return vectors
