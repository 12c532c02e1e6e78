"""How much frames change from step to step, and what that says about the frameskip of a model.

Letters: N steps of all episodes, S starts that are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

STEPS = (1, 2, 3, 5, 7, 10, 15, 20, 30)  # the frameskips that are compared
HALF = 0.5  # of the difference of unrelated frames
STARTS = 256
COARSE = 64  # pixels a side, about which frames are compared


@dataclass(frozen=True)
class Hint:
    """A frameskip that suits a dataset.

    Attributes:
        frameskip: The least of `STEPS` after which frames have changed half as much as unrelated frames differ; the
            greatest that was compared, where they never do.
        changes: The change after each number of steps, as a share of the difference of unrelated frames.
    """

    frameskip: int
    changes: dict[int, float]


def frameskip_hint(dataset: Dataset, seed: int = 0) -> Hint:
    """Compares frames some steps apart with frames of other moments, at places drawn by the seed.

    The difference of two frames is the mean absolute difference of their pixels.

    Raises:
        DataError: No episode has two frames, or frames never change.
    """
    rng = np.random.default_rng(seed)
    steps = [one for one in STEPS if one < dataset.lengths.max()]
    if not steps:
        raise DataError(f"{dataset.path}: no episode has two frames", "Record longer episodes.")
    anywhere = _frames(dataset, np.sort(rng.choice(dataset.num_steps, min(STARTS, dataset.num_steps), replace=False)))
    unrelated = float(np.abs(anywhere - anywhere[rng.permutation(len(anywhere))]).mean())
    if unrelated == 0:
        raise DataError(f"{dataset.path}: all frames are alike", "Check the camera.")
    changes = {}
    for step in steps:
        starts = _starts(dataset, step, rng)
        change = np.abs(_frames(dataset, starts + step) - _frames(dataset, starts)).mean()
        changes[step] = float(change) / unrelated
    enough = [step for step, change in changes.items() if change >= HALF]
    return Hint(enough[0] if enough else steps[-1], changes)


def _starts(dataset: Dataset, step: int, rng: np.random.Generator) -> Int64[np.ndarray, " S"]:
    """Rows after which `step` more follow in the episode, drawn evenly."""
    counts = np.maximum(dataset.lengths - step, 0)
    ends = np.cumsum(counts)
    drawn = np.sort(rng.integers(0, ends[-1], STARTS))
    place = np.searchsorted(ends, drawn, side="right")
    return dataset.offsets[place] + drawn - (ends - counts)[place]


def _frames(dataset: Dataset, rows: Int64[np.ndarray, " S"]) -> Float64[np.ndarray, "S Y X 3"]:
    """Frames of which only some pixels are taken, where they are large."""
    stride = max(1, max(dataset.frame_size) // COARSE)
    return dataset.frames(rows)[:, ::stride, ::stride].astype(np.float64)
