"""One Two-Room world for Gymnasium."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float64, UInt8

from lewm_data.envs.two_room.world import Factors, TwoRoomWorld
from lewm_data.errors import DataError

Observation = dict[str, np.ndarray]


class TwoRoomEnv(gymnasium.Env[Observation, np.ndarray]):
    """One Two-Room world: `TwoRoomVectorEnv` without the leading axis, and without a step limit of its own.

    `gymnasium.make("lewm/TwoRoom-v0")` adds the limit. The options of `reset` are `factors`, `state` (2,) and
    `goal` (2,).

    Args:
        frame_size: Pixels a side.
        factors: The factors of variation for resets that give none.
        render_mode: "rgb_array", for `render`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self, frame_size: int = 64, factors: Factors | None = None, render_mode: str | None = "rgb_array"
    ) -> None:
        self.frame_size = frame_size
        self.render_mode = checked_render_mode(render_mode)
        self.observation_space = observation_space(frame_size)
        self.action_space = action_space()
        self._world = TwoRoomWorld(1, frame_size, factors)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode.

        Raises:
            DataError: An unknown option or factor, or a state in a wall.
        """
        super().reset(seed=seed)
        lifted = {
            name: value if name == "factors" or value is None else [value] for name, value in (options or {}).items()
        }
        self._world.reset(np.zeros(1, np.int64), [self.np_random], lifted)
        return self._observation(), {}

    def step(self, action: Float[np.ndarray, "2"]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves the agent.

        Raises:
            DataError: An action that is not finite.
        """
        self._world.advance(np.asarray(action, np.float64)[None])
        solved = bool(self._world.solved()[0])
        return self._observation(), float(solved), solved, False, {}

    @property
    def state(self) -> Float64[np.ndarray, "2"]:
        """The agent's centre, in units of the frame."""
        state: np.ndarray = self._world.state[0].copy()
        return state

    def set_state(self, state: Float[np.ndarray, "2"], goal: Float[np.ndarray, "2"] | None = None) -> None:
        """Puts the agent at `state`, and the goal at `goal` if it is given.

        Raises:
            DataError: A position in a wall or beyond the border.
        """
        self._world.place([state], None if goal is None else [goal])

    def render(self) -> UInt8[np.ndarray, "Y X 3"] | None:
        """The current frame."""
        return self._world.frames(self._world.state)[0] if self.render_mode else None

    def render_goal(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The frame with the agent at the goal."""
        goal: np.ndarray = self._world.frames(self._world.goal)[0]
        return goal

    def is_solved(self) -> bool:
        """Whether the agent's centre is within 16/224 of the goal now."""
        return bool(self._world.solved()[0])

    def _observation(self) -> Observation:
        world = self._world
        return {"pixels": world.frames(world.state)[0], "state": self.state, "goal": world.goal[0].copy()}


def observation_space(frame_size: int, pixels: bool = True) -> spaces.Space[Any]:
    """State (2,) and goal (2,) of one world, and `pixels` (Y, X, 3) if they are observed."""
    seen = {"pixels": spaces.Box(0, 255, (frame_size, frame_size, 3), np.uint8)} if pixels else {}
    return spaces.Dict(
        seen | {"state": spaces.Box(0.0, 1.0, (2,), np.float64), "goal": spaces.Box(0.0, 1.0, (2,), np.float64)}
    )


def action_space() -> spaces.Box:
    """The share of a step's speed along x and y."""
    return spaces.Box(-1.0, 1.0, (2,), np.float32)


def checked_render_mode(wanted: str | None) -> str | None:
    """`wanted`, if it is "rgb_array" or None."""
    if wanted not in (None, "rgb_array"):
        raise DataError(f'render_mode is "{wanted}", expected "rgb_array" or None', "Show the frames yourself.")
    return wanted
