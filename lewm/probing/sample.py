"""The frames that probes are fitted and tested on, split by episode.

N frames, E episodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lewm.errors import LewmError
from lewm_data.store.clips import shuffled
from lewm_data.store.dataset import Dataset

TEST_SHARE = VALIDATION_SHARE = 0.2  # shares of the episodes
MOST_HELD_OUT = 0.5  # share of the episodes: holding out more of them leaves too few to train on

# Test: an interval over episodes resamples them; a single episode would be drawn every time, and the interval would
# have no width. Train: within a single episode, what does not change, such as where a camera stands, could not be told
# from what is looked for. Validation only chooses among a few strengths and steps: the frames of one episode suffice.
MIN_TRAIN, MIN_VALIDATION, MIN_TEST = 2, 1, 2
MIN_EPISODES = MIN_TRAIN + MIN_VALIDATION + MIN_TEST


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


def draw_sample(
    dataset: Dataset, available: Int64[np.ndarray, " E"], count: int, seed: int, held_out: bool = False
) -> Sample:
    """At most `count` of the `available` episodes, 60 % to train on, 20 % to validate, 20 % to test.

    Args:
        held_out: Whether the available episodes are those that training held out, rather than all of the dataset.

    Raises:
        LewmError: fewer than MIN_EPISODES are available or asked for.
    """
    chosen = available[shuffled(len(available), seed, stream=0)][:count]
    if len(chosen) < MIN_EPISODES:
        which = "held out of training" if held_out else "in it"
        raise LewmError(
            f"{dataset.path}: {len(chosen)} of the {len(available)} episodes {which} to probe with, at least "
            f"{MIN_EPISODES} needed",
            _more(dataset.num_episodes, len(available), held_out),
        )
    test = max(MIN_TEST, round(TEST_SHARE * len(chosen)))
    validation = max(MIN_VALIDATION, round(VALIDATION_SHARE * len(chosen)))
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


def _more(episodes: int, available: int, held_out: bool) -> str:
    """What to do where there are fewer than MIN_EPISODES episodes to probe with."""
    if available >= MIN_EPISODES:
        return f"Give --episodes {MIN_EPISODES} or more."
    if not held_out:
        return "Give --data a dataset of more episodes."
    unseen = "give --data a dataset of more episodes that training has not seen."
    share = math.ceil(100 * MIN_EPISODES / episodes) / 100  # holds out enough episodes, however it is rounded
    if share > MOST_HELD_OUT:
        return f"Train on more episodes, or {unseen}"
    return f"Hold out more: lewm train --set training.held_out={share:g}, train on more episodes, or {unseen}"
