"""Comparison of a whole dataset with the hashes that were written with it."""

from dataclasses import dataclass

import numpy as np

from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset, OnShare
from lewm_data.store.schema import PIXELS


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        path: The file.
        episodes: Number of its episodes.
        frames: Number of its frames.
        fingerprint: The fingerprint of the contents, from the frames themselves; None where some differ from their
            hashes.
        hashes: Whether the file has hashes; without them nothing is compared.
        differing: Numbers of the episodes that differ from what was written.
        first_difference: The first difference in words; None where there is none.
        without_hashes: Columns that the file's hashes do not cover, because they were added later.
    """

    path: str
    episodes: int
    frames: int
    fingerprint: str | None
    hashes: bool
    differing: tuple[int, ...]
    first_difference: str | None
    without_hashes: tuple[str, ...]


def verify(dataset: Dataset, on_share: OnShare = lambda share: None) -> Verification:
    """Reads everything, and compares it with the hashes where the file has them.

    Args:
        dataset: An open dataset.
        on_share: Called with the share of the dataset that has been read.

    Raises:
        DataError: Something cannot be read.
    """
    if not dataset.has_hashes:
        dataset.frame_hashes(on_share)
    differing, first, read = [], None, 0
    for episode in range(dataset.num_episodes if dataset.has_hashes else 0):
        rows = dataset.rows(np.array([episode]))
        try:
            dataset.check_rows(rows)
        except DataError as error:
            differing.append(episode)
            first = first or str(error).splitlines()[0]
        read += len(rows)
        on_share(read / dataset.num_steps)
    covered = {PIXELS, *dataset.covered}
    return Verification(
        path=str(dataset.path),
        episodes=dataset.num_episodes,
        frames=dataset.num_steps,
        fingerprint=None if differing else dataset.fingerprint(),
        hashes=dataset.has_hashes,
        differing=tuple(differing),
        first_difference=first,
        without_hashes=tuple(sorted(set(dataset.columns) - covered)) if dataset.has_hashes else (),
    )
