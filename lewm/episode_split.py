"""Which episodes of a dataset a training sees, and which it holds out.

S episodes that training sees, U that it holds out.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from lewm.config import Training
from lewm_data.store.clips import split_episodes


def split(training: Training, episodes: int) -> tuple[Int64[np.ndarray, " S"], Int64[np.ndarray, " U"]]:
    """The episodes that training sees, then those that it holds out, both ascending.

    Those that it holds out do not depend on `training.episodes`. Where that is set, all others lie in neither part.

    Args:
        training: The training's section of the configuration.
        episodes: How many the dataset has.

    Raises:
        DataError: The dataset has fewer than two episodes, or fewer to train on than `training.episodes`.
    """
    return split_episodes(episodes, training.held_out, training.seed, training.episodes)
