"""Actions without a purpose: the floor of every evaluation."""

from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Int

from lewm_data.errors import DataError
from lewm_data.policies.policy import EpisodeNoise, VectorEnvironment


class RandomPolicy:
    """Uniform in the action box, independent of the observation.

    Args:
        env: A vector environment whose actions are a bounded box.

    Raises:
        DataError: Actions of another kind.
    """

    def __init__(self, env: VectorEnvironment) -> None:
        space = env.single_action_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
            raise DataError(
                f"the actions are {space}, expected a bounded Box with one axis",
                "Uniform actions need bounds; wrap the environment to give it some.",
            )
        self._low, self._high = space.low.astype(np.float64), space.high.astype(np.float64)
        self._steps = env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, len(self._low))

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            self._noise.begin(slot, rng.uniform(self._low, self._high, (self._steps, len(self._low))))

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        return self._noise.next()[0].astype(np.float32)
