"""Gymnasium environments side by side, which reach a moment by replaying an episode.

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
    """N environments that have no `set_state` but `replay` in its place.

    Rewards and the ends of episodes are the environments' own. An episode that has ended stays as it is until its
    environment is reset. There is no goal before `replay`: `goal` is NaN.

    The first episode that ends is played again; a DataError is raised unless it stays the same.

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
            seeds: One seed for each episode, from the column `episode_seed`.
            actions: The actions from the beginning of each episode to the start of its task.
            goal_actions: The actions from there to the goal. Without any, the start is the goal.

            Returns:
                The observations at the starts.
        """
        for simulator, seed, before, after in zip(self.simulators, seeds, actions, goal_actions, strict=True):
            simulator.replay(int(seed), np.concatenate([before, after]))
            simulator.goal_here()
            simulator.replay(int(seed), before)
        self._steps[:] = [len(before) for before in actions]
        self._look(np.arange(self.num_envs))
        return dict(self._seen)
