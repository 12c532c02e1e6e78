"""One Gymnasium environment as a simulator.

Letters: S state width, A action width, Y and X the sides of a frame, K actions of an episode.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Float64, Shaped, UInt8

from lewm_data.envs.gymnasium.drawing import drawn, open_env, square
from lewm_data.envs.gymnasium.interface import Interface, digest, not_replayed, shape_of
from lewm_data.envs.gymnasium.spaces import flat_actions, numeric_leaves, to_action
from lewm_data.errors import DataError

SEEDS = 2**31  # an episode's seed is below this number

# Maps rows of states and of goals to whether each is solved.
Solved = Callable[[np.ndarray, np.ndarray], np.ndarray]


class GymnasiumSimulator:
    """A Gymnasium environment, which can return to an earlier moment but cannot be put into any state.

    An episode is a function of its seed and its actions: `replay` goes to any of its moments, and `goal_here` makes the
    present moment the goal. Before that there is no goal. The state holds the numbers that the environment observes,
    without pictures; where it observes no numbers, the state is the number of steps. An episode that has ended stays as
    it is, whatever the actions. Each moment is drawn at most once, and always where the next picture depends on it.

    Args:
        interface: The result of `inspect`.
        frame_size: Pixels a side of a frame.
        fit: How the environment's picture becomes one, see `drawing.square`.
        solved: Tells whether states are at their goals. It is not used where the environment itself tells whether its
            task is done.

    Attributes:
        reward: Reward of the last step.
        ended: Whether the environment has ended the episode.
    """

    def __init__(self, interface: Interface, frame_size: int, fit: str, solved: Solved) -> None:
        self.action_space: spaces.Space[Any] = flat_actions(interface.actions)
        self.factors: Mapping[str, Any] = {}
        self.reward, self.ended = 0.0, False
        self._interface, self._frame_size, self._fit, self._solved = interface, frame_size, fit, solved
        self._env = open_env(interface.gymnasium_id)
        self._used = False
        self._frame: UInt8[np.ndarray, "Y X 3"] | None = None  # the present moment, if it was drawn
        self._taken: list[np.ndarray] = []  # the actions of the episode until now
        self._goal: tuple[np.ndarray, np.ndarray] | None = None  # its state and its frame

    def reset(self, rng: np.random.Generator, factors: Mapping[str, Any]) -> None:
        """Begins an episode whose seed is drawn from `rng`, without a goal. There are no factors."""
        self._begin(int(rng.integers(SEEDS)))
        self._goal = None

    def step(self, action: Shaped[np.ndarray, " A"]) -> None:
        """Takes one step. Numbers are clipped to their bounds; the largest number of each one-hot group is the choice.

        Raises:
            DataError: An action that does not fit.
        """
        self.reward = 0.0
        if self.ended:
            return
        observation, reward, terminated, truncated, info = self._env.step(to_action(self._interface.actions, action))
        self.reward, self.ended = float(reward), bool(terminated or truncated)
        self._taken.append(action.copy())
        self._see(observation, info)

    def replay(self, seed: int, actions: Float32[np.ndarray, "K A"]) -> None:
        """Begins the episode of a seed and takes these actions. The goal stays."""
        self._begin(seed)
        for action in actions:
            self.step(action)

    def goal_here(self) -> None:
        """Makes the present moment the goal."""
        self._goal = self.state, self.render()

    def check_replay(self) -> None:
        """Replays the present episode to see whether it stays the same.

        What it observes is compared, pictures too. The frame is compared only where that never changes: how often a
        world was drawn, or sparks that mean nothing, may show there.

        Raises:
            DataError: It does not stay the same, so planning and testing in it are impossible.
        """
        seen, frame = self._seen, self.render()
        self.replay(self._seed, np.stack(self._taken))
        for step, (first, second) in enumerate(zip(seen, self._seen, strict=False)):
            if first != second:
                raise not_replayed(self._interface.gymnasium_id, f"at step {step}")
        if len(seen) != len(self._seen):
            raise not_replayed(self._interface.gymnasium_id, f"that ends after {len(self._seen) - 1} steps")
        if len(set(seen)) == 1 and not np.array_equal(frame, self.render()):
            raise not_replayed(self._interface.gymnasium_id, f"in the frame after {len(self._taken)} steps")

    @property
    def state(self) -> Float64[np.ndarray, " S"]:
        """The numbers that the environment observes now; where there are none, the number of steps from the start."""
        if not self._numbers:
            return np.array([len(self._taken)], np.float64)
        return np.concatenate([values.astype(np.float64).ravel() for values in self._numbers.values()])

    @property
    def past(self) -> str:
        """A digest of everything that was observed from the start of the episode until now."""
        return hashlib.blake2b(b"".join(self._seen), digest_size=16).hexdigest()

    @property
    def goal(self) -> Float64[np.ndarray, " S"]:
        """The state to be reached; NaN while there is none."""
        return np.full_like(self.state, np.nan) if self._goal is None else self._goal[0].copy()

    def set_state(self, state: Float64[np.ndarray, " S"], goal: Float64[np.ndarray, " S"] | None = None) -> None:
        """Raises, because a Gymnasium environment cannot be put into a state.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"{self._interface.gymnasium_id}: its state cannot be set",
            "Replay an episode: it is a function of its seed and its actions.",
        )

    def columns(self) -> Mapping[str, Shaped[np.ndarray, "..."]]:
        """The arrays that it observes, the numbers in its `info`, and `episode_seed`, which `replay` needs.

        A number is NaN where `info` does not have it now, or has it in another shape.
        """
        told = {
            f"info.{name.replace('/', '_')}": _told(self._info.get(name), shape)
            for name, shape in self._interface.info.items()
        }
        return {**self._numbers, **told, "episode_seed": np.array(self._seed, np.int64)}

    def render(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it is now.

        Raises:
            DataError: It does not draw, or draws something that is not a frame.
        """
        if self._frame is None:
            self._frame = square(drawn(self._env, self._interface.gymnasium_id), self._frame_size, self._fit)
        return self._frame.copy()

    def render_goal(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it was where `goal_here` was called.

        Raises:
            DataError: There is no goal.
        """
        if self._goal is None:
            raise DataError(f"{self._interface.gymnasium_id}: has no goal", "Replay an episode up to its goal before.")
        return self._goal[1].copy()

    def is_solved(self) -> bool:
        """Whether the environment says that its task is done; where it says nothing, whether the goal is reached."""
        if self._interface.success is not None:
            return bool(self._info.get(self._interface.success, False))
        return self._goal is not None and bool(self._solved(self.state[None], self.goal[None])[0])

    def close(self) -> None:
        """Releases the environment."""
        self._env.close()

    def _begin(self, seed: int) -> None:
        if self._used and self._interface.fresh:
            self._env.close()
            self._env = open_env(self._interface.gymnasium_id)
        self._used = True
        self._seed, self._taken = seed, []
        self._seen: list[bytes] = []  # a digest of each moment of the episode until now
        self.reward, self.ended = 0.0, False
        self._see(*self._env.reset(seed=seed))

    def _see(self, observation: Any, info: Mapping[str, Any]) -> None:  # noqa: ANN401  # Gymnasium allows any type
        space = self._env.observation_space
        self._numbers = dict(numeric_leaves(space, observation, "observation"))
        self._info, self._frame = dict(info), None
        self._seen.append(digest(space, observation))
        if self._interface.drawing_counts:
            self.render()


def _told(value: Any, shape: tuple[int, ...]) -> Float64[np.ndarray, "..."]:  # noqa: ANN401
    return np.array(value, np.float64) if shape_of(value) == shape else np.full(shape, np.nan)
