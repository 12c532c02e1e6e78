"""One Gymnasium environment as a simulator.

Letters: S state width, A action width, Y and X the sides of a frame, K actions of an episode.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Float64, Shaped, UInt8

from lewm_data.envs.gymnasium.drawing import drawn, open_env, resized
from lewm_data.envs.gymnasium.spaces import flat_actions, numeric_leaves, to_action
from lewm_data.errors import DataError

SEEDS = 2**31  # an episode's seed is below this number

# Maps rows of states and of goals to whether each is solved.
Solved = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interface:
    """The properties of an environment that hold in all its episodes.

    Attributes:
        gymnasium_id: Its Gymnasium id, "CartPole-v1".
        actions: The space of its actions.
        observation: The arrays of numbers that it observes, with their shapes; see `numeric_leaves`.
        info: The numbers in its `info`, with their shapes: those that the first two moments have.
        success: The entry of `info` that says whether its own task is done; None if there is none.
    """

    gymnasium_id: str
    actions: spaces.Space[Any]
    observation: Mapping[str, tuple[int, ...]]
    info: Mapping[str, tuple[int, ...]]
    success: str | None


class GymnasiumSimulator:
    """A Gymnasium environment, which can return to an earlier moment but cannot be put into any state.

    An episode is a function of its seed and its actions: `replay` goes to any of its moments, and `goal_here` makes the
    present moment the goal. Before that there is no goal. The state holds the numbers that the environment observes,
    without pictures; where it observes no numbers, the state is the number of steps. An episode that has ended stays as
    it is, whatever the actions.

    Args:
        interface: The result of `inspect`.
        frame_size: Pixels a side. The environment's picture is stretched to this size, averaging over areas.
        solved: Tells whether states are at their goals. It is not used where the environment itself tells whether its
            task is done.

    Attributes:
        reward: Reward of the last step.
        ended: Whether the environment has ended the episode.
    """

    def __init__(self, interface: Interface, frame_size: int, solved: Solved) -> None:
        self.action_space: spaces.Space[Any] = flat_actions(interface.actions)
        self.factors: Mapping[str, Any] = {}
        self.reward, self.ended = 0.0, False
        self._interface, self._frame_size, self._solved = interface, frame_size, solved
        self._env = open_env(interface.gymnasium_id)
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
        self._states.append(self.state)

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

        Raises:
            DataError: It does not stay the same, so planning and testing in it are impossible.
        """
        states, frame = self._states, self.render()
        self.replay(self._seed, np.stack(self._taken))
        for step, (first, second) in enumerate(zip(states, self._states, strict=True)):
            if not np.array_equal(first, second, equal_nan=True):
                raise self._not_replayed(f"at step {step}")
        if not np.array_equal(frame, self.render()):
            raise self._not_replayed(f"in the frame after {len(self._taken)} steps")

    @property
    def state(self) -> Float64[np.ndarray, " S"]:
        """The numbers that the environment observes now; where there are none, the number of steps from the start."""
        if not self._numbers:
            return np.array([len(self._taken)], np.float64)
        return np.concatenate([values.astype(np.float64).ravel() for values in self._numbers.values()])

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
        return resized(drawn(self._env, self._interface.gymnasium_id), self._frame_size)

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
        self._seed, self._taken = seed, []
        self.reward, self.ended = 0.0, False
        self._see(*self._env.reset(seed=seed))
        self._states = [self.state]

    def _see(self, observation: Any, info: Mapping[str, Any]) -> None:  # noqa: ANN401  # Gymnasium allows any type
        self._numbers = dict(numeric_leaves(self._env.observation_space, observation, "observation"))
        self._info = dict(info)

    def _not_replayed(self, where: str) -> DataError:
        return DataError(
            f"{self._interface.gymnasium_id}: the same seed and actions gave another episode {where}",
            "All its randomness must be from its own np_random, which reset(seed=...) seeds.",
        )


def inspect(gymnasium_id: str) -> Interface:
    """Looks at the first two moments of an environment.

    Raises:
        DataError: It cannot be made or drawn, or has actions of an unsupported kind.
    """
    env = open_env(gymnasium_id)
    try:
        try:
            actions = flat_actions(env.action_space)
        except DataError as error:
            raise DataError(f"{gymnasium_id}: {error.problem}", error.remedy) from error
        observation, first = env.reset(seed=0)
        drawn(env, gymnasium_id)
        *_, second = env.step(to_action(env.action_space, actions.low))
        shapes = [{name: _shape(value) for name, value in told.items()} for told in (first, second)]
        info = {name: shape for name, shape in shapes[0].items() if shape is not None and shapes[1].get(name) == shape}
        return Interface(
            gymnasium_id,
            env.action_space,
            {name: values.shape for name, values in numeric_leaves(env.observation_space, observation, "observation")},
            info,
            next((name for name in ("is_success", "success") if name in first or name in second), None),
        )
    finally:
        env.close()


def _shape(value: Any) -> tuple[int, ...] | None:  # noqa: ANN401  # an environment may tell anything
    """The shape of a value that consists of numbers, else None."""
    is_numeric = isinstance(value, bool | int | float | np.number | np.bool_ | np.ndarray)
    return np.shape(value) if is_numeric and np.asarray(value).dtype.kind in "biuf" else None


def _told(value: Any, shape: tuple[int, ...]) -> Float64[np.ndarray, "..."]:  # noqa: ANN401
    return np.array(value, np.float64) if _shape(value) == shape else np.full(shape, np.nan)
