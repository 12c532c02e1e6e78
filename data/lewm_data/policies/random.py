"""Actions without a purpose: independent of each other, or smooth in time.

Letters: T steps, A action dimension.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Float64, Int

from lewm_data.errors import DataError
from lewm_data.policies.policy import EpisodeNoise, VectorEnvironment

# Steps after which actions are almost independent: those of one model step, so that the actions of a block are
# similar.
CORRELATION_STEPS = 5.0


class RandomPolicy:
    """Actions uniform in the action box, independent of the observation and of each other: the floor of evaluations.

    Args:
        env: A vector environment whose actions are a bounded box.

    Raises:
        DataError: Actions of another kind.
    """

    def __init__(self, env: VectorEnvironment) -> None:
        self._low, self._high = _box(env)
        self._steps = env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, len(self._low))

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            self._noise.begin(slot, rng.uniform(self._low, self._high, (self._steps, len(self._low))))

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        return self._noise.next()[0].astype(np.float32)


class SmoothPolicy:
    """Uniform in the action box like `RandomPolicy`, but each action is close to the one before.

    Every component follows an Ornstein-Uhlenbeck process, seen once a step: x' = ρ x + √(1 - ρ²) ε with standard
    normal x and ε, and ρ = exp(-1/5). The normal distribution function then makes it uniform between its bounds.

    Args:
        env: A vector environment whose actions are a bounded box.

    Raises:
        DataError: Actions of another kind.
    """

    def __init__(self, env: VectorEnvironment) -> None:
        self._low, self._high = _box(env)
        self._steps = env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, len(self._low))

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        kept = math.exp(-1 / CORRELATION_STEPS)
        fresh = math.sqrt(1 - kept**2)
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            walk = rng.standard_normal((self._steps, len(self._low)))  # (T, A)
            for step in range(1, self._steps):
                walk[step] = kept * walk[step - 1] + fresh * walk[step]
            self._noise.begin(slot, self._low + (self._high - self._low) * _normal_cdf(walk))

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        return self._noise.next()[0].astype(np.float32)


def _box(env: VectorEnvironment) -> tuple[Float64[np.ndarray, "A"], Float64[np.ndarray, "A"]]:
    """The bounds of an environment's actions."""
    space = env.single_action_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
        raise DataError(
            f"the actions are {space}, expected a bounded Box with one axis",
            "Uniform actions need bounds; wrap the environment to give it some.",
        )
    return space.low.astype(np.float64), space.high.astype(np.float64)


def _normal_cdf(x: Float64[np.ndarray, "T A"]) -> Float64[np.ndarray, "T A"]:
    share = [0.5 * math.erfc(-value / math.sqrt(2)) for value in x.ravel().tolist()]
    return np.array(share).reshape(x.shape)
