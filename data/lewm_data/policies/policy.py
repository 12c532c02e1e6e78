"""The interface of a policy: actions for a batch of environments, with a random generator for each episode."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Int


@runtime_checkable
class VectorEnvironment(Protocol):
    """The part of a vector environment that policies need."""

    num_envs: int
    max_episode_steps: int
    single_action_space: spaces.Space[Any]


@runtime_checkable
class Policy(Protocol):
    """Acts in N environments at once, each episode with a generator of its own.

    All noise of an episode is drawn when it begins, from its own generator: so its actions are the same alone or
    in any batch.
    """

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        ...

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N A"]:
        """The next action of every environment."""
        ...


class EpisodeNoise:
    """Random numbers that are drawn for whole episodes and handed out step by step, for every environment at once.

    Letters: N environments, T steps, W numbers a step. An episode of more than T steps uses its numbers again.
    """

    def __init__(self, num_envs: int, steps: int, width: int) -> None:
        self._table = np.zeros((num_envs, steps, width))
        self._step = np.zeros(num_envs, np.int64)
        self._rows = np.arange(num_envs)

    def begin(self, slot: int, numbers: np.ndarray) -> None:
        """Takes the numbers (T, W) of the episode that begins in `slot`."""
        self._table[slot] = numbers
        self._step[slot] = 0

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers (N, W) of this step, and whether each environment is at its first step (N,)."""
        step = self._step % self._table.shape[1]
        first = self._step == 0
        self._step += 1
        return self._table[self._rows, step], first
