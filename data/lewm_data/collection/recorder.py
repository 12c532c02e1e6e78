"""Episodes of many environments at once, recorded step by step.

Shape letters: N environments, K of them, T rows of an episode, A action dimension.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Int, Shaped

from lewm_data.envs.world import WorldEnv
from lewm_data.store.schema import ACTION, REWARD

Columns = dict[str, Shaped[np.ndarray, "T ..."]]


class EpisodeRecorder:
    """What each environment has shown since its episode began. Each environment has one slot, which is used again."""

    def __init__(self, env: WorldEnv) -> None:
        self._env, self._rows = env, np.arange(env.num_envs)
        self._steps = np.zeros(env.num_envs, np.int64)
        self._seen: dict[str, np.ndarray] = {}  # (N, T + 1, ...)

    def begin(self, slots: Int[np.ndarray, "K"], observation: Mapping[str, Shaped[np.ndarray, "N ..."]]) -> None:
        """Takes the first frame of the episodes that begin in `slots`."""
        self._steps[slots] = 0
        for name, values in observation.items():
            self._room(name, values)[slots, 0] = values[slots]

    def add(
        self,
        actions: Float32[np.ndarray, "N A"],
        reward: Shaped[np.ndarray, "N"],
        observation: Mapping[str, Shaped[np.ndarray, "N ..."]],
    ) -> None:
        """Takes one step of every environment: the action, the reward, and the observation that follows."""
        for name, values in ((ACTION, actions), (REWARD, reward.astype(np.float32))):
            self._room(name, values)[self._rows, self._steps] = values
        self._steps += 1
        for name, values in observation.items():
            self._room(name, values)[self._rows, self._steps] = values

    def episode(self, slot: int, number: int) -> Columns:
        """The columns of the episode that just ended in `slot`: views, except for the small columns."""
        rows = int(self._steps[slot]) + 1
        columns = {name: seen[slot, :rows] for name, seen in self._seen.items()}
        for name, nothing in ((ACTION, np.nan), (REWARD, 0.0)):  # the last frame has neither
            columns[name] = columns[name].copy()
            columns[name][-1] = nothing
        columns["episode_idx"] = np.full(rows, number, np.int32)
        columns["step_idx"] = np.arange(rows, dtype=np.int32)
        return columns

    def _room(self, name: str, values: np.ndarray) -> np.ndarray:
        if name not in self._seen:
            steps = self._env.max_episode_steps + 1
            self._seen[name] = np.empty((len(values), steps, *values.shape[1:]), values.dtype)
        return self._seen[name]
