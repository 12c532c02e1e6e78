"""An episode of a dataset some rows at a time, so that its length needs no memory.

Letters: P rows of a piece.
"""

from collections.abc import Collection, Iterator

import numpy as np
from jaxtyping import Shaped

from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION, PIXELS

PIECE_BYTES = 16 << 20  # rows in memory at a time


def pieces_of(
    dataset: Dataset, episode: int, names: Collection[str]
) -> Iterator[dict[str, Shaped[np.ndarray, "P ..."]]]:
    """The rows of an episode in pieces, with the stored values; but the last action is NaN.

    Args:
        dataset: An open dataset.
        episode: The number of the episode.
        names: The columns.

    Raises:
        DataError: There is no such episode, or a row is not what was written, as far as its hashes are known.
    """
    rows = dataset.rows(np.array([episode]))
    step = max(1, PIECE_BYTES // sum(column.row_bytes for column in dataset.schema if column.name in names))
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        dataset.check_rows(some)
        piece = {name: dataset.frames(some) if name == PIXELS else dataset._columns.read(name, some) for name in names}
        if first + step >= len(rows):
            piece[ACTION][-1] = np.nan
        yield piece
