"""The states of a dataset, in whichever columns it keeps them, and how far they are apart.

N steps of all episodes, S state width, P pairs of states.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.registry import known_world
from lewm_data.envs.world import World
from lewm_data.store.dataset import Dataset

log = logging.getLogger(__name__)

# Computes the lengths of the shortest paths, in the world's own unit, from the states at both ends.
PathDistance = Callable[[Float64[np.ndarray, "P S"], Float64[np.ndarray, "P S"]], Float64[np.ndarray, " P"]]


def states_of(dataset: Dataset, world: World) -> Float64[np.ndarray, "N S"] | None:
    """The world's state at every step; None where the dataset does not hold it.

    It is in the column `state`; published files may have it in parts, in the world's `state_columns`, and in another
    unit.
    """
    for names in (("state",), world.state_columns):
        if set(names) <= set(dataset.columns):
            parts = [dataset.column(name).reshape(dataset.num_steps, -1) for name in names]
            states = np.concatenate(parts, axis=1).astype(np.float64)
            if states.shape[1] == world.state_dim:
                return world.from_published(states)
    return None


def paths_of(dataset: Dataset, env: str) -> tuple[Float64[np.ndarray, "N S"], PathDistance] | None:
    """The states of a dataset and the lengths of shortest paths between them, in the world called `env`.

    Returns:
        None, with a warning that says what cannot be drawn, where the world is not known or the dataset does not hold
        its states.
    """
    place = known_world(env)
    states = None if place is None else states_of(dataset, place)
    if place is not None and states is not None:
        return states, place.path_distance
    if place is None:
        reason = f"the shortest paths of {env} are not known"
    else:
        reason = f"no column of {dataset.path} is a state of {env}, which has {place.state_dim} numbers"
    log.warning("%s: there is no curve of latent distance over path length, nor its rank correlation", reason)
    return None
