"""Which rows of a column lie in a damaged file. Its shapes may be of any size; memory is taken only for what is there.

Letters: N rows, C chunks of rows.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass

import h5py
import numpy as np
from jaxtyping import Bool, Int64

from lewm_data.store.opening import FOREIGN_ERRORS
from lewm_data.store.places import chunks_across, rows_written


@dataclass(frozen=True)
class Present:
    """Which rows of a column lie in the file.

    Attributes:
        chunks: Whether all of the chunks of some rows are there (C,), up to the last that are.
        each: Rows of a chunk.
        end: The row after the last that is there.
    """

    chunks: Bool[np.ndarray, " C"]
    each: int
    end: int

    @classmethod
    def of(cls, item: h5py.Dataset, there: int) -> Present:
        """The rows of a column that lie in a file of `there` bytes."""
        count = int(item.shape[0])
        if item.chunks is None:
            first, row = item.id.get_offset(), item.nbytes // max(count, 1)
            if first is None:
                end = count if rows_written(item) == count else 0
            else:
                end = min(count, max(there - first, 0) // max(row, 1))
            return cls(np.ones(min(end, 1), bool), end, end)
        found = _chunks_there(item, there) >= max(chunks_across(item), 1)
        found = found[: int(np.flatnonzero(found).max(initial=-1)) + 1]
        return cls(found, item.chunks[0], min(len(found) * item.chunks[0], count))

    def rows(self, count: int) -> Bool[np.ndarray, " N"]:
        """Whether each of the first `count` rows is there, of which none is after the last."""
        return np.repeat(self.chunks[: -(-count // max(self.each, 1))], np.minimum(self.each, count))[:count]


def _chunks_there(item: h5py.Dataset, there: int) -> Int64[np.ndarray, " C"]:
    """How many chunks of the same rows lie in a file of `there` bytes, of which each takes one at least."""
    found = np.zeros(min(-(-int(item.shape[0]) // item.chunks[0]), there), np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        place = chunk.chunk_offset[0] // item.chunks[0]
        if chunk.byte_offset is not None and chunk.byte_offset + chunk.size <= there and place < len(found):
            found[place] += 1

    try:
        item.id.chunk_iter(note)
    except FOREIGN_ERRORS:  # a part of the index is gone: what the rest of it leads to is found chunk by chunk
        found[:] = 0
        steps = [range(0, size, step) for size, step in zip(item.shape, item.chunks, strict=True)]
        for place in itertools.islice(itertools.product(*steps), there):
            with contextlib.suppress(*FOREIGN_ERRORS):
                note(item.id.get_chunk_info_by_coord(place))
    return found
