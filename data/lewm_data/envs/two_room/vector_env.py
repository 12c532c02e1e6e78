"""Many Two-Room worlds at once for Gymnasium."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Float64, UInt8

from lewm_data.envs.resets import Generators, starting
from lewm_data.envs.two_room.env import Observation, action_space, checked_render_mode, observation_space
from lewm_data.envs.two_room.factors import TwoRoomFactors
from lewm_data.envs.two_room.world import Factors, TwoRoomWorld

# The paper's episodes have about 92 steps. Over 2,000 episodes of the expert with noise 2.0 (seeds 0 to 1999,
# each ending when solved) the mean was 93.4 with this limit, 32 % of them solved; without a limit 122.4.
MAX_EPISODE_STEPS = 100


class TwoRoomVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """N Two-Room worlds at once: two rooms, a wall with a door, an agent that has to reach a goal in the other room.

    Observations are `pixels` uint8 (N, Y, X, 3), `state` and `goal` float64 (N, 2) in units of the frame (x
    to the right, y down). Actions are (N, 2) in [-1, 1], the share of a step's speed along x and y. The
    reward is 1 where the agent is within 16/224 of its goal, which also terminates the episode. The goal is
    not drawn: its image is `render_goal()`.

    No environment resets by itself. `reset` takes a seed for all (environment i then has seed + i), or one each,
    and `options` with any of

    - `reset_mask`: bool (N,), the environments that begin an episode (default: all);
    - `factors`: TwoRoomFactors, a mapping of some of their names, or a sequence of N of these; without it the
      environment's own factors hold;
    - `state`, `goal`: (N, 2), instead of random ones.

    An episode is a function of its seed, its options and its actions alone: it is bitwise the same in any batch.

    Args:
        num_envs: N.
        frame_size: Pixels a side; 64 and 224 show the same world.
        max_episode_steps: Steps until an episode is truncated.
        factors: The factors of variation for resets that give none.
        render_mode: "rgb_array", for `render`.
        pixels: Whether observations have `pixels`; without them, only `render` draws.

    Source: arXiv 2603.19312 and its released environment: geometry, speed, what counts as solved.
    Differs: start and goal of an episode are our choice: the goal is in the other room, at least 25 steps away.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # gymnasium declares it so
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        num_envs: int = 1,
        frame_size: int = 64,
        max_episode_steps: int = MAX_EPISODE_STEPS,
        factors: Factors | None = None,
        render_mode: str | None = "rgb_array",
        pixels: bool = True,
    ) -> None:
        self.num_envs = num_envs
        self.frame_size = frame_size
        self.max_episode_steps = max_episode_steps
        self.render_mode = checked_render_mode(render_mode)
        self._world = TwoRoomWorld(num_envs, frame_size, factors)
        self._steps = np.zeros(num_envs, np.int64)
        self._pixels = pixels
        self._generators = Generators(num_envs)
        self.single_observation_space = observation_space(frame_size, pixels)
        self.single_action_space = action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode in every environment, or in those of `options["reset_mask"]`.

        Raises:
            DataError: An unknown option or factor, a mask or state of the wrong shape, a state in a wall.
        """
        chosen = dict(options or {})
        slots = starting(chosen, self.num_envs)
        chosen.pop("reset_mask", None)
        self._world.reset(slots, self._generators.of(slots, seed), chosen)
        self._steps[slots] = 0
        return self.observation, {}

    def step(
        self, actions: Float[np.ndarray, "N 2"]
    ) -> tuple[Observation, Float64[np.ndarray, "N"], Bool[np.ndarray, "N"], Bool[np.ndarray, "N"], dict[str, Any]]:
        """Moves every agent. An environment whose episode has ended just goes on until it is reset.

        Raises:
            DataError: Actions that are not finite.
        """
        self._world.advance(np.asarray(actions, np.float64))
        self._steps += 1
        solved = self._world.solved()
        return (
            self.observation,
            solved.astype(np.float64),
            solved,
            self._steps >= self.max_episode_steps,
            {},
        )

    @property
    def observation(self) -> Observation:
        """What every environment shows now, as `reset` and `step` return it."""
        pixels = {"pixels": self._world.frames(self._world.state)} if self._pixels else {}
        return pixels | {"state": self.state, "goal": self.goal}

    @property
    def state(self) -> Float64[np.ndarray, "N 2"]:
        """Agent centres, in units of the frame."""
        return self._world.state.copy()

    @property
    def goal(self) -> Float64[np.ndarray, "N 2"]:
        """Goals, in units of the frame."""
        return self._world.goal.copy()

    @property
    def factors(self) -> tuple[TwoRoomFactors, ...]:
        """The factors of variation of each environment."""
        return self._world.factors

    def set_state(self, state: Float[np.ndarray, "N 2"], goal: Float[np.ndarray, "N 2"] | None = None) -> None:
        """Puts every agent at `state`, and the goals at `goal` if it is given; the episodes go on.

        Raises:
            DataError: A position in a wall or beyond the border.
        """
        self._world.place(state, goal)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The current frame of each environment, (Y, X, 3) uint8."""
        return tuple(self._world.frames(self._world.state)) if self.render_mode else None

    def render_goal(self) -> UInt8[np.ndarray, "N Y X 3"]:
        """The frames with each agent at its goal."""
        return self._world.frames(self._world.goal)

    def is_solved(self) -> Bool[np.ndarray, "N"]:
        """Whether each agent's centre is within 16/224 of its goal now."""
        return self._world.solved()
