"""Push-T: an agent that pushes a T-shaped block to a pose.

Letters: S numbers of a state, Y and X the sides of a frame.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float64, UInt8

from lewm_data.envs.push_t.factors import with_defaults
from lewm_data.envs.push_t.geometry import AGENT, STATE_DIM, VELOCITY
from lewm_data.envs.push_t.physics import import_pymunk, step
from lewm_data.envs.push_t.render import draw
from lewm_data.envs.push_t.task import draw_state, solved
from lewm_data.errors import DataError


class PushTSimulator:
    """One Push-T world: the agent, a disc, pushes the block, which stops when it is not pushed.

    A state is agent x, y, block x, y, block angle, agent velocity x, y, in units of a square of 512 and in radians, as
    in published files. The next states are a function of it, of the actions and of the factors alone. An action is the
    agent's target for 0.1 s, relative to the agent, in units of 100. The goal is a whole state, of which the block's
    pose and the agent's position count. It is not drawn: its image is `render_goal()`.

    Args:
        frame_size: Pixels a side.

    Raises:
        DataError: A frame size out of range, or pymunk is not installed.
    """

    def __init__(self, frame_size: int) -> None:
        if not 16 <= frame_size <= 4096:
            raise DataError(f"frame_size is {frame_size}, expected 16 to 4096", "The paper's frames have 224 pixels.")
        import_pymunk()
        self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.factors: Mapping[str, Any] = with_defaults({})
        self._frame_size = frame_size
        self._state = self._goal = np.zeros(STATE_DIM)

    def reset(self, rng: np.random.Generator, factors: Mapping[str, Any]) -> None:
        """Begins an episode: block and agent are anywhere with room around the block, in the start and in the goal.

        Raises:
            DataError: An unknown factor, or a value that does not fit.
        """
        self.factors = with_defaults(factors)
        self._state = draw_state(rng, self.factors)
        self._goal = draw_state(rng, self.factors)
        while self.is_solved():
            self._goal = draw_state(rng, self.factors)

    def step(self, action: Float[np.ndarray, "2"]) -> None:
        """Lets 0.1 s pass; `action` is clipped to [-1, 1].

        Raises:
            DataError: An action that is not finite.
        """
        if not np.isfinite(action).all():
            raise DataError("an action is not finite", "Actions are numbers from -1 to 1.")
        self._state = step(self._state, np.clip(action, -1.0, 1.0), self.factors)

    @property
    def state(self) -> Float64[np.ndarray, "7"]:
        """The present state, which determines everything that follows."""
        return self._state.copy()

    @property
    def goal(self) -> Float64[np.ndarray, "7"]:
        """The state to be reached; its velocities do not count."""
        return self._goal.copy()

    def set_state(self, state: Float[np.ndarray, " S"], goal: Float[np.ndarray, " S"] | None = None) -> None:
        """Continues from `state`, and towards `goal` if it is given.

        Raises:
            DataError: The wrong shape, or a number that is not finite.
        """
        placed = _checked("state", state)
        self._goal = self._goal if goal is None else _checked("goal", goal)
        self._state = placed

    def columns(self) -> dict[str, Float64[np.ndarray, "4"]]:
        """`proprio`: the agent's position and velocity."""
        return {"proprio": np.concatenate([self._state[AGENT], self._state[VELOCITY]])}

    def render(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it is now."""
        return draw(self._state, self.factors, self._frame_size)

    def render_goal(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it looks in the goal state."""
        return draw(self._goal, self.factors, self._frame_size)

    def is_solved(self) -> bool:
        """Whether agent and block are together within 20 units of the goal, and the block's angle within π/9."""
        return bool(solved(self._state[None], self._goal[None])[0])

    def close(self) -> None:
        """Does nothing: the simulator holds nothing."""


def _checked(name: str, given: Float[np.ndarray, " S"]) -> Float64[np.ndarray, "7"]:
    values = np.array(given, np.float64)
    if values.shape != (STATE_DIM,) or not np.isfinite(values).all():
        raise DataError(
            f"{name} is {values}, expected {STATE_DIM} finite numbers",
            "They are agent x, y, block x, y, block angle, agent velocity x, y.",
        )
    return values
