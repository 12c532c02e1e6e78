"""The description of a world, for collection and evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Float64, UInt8

from lewm_data.envs.general_perturbations import Perturbation
from lewm_data.envs.judgement import Judge, by_states
from lewm_data.envs.simulator import Factor
from lewm_data.errors import DataError, unknown
from lewm_data.policies.policy import Policy
from lewm_data.policies.spec import GENERAL, PolicyFactory, make_policy, read_spec


@runtime_checkable
class WorldEnv(Protocol):
    """A vector environment whose states can be set, and whose goals can be drawn and checked.

    Its observations have `pixels` (N, Y, X, 3), `state` (N, S), `goal` (N, S), and the world's own columns. It never
    resets by itself. `reset` takes one seed for all or one each, and the options `reset_mask` (N,), `state`, `goal`,
    and `factors`: one mapping, or N of them, with the world's names of factors.
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
        """Takes one action (N, A) each; returns observation, reward, terminated, truncated and information."""
        ...

    @property
    def observation(self) -> dict[str, np.ndarray]:
        """What every environment shows now, as `reset` and `step` return it."""
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
        """The frames of the goals."""
        ...

    def is_solved(self) -> Bool[np.ndarray, " N"]:
        """Whether each environment is at its goal now."""
        ...

    def close(self) -> None:
        """Releases the environment's resources."""
        ...


@dataclass(frozen=True)
class World:
    """A world: its name, its environments, its policies and its task.

    Attributes:
        name: Its name for users, "two-room".
        gymnasium_id: Its Gymnasium id, "lewm/TwoRoom-v0".
        about: Description in one line.
        extra: The extra to install for it, "push-t" for `pip install -e ".[push-t]"`; None if it needs none.
        make: Makes a vector environment from (num_envs, frame_size, pixels). Without `pixels` its observations have
            none, and only `render` draws.
        policies: Its own policies: name to a function of (environment, noise) that makes one; "expert" solves the
            task. Every world also has "random" and "smooth", which ignore the noise.
        default_policy: The policy that collects data.
        default_noise: Noise of its policies where no other value is given.
        action_space: The space of one step's action; a choice is a one-hot vector here.
        state_dim: Width of a state.
        state_columns: The columns of published files that, concatenated, are the state.
        from_published: Maps states as published files hold them to states; they are the same in most worlds.
        path_distance: Maps (states, states) to the lengths of the shortest paths, in the world's units.
        solved: Maps (states, goals) to whether each counts as solved.
        targets: The default targets of a probe: name to columns, {"agent": "state[0:2]"}.
        perturbations: Events against physics, by name.
        factors: The factors that can vary between episodes, by name ("agent.color").
        workers: Whether worker processes make collection faster: False where one process is as fast as the disk.
        default_repeat: Probability that an action is taken again, where no other value is given.
        action_groups: The sizes of the one-hot vectors that, concatenated, make an action; None where an action
            consists of numbers.
        restorable: Whether its states can be set. Where they cannot, environments are `GymnasiumVectorEnv`, which reach
            a moment by replaying an episode, whose seed is in the column `episode_seed`.
        judge: Says whether the world can tell that a goal is reached, and how. This may have to be tried out first.
        judged_from: All that the result of such a trial depends on, by name: as long as it stays the same, so does the
            result. None where nothing is tried out, or where not all of it can be named.
        picture: Y and X of what its simulator draws; None where it draws frames, which are square.
        fit: How pictures that are not square become frames, a name in `fits`; None where there is no choice.
        fits: The same world with frames of each fit.
        detail: How finely its frames are drawn, a name in `details`; None where there is no choice.
        details: The same world with frames of each detail. Nothing but frames differs.
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
    from_published: Callable[[Float64[np.ndarray, "N S"]], Float64[np.ndarray, "N S"]] = lambda states: states
    judge: Judge = by_states
    judged_from: Callable[[], Mapping[str, str] | None] = lambda: None
    detail: str | None = None
    details: Mapping[str, Callable[[], "World"]] = field(default_factory=dict)
    picture: tuple[int, int] | None = None
    fit: str | None = None
    fits: Mapping[str, Callable[[], "World"]] = field(default_factory=dict)

    @property
    def action_dim(self) -> int:
        """Width of an action."""
        return self.action_space.shape[0]

    def drawn(self, detail: str | None) -> "World":
        """This world with frames of a detail; as it is where that is None.

        Raises:
            DataError: It has no such detail.
        """
        if detail is None:
            return self
        if not self.details:
            raise DataError(
                f'{self.name}: detail "{detail}", but its frames are drawn in one way only', "Leave out the detail."
            )
        if detail not in self.details:
            raise unknown(f"detail of {self.name}", detail, self.details)
        return self.details[detail]()

    def fitted(self, fit: str | None) -> "World":
        """This world with frames of a fit; as it is where that is None.

        Raises:
            DataError: It has no such fit.
        """
        if fit is None or fit == self.fit:
            return self
        if not self.fits:
            raise DataError(f'{self.name}: fit "{fit}", but its frames are drawn square', "Leave out the fit.")
        if fit not in self.fits:
            raise unknown(f"fit of {self.name}", fit, self.fits)
        return self.fits[fit]()

    @property
    def all_policies(self) -> Mapping[str, PolicyFactory]:
        """The world's own policies, then those that every world has."""
        return {**self.policies, **{name: make for name, make in GENERAL.items() if name not in self.policies}}

    def policy(self, spec: str, env: WorldEnv, noise: float | None = None, repeat: float | None = None) -> Policy:
        """The policy that `spec` names, for `env`; noise and repeat have the world's defaults where None.

        Args:
            spec: A name, a user's "module:function", or a mixture "expert:0.7,random:0.3"; see `policies.spec`.
            env: The environment in which it acts.
            noise: Strength of the noise on its actions; see the policy.
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
        """Each policy that `spec` names, with its share of the episodes.

        Raises:
            DataError: A name that this world does not have.
        """
        return read_spec(spec, self.all_policies, f"policy of {self.name}")
