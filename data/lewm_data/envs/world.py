"""What collection and evaluation need to know of a world."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Float64, UInt8

from lewm_data.envs.general_perturbations import Perturbation
from lewm_data.envs.simulator import Factor
from lewm_data.policies.policy import Policy
from lewm_data.policies.spec import GENERAL, PolicyFactory, make_policy, read_spec


@runtime_checkable
class WorldEnv(Protocol):
    """A vector environment whose states can be set, and whose goals can be drawn and checked.

    Its observations have `pixels` (N, Y, X, 3), `state` (N, S), `goal` (N, S), and the world's own columns. It never
    resets by itself; `reset` takes one seed for all or one each, and the options `reset_mask` (N,), `state`, `goal`,
    and `factors`, a mapping by the world's names or N of them.
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

    def render(self) -> tuple[UInt8[np.ndarray, "Y X 3"], ...] | None:
        """The present frame of every environment."""
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
        about: What it is, in one line.
        extra: What has to be installed for it, as in `pip install -e ".[push-t]"`; None if nothing.
        make: (num_envs, frame_size, pixels) to a vector environment; without `pixels` its observations have none, and
            only `render` draws.
        policies: Its own by name, (environment, noise) to a policy; "expert" solves it. Every world has "random" and
            "smooth" besides, which ignore the noise.
        default_policy: The policy that collects data.
        default_noise: Of its policies, unless another is asked for.
        action_space: Of one step; actions that are choices are one-hot vectors here.
        state_dim: Width of a state.
        state_columns: The columns of published files that, one behind the other, are the state.
        path_distance: (states, states) to the lengths of the shortest paths, in the world's units.
        solved: (states, goals) to whether each counts as solved.
        targets: What a probe reads from the latents unless told otherwise: name to columns, {"agent": "state[0:2]"}.
        perturbations: What may happen against physics, by name.
        factors: What can be varied between episodes, by name ("agent.color").
        workers: Whether collection gains from worker processes: False where one process is as fast as the disk.
        default_repeat: Probability that an action is taken again, unless another is asked for.
        action_groups: Where an action is one-hot vectors, one behind the other, their sizes; None where it is numbers.
        restorable: Whether its states can be set. Where they cannot, environments are `GymnasiumVectorEnv`, and brought
            to a moment by replaying an episode, whose seed is in the column `episode_seed`.
        solvable: Whether it can be told that a goal is reached.
    """

    name: str
    gymnasium_id: str
    about: str
    extra: str | None
    make: Callable[[int, int, bool], WorldEnv]
    policies: Mapping[str, PolicyFactory]
    default_policy: str
    default_noise: float
    action_space: spaces.Box
    state_dim: int
    state_columns: tuple[str, ...]
    path_distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    solved: Callable[[np.ndarray, np.ndarray], np.ndarray]
    targets: Mapping[str, str]
    perturbations: Mapping[str, Perturbation]
    factors: Mapping[str, Factor]
    workers: bool
    default_repeat: float = 0.0
    action_groups: tuple[int, ...] | None = None
    restorable: bool = True
    solvable: bool = True

    @property
    def action_dim(self) -> int:
        """Width of an action."""
        return self.action_space.shape[0]

    @property
    def all_policies(self) -> Mapping[str, PolicyFactory]:
        """Its own, then those that every world has."""
        return {**self.policies, **{name: make for name, make in GENERAL.items() if name not in self.policies}}

    def policy(self, spec: str, env: WorldEnv, noise: float | None = None, repeat: float | None = None) -> Policy:
        """The policy that `spec` names for `env`, with the default noise and repeats where none are given.

        Args:
            spec: A name, a user's "module:function", or a mixture "expert:0.7,random:0.3"; see `policies.spec`.
            env: Where it acts.
            noise: What it adds to its actions; see the policy.
            repeat: Probability that an episode's previous action is taken again.

        Raises:
            DataError: A name that this world does not have, or a value out of its range.
        """
        return make_policy(
            self.policy_parts(spec),
            env,
            self.default_noise if noise is None else noise,
            self.default_repeat if repeat is None else repeat,
        )

    def policy_parts(self, spec: str) -> tuple[tuple[PolicyFactory, float], ...]:
        """What `spec` names, each with its share of the episodes.

        Raises:
            DataError: A name that this world does not have.
        """
        return read_spec(spec, self.all_policies, f"policy of {self.name}")
