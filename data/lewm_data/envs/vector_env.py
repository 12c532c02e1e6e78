"""A Gymnasium vector environment from simulators.

Letters: N environments, S state width, Y and X the sides of a frame; an action may have any shape.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Float64, Int64, Shaped, UInt8

from lewm_data.envs.observation import Observation, look, space_of
from lewm_data.envs.resets import Generators, begin, checked, starting
from lewm_data.envs.simulator import Simulator
from lewm_data.errors import DataError


class SimulatorVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """N simulators, one after the other in one process.

    Observations are `pixels` uint8 (N, Y, X, 3), `state` and `goal` float64 (N, S), and the simulators' own columns.
    The reward is 1 where the goal is reached.

    No environment resets by itself. `reset` takes a seed for all (environment i then has seed + i), or one each,
    and `options` with any of

    - `reset_mask`: bool (N,), the environments that begin an episode (default: all);
    - `factors`: a mapping of some of the world's factors of variation, or a sequence of N of these;
    - `state`, `goal`: (N, S), instead of random ones.

    An episode is a function of its seed, its options and its actions alone.

    Args:
        make: Makes a simulator whose frames have `frame_size`.
        num_envs: N.
        frame_size: Pixels a side.
        max_episode_steps: Steps until an episode is truncated.
        pixels: Whether observations have `pixels`; without them, only `render` draws.
        terminates: Whether an episode ends where the goal is reached.

    Attributes:
        simulators: The simulator of each environment, for policies that need more than the observations.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # gymnasium declares it so
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    render_mode = "rgb_array"

    def __init__(
        self,
        make: Callable[[], Simulator],
        num_envs: int,
        frame_size: int,
        max_episode_steps: int,
        pixels: bool = True,
        terminates: bool = True,
    ) -> None:
        if num_envs < 1:
            raise DataError(f"num_envs is {num_envs}, expected at least 1", "Ask for one environment or more.")
        self.num_envs = num_envs
        self.frame_size = frame_size
        self.max_episode_steps = max_episode_steps
        self.terminates = terminates
        self.simulators: Sequence[Simulator] = [make() for _ in range(num_envs)]
        for simulator in self.simulators:
            simulator.reset(np.random.default_rng(0), {})  # a reset with a mask needs the others to be in some episode
        self._pixels = pixels
        self._generators = Generators(num_envs)
        self._steps = np.zeros(num_envs, np.int64)
        self._seen: Observation = {}
        self.single_action_space = self.simulators[0].action_space
        self.single_observation_space = space_of(look(self.simulators[0], pixels))
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode in every environment, or in those of `options["reset_mask"]`.

        Raises:
            DataError: An unknown option or factor, a mask or state of the wrong shape.
        """
        given = checked(options)
        slots = starting(given, self.num_envs)
        given.pop("reset_mask", None)
        if isinstance(given.get("factors"), Mapping):
            given["factors"] = [given["factors"]] * self.num_envs
        for name, values in given.items():
            if len(values) != self.num_envs:
                raise DataError(f"{len(values)} {name} for {self.num_envs} environments", "Give one each.")
        for slot, rng in zip(slots.tolist(), self._generators.of(slots, seed), strict=True):
            begin(self.simulators[slot], rng, {name: values[slot] for name, values in given.items()})
        self._steps[slots] = 0
        self._look(slots if self._seen else np.arange(self.num_envs))
        return dict(self._seen), {}

    def step(
        self, actions: Shaped[np.ndarray, "N ..."]
    ) -> tuple[Observation, Float64[np.ndarray, " N"], Bool[np.ndarray, " N"], Bool[np.ndarray, " N"], dict[str, Any]]:
        """One step of every environment. One whose episode has ended just goes on until it is reset."""
        for simulator, action in zip(self.simulators, actions, strict=True):
            simulator.step(action)
        self._steps += 1
        solved, late = self.is_solved(), self._steps >= self.max_episode_steps
        self._look(np.arange(self.num_envs))
        return dict(self._seen), solved.astype(np.float64), solved & self.terminates, late, {}

    @property
    def observation(self) -> Observation:
        """What every environment shows now, as `reset` and `step` return it."""
        each = [look(simulator, self._pixels) for simulator in self.simulators]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    @property
    def state(self) -> Float64[np.ndarray, "N S"]:
        """The state of every environment."""
        return np.stack([simulator.state for simulator in self.simulators])

    @property
    def factors(self) -> tuple[Mapping[str, Any], ...]:
        """The factors of variation of each environment."""
        return tuple(simulator.factors for simulator in self.simulators)

    def set_state(self, state: Float[np.ndarray, "N S"], goal: Float[np.ndarray, "N S"] | None = None) -> None:
        """Puts every environment into `state`, and the goals at `goal` if it is given; the episodes go on."""
        goals = [None] * self.num_envs if goal is None else list(goal.astype(np.float64))
        for simulator, one, aim in zip(self.simulators, state.astype(np.float64), goals, strict=True):
            simulator.set_state(one, aim)

    def render(self) -> tuple[np.ndarray, ...]:
        """The current frame of each environment, (Y, X, 3) uint8."""
        return tuple(simulator.render() for simulator in self.simulators)

    def render_goal(self) -> UInt8[np.ndarray, "N Y X 3"]:
        """The frames of the goals."""
        return np.stack([simulator.render_goal() for simulator in self.simulators])

    def is_solved(self) -> Bool[np.ndarray, " N"]:
        """Whether each environment is at its goal now."""
        return np.array([simulator.is_solved() for simulator in self.simulators])

    def close_extras(self, **_: object) -> None:
        """Releases the simulators; called by `close`."""
        for simulator in self.simulators:
            simulator.close()

    def _look(self, slots: Int64[np.ndarray, " K"]) -> None:
        """Observes `slots`. The others keep their last observation, because drawing takes most of the time."""
        each = [look(self.simulators[slot], self._pixels) for slot in slots.tolist()]
        every = len(slots) == self.num_envs
        for name in each[0]:
            values = np.stack([one[name] for one in each])
            if not every:
                fresh, values = values, self._seen[name].copy()
                values[slots] = fresh
            self._seen[name] = values
