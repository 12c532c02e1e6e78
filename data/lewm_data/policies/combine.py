"""Policies made of other policies: with repeated actions, or with one of several policies in each episode.

Letters: N environments, K of them that begin an episode, A action dimension, P policies.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64

from lewm_data.policies.policy import EpisodeNoise, Policy, VectorEnvironment


class RepeatedActions:
    """Acts as a policy does, but takes an episode's previous action again with probability `repeat`."""

    def __init__(self, policy: Policy, env: VectorEnvironment, repeat: float) -> None:
        self._policy, self._repeat, self._steps = policy, repeat, env.max_episode_steps
        self._noise = EpisodeNoise(env.num_envs, self._steps, 1)
        self._previous = np.zeros((env.num_envs, 1), np.float32)

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        self._policy.reset(slots, rngs)
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            self._noise.begin(slot, rng.random((self._steps, 1)))

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        action = self._policy.act(observation)
        numbers, first = self._noise.next()
        again = (numbers < self._repeat) & ~first[:, None]  # (N, 1)
        self._previous = np.where(again, self._previous, action)
        return self._previous


class Mixture:
    """Acts as one of several policies in each episode, drawn with the episode's own generator.

    Args:
        policies: The policies, all made for the same environments.
        shares: How often each policy acts, relative to the others.

    Attributes:
        chosen: Number of the policy that acts in each environment (N,).
    """

    chosen: Int64[np.ndarray, "N"]

    def __init__(self, policies: Sequence[Policy], shares: Sequence[float], env: VectorEnvironment) -> None:
        self._policies = policies
        until = np.cumsum(np.asarray(shares, np.float64))
        self._until: Float64[np.ndarray, P] = until / until[-1]
        self.chosen = np.zeros(env.num_envs, np.int64)

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            self.chosen[slot] = np.searchsorted(self._until, rng.random(), side="right")
        for policy in self._policies:  # also those that do not act here: a policy answers for all environments
            policy.reset(slots, [rng.spawn(1)[0] for rng in rngs])

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        acting = np.unique(self.chosen)
        actions = self._policies[acting[0]].act(observation)
        for index in acting[1:]:
            mine = self.chosen == index
            actions = np.where(mine[:, None], self._policies[index].act(observation), actions)
        return actions
