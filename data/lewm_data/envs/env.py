"""A Gymnasium environment from one simulator.

Letters: S state width, Y and X the sides of a frame; an action may have any shape.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Shaped, UInt8

from lewm_data.envs.observation import Observation, look, space_of
from lewm_data.envs.resets import begin, checked
from lewm_data.envs.simulator import Simulator


class SimulatorEnv(gymnasium.Env[Observation, np.ndarray]):
    """One simulator: a `SimulatorVectorEnv` of one, without the leading axis.

    The options of `reset` are `factors`, `state` (S,) and `goal` (S,).

    Args:
        simulator: The world.
        max_episode_steps: Steps until an episode is truncated.
        terminates: Whether an episode ends where the goal is reached.
        render_mode: "rgb_array", for `render`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        simulator: Simulator,
        max_episode_steps: int,
        terminates: bool = True,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.simulator = simulator
        self.max_episode_steps = max_episode_steps
        self.terminates = terminates
        self.render_mode = render_mode
        self._steps = 0
        simulator.reset(np.random.default_rng(0), {})
        self.action_space = simulator.action_space
        self.observation_space = space_of(look(simulator, pixels=True))

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode.

        Raises:
            DataError: An unknown option or factor, or a state that does not fit.
        """
        super().reset(seed=seed)
        begin(self.simulator, self.np_random, checked(options))
        self._steps = 0
        return look(self.simulator, pixels=True), {}

    def step(self, action: Shaped[np.ndarray, "..."]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step; the reward is 1 where the goal is reached."""
        self.simulator.step(action)
        self._steps += 1
        solved, late = self.simulator.is_solved(), self._steps >= self.max_episode_steps
        return look(self.simulator, pixels=True), float(solved), solved and self.terminates, late, {}

    def render(self) -> UInt8[np.ndarray, "Y X 3"] | None:
        """The current frame."""
        return self.simulator.render() if self.render_mode else None

    def close(self) -> None:
        """Releases the simulator."""
        self.simulator.close()
