"""The places of a dataset's episodes.

Shape letters: N steps of all episodes, E episodes, K episodes that are asked for, R their rows.
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Int64, Shaped

from lewm_data.errors import DataError
from lewm_data.store import schema
from lewm_data.store.opening import OpenFile
from lewm_data.store.places import rows_written
from lewm_data.store.rows import StoredRows
from lewm_data.store.schema import INDEX, LENGTHS, OFFSETS, PIXELS


def read_index(path: Path, opened: OpenFile, size: int) -> tuple[Int64[np.ndarray, "E"], Int64[np.ndarray, "E"]]:
    """Lengths and first rows of the finished episodes. It is not checked here whether they cover all rows.

    Args:
        path: The file.
        opened: The open file; its frames have the right type.
        size: Least size of the file in bytes.

    Raises:
        DataError: The lengths or offsets are missing, are no integers, or are more than the rows.
    """
    rows = int(opened.file[PIXELS].shape[0])
    for name in INDEX:
        item = opened.file.get(name)
        if not isinstance(item, h5py.Dataset) or item.ndim != 1 or item.dtype.kind not in "iu":
            raise DataError(f"{path}: no column '{name}' of integers, one an episode", schema.SEE_FORMAT)
        if item.shape[0] > rows:
            raise DataError(
                f"{path}: '{name}' has {item.shape[0]} rows, expected at most {rows}, those of 'pixels'",
                schema.SEE_FORMAT,
            )
    lengths, offsets = (_integers(path, opened, name, size) for name in (LENGTHS, OFFSETS))
    if opened.interrupted:  # an episode is finished once its length, which is written last, is there
        finished = min(int(np.append(lengths > 0, False).argmin()), len(offsets))
        lengths, offsets = lengths[:finished], offsets[:finished]
    if len(lengths) != len(offsets):
        raise DataError(
            f"{path}: 'ep_offset' has {len(offsets)} rows, expected {len(lengths)} as in 'ep_len'",
            schema.SEE_FORMAT,
        )
    return lengths, offsets


def rows_of(
    lengths: Int[np.ndarray, "E"], offsets: Int[np.ndarray, "E"], episodes: Int[np.ndarray, "K"]
) -> Shaped[np.ndarray, "R"]:
    """The rows of `episodes`, one after the other."""
    counts = lengths[episodes]
    begins = np.cumsum(counts) - counts
    return np.repeat(offsets[episodes] - begins, counts) + np.arange(counts.sum())


def _integers(path: Path, opened: OpenFile, name: str, size: int) -> Int64[np.ndarray, "E"]:
    item = opened.file[name]
    count = rows_written(item) if opened.interrupted else int(item.shape[0])
    values = StoredRows(path, item, count, opened.handle, size).whole()
    if values.dtype.kind == "u":  # numbers beyond int64 would become negative
        values = np.minimum(values, np.uint64(np.iinfo(np.int64).max))
    return values.astype(np.int64)
