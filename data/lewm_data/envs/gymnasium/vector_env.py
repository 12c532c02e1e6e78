"""Environments of Gymnasium's side by side, which are brought to a moment by going there.

Letters: N environments, A action width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from lewm_data.envs.gymnasium.simulator import GymnasiumSimulator
from lewm_data.envs.observation import Observation
from lewm_data.envs.vector_env import SimulatorVectorEnv


class GymnasiumVectorEnv(SimulatorVectorEnv):
    """N environments that have no `set_state`; `replay` is what there is in its place.

    Rewards are the environments' own, and so is where an episode terminates. After that, it stays as it is until it is
    reset. There is no goal before `replay`: `goal` is NaN.

    The first episode that ends is played again, and a DataError raised unless it is the same.

    Args:
        make: Makes a simulator whose frames have `frame_size`.
        num_envs: N.
        frame_size: Pixels a side.
        max_episode_steps: Steps until an episode is truncated.
        pixels: Whether observations have `pixels`; without them, only `render` draws.
    """

    simulators: Sequence[GymnasiumSimulator]

    def __init__(
        self,
        make: Callable[[], GymnasiumSimulator],
        num_envs: int,
        frame_size: int,
        max_episode_steps: int,
        pixels: bool = True,
    ) -> None:
        super().__init__(make, num_envs, frame_size, max_episode_steps, pixels)
        self._checked = False

    def step(
        self, actions: Shaped[np.ndarray, "N A"]
    ) -> tuple[Observation, Float64[np.ndarray, " N"], Bool[np.ndarray, " N"], Bool[np.ndarray, " N"], dict[str, Any]]:
        """One step of every environment.

        Raises:
            DataError: An action that does not fit, or an episode that cannot be replayed.
        """
        observation, _, _, late, info = super().step(actions)
        rewards = np.array([simulator.reward for simulator in self.simulators])
        ended = np.array([simulator.ended for simulator in self.simulators])
        over = np.flatnonzero(ended | late)
        if len(over) and not self._checked:
            self.simulators[over[0]].check_replay()
            self._checked = True
        return observation, rewards, ended, late, info

    def replay(
        self,
        seeds: Sequence[int] | Int64[np.ndarray, " N"],
        actions: Sequence[Float32[np.ndarray, "_ A"]],
        goal_actions: Sequence[Float32[np.ndarray, "_ A"]],
    ) -> Observation:
        """Brings every environment to the start of a task, and lets it know its goal.

        Args:
            seeds: One an episode, as in the column `episode_seed`.
            actions: From the beginning of each episode to its task's start; as many as that takes.
            goal_actions: From there to the goal. None at all: the start is the goal.

        Returns:
            What is observed at the starts.
        """
        for simulator, seed, before, after in zip(self.simulators, seeds, actions, goal_actions, strict=True):
            simulator.replay(int(seed), np.concatenate([before, after]))
            simulator.goal_here()
            simulator.replay(int(seed), before)
        self._steps[:] = [len(before) for before in actions]
        self._look(np.arange(self.num_envs))
        return dict(self._seen)
