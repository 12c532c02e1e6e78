"""Where the chunks of a column lie in its file.

Shape letters: C chunks.
"""

import math

import h5py
import numpy as np

from lewm_data.store.chunk_index import CHUNK, UNDEFINED, Index, Unfamiliar, read_index


def chunks_across(item: h5py.Dataset) -> int:
    """How many chunks a row lies in."""
    return math.prod(-(-size // step) for size, step in zip(item.shape[1:], item.chunks[1:], strict=True))


def chunk_places(item: h5py.Dataset, rows: int, handle: int, closed: bool) -> Index:
    """The places of all chunks that the first `rows` rows lie in; chunks of the same rows are neighbours.

    Args:
        item: A chunked column.
        rows: Its rows.
        handle: A descriptor of its file.
        closed: Whether the file was closed by its writer; else only HDF5 reads its index.
    """
    grid = [-(-size // step) for size, step in zip((rows, *item.shape[1:]), item.chunks, strict=True)]
    across = chunks_across(item)
    if closed and across == 1 and not item.file.userblock_size:
        try:
            return read_index(item, handle, grid[0])
        except Unfamiliar:
            pass
    chunks = np.zeros(grid[0] * across, CHUNK)
    chunks["start"] = UNDEFINED
    starts, sizes, skipped = chunks["start"], chunks["size"], chunks["skipped"]
    steps = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        number = sum(at // size * step for at, size, step in zip(chunk.chunk_offset, item.chunks, steps, strict=True))
        if number < len(chunks):  # a killed writer leaves chunks after the last row
            starts[number], sizes[number], skipped[number] = chunk.byte_offset, chunk.size, chunk.filter_mask

    item.id.chunk_iter(note)
    return chunks


def rows_written(item: h5py.Dataset) -> int:
    """Number of rows of a column that may have been written; HDF5 fills the others with a constant."""
    if item.chunks is None:
        held: int = item.id.get_storage_size()
        compact = item.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        return int(item.shape[0]) if compact or held >= item.nbytes else 0
    return min(int(item.shape[0]), item.id.get_num_chunks() // max(chunks_across(item), 1) * item.chunks[0])
