"""Finds actions that training cannot compute with, before it begins.

N steps of all episodes, D action width of one step.
"""

from __future__ import annotations

import numpy as np

from lewm.errors import LewmError
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION

# Its square is still a float32. No quantity of a robot comes near it, in any unit.
LARGEST = 1e19


def check_actions(dataset: Dataset) -> None:
    """Pass if actions and their normalised values are numbers that float32 holds; an action that is absent is NaN.

    Raises:
        LewmError: naming the file, and the episode and step of the first that is not.
    """
    with np.errstate(invalid="ignore"):
        actions = np.abs(dataset.column(ACTION).astype(np.float64)).reshape(dataset.num_steps, -1)  # (N, D)
        wrong = np.flatnonzero((actions > LARGEST).any(axis=1))
    if not len(wrong):
        return
    row = int(wrong[0])
    episode = int(np.flatnonzero((dataset.offsets <= row) & (row < dataset.offsets + dataset.lengths))[0])
    raise LewmError(
        f"{dataset.path}: episode {episode}, step {row - dataset.offsets[episode]}: an action of "
        f"{np.nanmax(actions[row]):.3g}, expected at most {LARGEST:g}; {len(wrong)} such steps",
        "Correct the actions in the dataset, or leave these episodes out of it.",
    )
