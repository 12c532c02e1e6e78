"""The common part of all environments when episodes begin.

Letters: N environments, K of them that begin an episode.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from jaxtyping import Int64

from lewm_data.envs.simulator import Simulator
from lewm_data.errors import DataError, unknown

OPTIONS = ("factors", "state", "goal", "reset_mask")


def starting(options: Mapping[str, Any], num_envs: int) -> Int64[np.ndarray, " K"]:
    """The environments that `options["reset_mask"]` marks; without it, all.

    Raises:
        DataError: The mask does not fit, or marks no environment.
    """
    mask = np.asarray(options.get("reset_mask", np.ones(num_envs, np.bool_)))
    if mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise DataError(
            f"reset_mask is {mask.dtype} {mask.shape}, expected bool ({num_envs},), not all False",
            "Mark the environments that begin a new episode.",
        )
    return np.flatnonzero(mask)


class Generators:
    """The random generators of N environments. Each is kept until its environment gets another seed."""

    def __init__(self, num_envs: int) -> None:
        self._num_envs = num_envs
        self._rngs: dict[int, np.random.Generator] = {}

    def of(self, slots: Int64[np.ndarray, " K"], seed: int | Sequence[int | None] | None) -> list[np.random.Generator]:
        """The generators of `slots`, seeded again where a seed is given.

        Args:
            slots: Numbers of environments.
            seed: One seed, from which environment i gets seed + i, or a seed for each of the N environments.

        Raises:
            DataError: Too many or too few seeds.
        """
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + i for i in range(self._num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self._num_envs:
            raise DataError(f"{len(seeds)} seeds for {self._num_envs} environments", "Give one seed, or one each.")
        for slot in slots.tolist():
            if seeds[slot] is not None or slot not in self._rngs:
                self._rngs[slot], _ = seeding.np_random(seeds[slot])
        return [self._rngs[slot] for slot in slots.tolist()]


def checked(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a reset, without those that are None.

    Raises:
        DataError: An option is unknown.
    """
    for name in options or {}:
        if name not in OPTIONS:
            raise unknown("reset option", str(name), OPTIONS)
    return {name: value for name, value in (options or {}).items() if value is not None}


def begin(simulator: Simulator, rng: np.random.Generator, options: Mapping[str, Any]) -> None:
    """Resets a simulator with the options of one environment.

    Raises:
        DataError: An unknown factor, or a state that does not fit.
    """
    factors = options.get("factors", {})
    for name in factors:
        if name not in simulator.factors:
            raise unknown("factor of variation", str(name), simulator.factors)
    simulator.reset(rng, factors)
    placed = {name: np.asarray(options[name], np.float64) for name in ("state", "goal") if name in options}
    for name, value in placed.items():
        if value.shape != simulator.state.shape:
            raise DataError(
                f"{name} has shape {value.shape}, expected {simulator.state.shape}", "Give a whole state of the world."
            )
    if placed:
        simulator.set_state(placed.get("state", simulator.state), placed.get("goal"))
