"""The worlds that `lewm` knows by name: what collection and evaluation need of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Float64, UInt8

from lewm_data.envs.two_room import TwoRoomVectorEnv, path_distance, solved
from lewm_data.envs.two_room.perturbations import PERTURBATIONS
from lewm_data.errors import unknown
from lewm_data.perturbations import Perturbation
from lewm_data.policies import Policy, RandomPolicy, TwoRoomExpert


@runtime_checkable
class WorldEnv(Protocol):
    """A vector environment whose states can be set, and whose goals can be drawn and checked.

    Its observations have `pixels` (N, Y, X, 3), `state` (N, S) and `goal` (N, S). It never resets by itself;
    `reset` takes one seed for all or one each, and the options `reset_mask` (N,), `state`, `goal`, `factors`.
    """

    num_envs: int
    frame_size: int
    max_episode_steps: int
    single_observation_space: spaces.Space[Any]
    single_action_space: spaces.Space[Any]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begins an episode in every environment, or in those of `options["reset_mask"]`."""
        ...

    def step(
        self, actions: Float[np.ndarray, "N A"]
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Observation, reward, terminated, truncated and information after one action (N, A) each."""
        ...

    @property
    def state(self) -> Float64[np.ndarray, "N S"]:
        """The state of every environment."""
        ...

    def set_state(self, state: Float[np.ndarray, "N S"], goal: Float[np.ndarray, "N S"] | None = None) -> None:
        """Puts every environment into `state`, and the goals at `goal` if it is given."""
        ...

    def render_goal(self) -> UInt8[np.ndarray, "N Y X 3"]:
        """Frames as they look at the goals."""
        ...

    def is_solved(self) -> Bool[np.ndarray, " N"]:
        """Whether each environment is at its goal now."""
        ...

    def close(self) -> None:
        """Releases what the environment holds."""
        ...


@dataclass(frozen=True)
class World:
    """A world by name.

    Attributes:
        name: What users call it, "two-room".
        gymnasium_id: What Gymnasium calls it, "lewm/TwoRoom-v0".
        make: (num_envs, frame_size) to a vector environment.
        policies: By name, (environment, noise) to a policy; "random" ignores the noise.
        default_policy: The policy that collects data.
        default_noise: Its noise.
        action_dim: Width of an action.
        state_dim: Width of a state.
        path_distance: (states, states) to the lengths of the shortest paths, in the world's units.
        solved: (states, goals) to whether each counts as solved.
        targets: What a probe reads from the latents unless told otherwise: name to columns, {"agent": "state[0:2]"}.
        perturbations: What may happen against physics, by name.
    """

    name: str
    gymnasium_id: str
    make: Callable[[int, int], WorldEnv]
    policies: Mapping[str, Callable[[Any, float], Policy]]
    default_policy: str
    default_noise: float
    action_dim: int
    state_dim: int
    path_distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    solved: Callable[[np.ndarray, np.ndarray], np.ndarray]
    targets: Mapping[str, str]
    perturbations: Mapping[str, Perturbation]

    def policy(self, name: str, env: WorldEnv, noise: float | None = None) -> Policy:
        """The policy called `name` for `env`, with the default noise if none is given.

        Raises:
            DataError: A name that this world does not have.
        """
        if name not in self.policies:
            raise unknown(f"policy of {self.name}", name, self.policies)
        return self.policies[name](env, self.default_noise if noise is None else noise)


WORLDS = {
    "two-room": World(
        name="two-room",
        gymnasium_id="lewm/TwoRoom-v0",
        make=lambda num_envs, frame_size: TwoRoomVectorEnv(num_envs, frame_size),
        policies={
            "expert": lambda env, noise: TwoRoomExpert(env, noise),
            "random": lambda env, noise: RandomPolicy(env),
        },
        default_policy="expert",
        default_noise=2.0,  # arXiv 2603.19312
        action_dim=2,
        state_dim=2,
        path_distance=path_distance,
        solved=solved,
        targets={"agent": "state"},
        perturbations=PERTURBATIONS,
    ),
}


def world(name: str) -> World:
    """The world called `name`, by its own name or its Gymnasium id.

    Raises:
        DataError: An unknown name, with the nearest known one.
    """
    for one in WORLDS.values():
        if name in (one.name, one.gymnasium_id):
            return one
    raise unknown("environment", name, WORLDS)
