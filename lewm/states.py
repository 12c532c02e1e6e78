"""The states of a dataset, wherever it keeps them.

N steps of all episodes, S state width.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.world import World
from lewm_data.store import Dataset


def states_of(dataset: Dataset, world: World) -> Float64[np.ndarray, "N S"] | None:
    """The world's state at every step; None where the dataset does not hold it.

    It is the column `state`; in published files it may be in parts, which are the world's `state_columns`.
    """
    for names in (("state",), world.state_columns):
        if set(names) <= set(dataset.columns):
            parts = [dataset.column(name).reshape(dataset.num_steps, -1) for name in names]
            states = np.concatenate(parts, axis=1).astype(np.float64)
            if states.shape[1] == world.state_dim:
                return states
    return None
