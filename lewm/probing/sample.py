"""The frames that probes are fitted and tested on, split by episode.

N frames, E episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lewm.errors import LewmError
from lewm_data.clips import shuffled
from lewm_data.store import Dataset

TEST_SHARE = VALIDATION_SHARE = 0.2  # of the episodes
MIN_EPISODES = 10  # two to test on: an interval over episodes needs more than one


@dataclass(frozen=True)
class Sample:
    """Every frame of some episodes: those to train on come first, then validation, then test.

    Attributes:
        rows: Each frame's row of the dataset.
        episode: Each frame's episode, counted from 0 in the order of this sample.
        train, validation, test: Frames of each part; no episode lies in two of them.
    """

    rows: Int64[np.ndarray, " N"]
    episode: Int64[np.ndarray, " N"]
    train: slice
    validation: slice
    test: slice

    @property
    def parts(self) -> dict[str, slice]:
        """The three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def episodes(self) -> dict[str, int]:
        """How many episodes each part has."""
        return {name: len(np.unique(self.episode[part])) for name, part in self.parts.items()}


def draw_sample(dataset: Dataset, available: Int64[np.ndarray, " E"], count: int, seed: int) -> Sample:
    """At most `count` of the `available` episodes, 60 % to train on, 20 % to validate, 20 % to test.

    Raises:
        LewmError: fewer than MIN_EPISODES are available or asked for.
    """
    chosen = available[shuffled(len(available), seed, stream=0)][:count]
    if len(chosen) < MIN_EPISODES:
        raise LewmError(
            f"{dataset.path}: {len(chosen)} of {len(available)} episodes to probe with, at least {MIN_EPISODES} needed",
            "Ask for more with --episodes, or give --data a dataset with more that training has not seen.",
        )
    test, validation = round(TEST_SHARE * len(chosen)), round(VALIDATION_SHARE * len(chosen))
    lengths = dataset.lengths[chosen]
    first_validation, first_test = len(chosen) - validation - test, len(chosen) - test
    begin, end = int(lengths[:first_validation].sum()), int(lengths[:first_test].sum())
    return Sample(
        rows=dataset.rows(chosen),
        episode=np.repeat(np.arange(len(chosen)), lengths),
        train=slice(0, begin),
        validation=slice(begin, end),
        test=slice(end, int(lengths.sum())),
    )
