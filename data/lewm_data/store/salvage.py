"""Files that cannot be opened as datasets, read as far as they can be: cut short, not closed, or without an index.

Shapes of a hostile file may be of any size: memory is taken only for what lies in the file.

Letters: N rows up to the last one that can be needed, B rows that are asked for, E episodes, C chunks of rows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Int64, Shaped

from lewm_data.errors import DataError
from lewm_data.store import schema
from lewm_data.store.closed_view import ClosedView
from lewm_data.store.contents import attributes_of, check_contents, memory_limit
from lewm_data.store.opening import FOREIGN_ERRORS, check_regular, reading
from lewm_data.store.places import rows_written
from lewm_data.store.present import Present
from lewm_data.store.rows import StoredRows, never_written
from lewm_data.store.schema import HASHES, INDEX, LENGTHS, NUMBERS, OFFSETS
from lewm_data.store.unclosed import as_long_as_it_says

COUNTERS = ("episode_idx", "episode_index", "episode")  # columns that number the episode of each row
BEYOND_REPAIR = "Copy the file again from where it came from; if that is not possible, record the data again."


@dataclass(frozen=True)
class Salvaged:
    """A file as far as it can be read.

    Attributes:
        path: The file.
        file: The open file.
        attributes: Its attributes.
        columns: Its columns of numbers.
        lengths: Rows of each episode (E,).
        offsets: The first row of each episode (E,).
        whole: Whether all rows of the episode are there (E,).
        faults: What is wrong with the file, a plain sentence each.
        handle: A descriptor of the file.
    """

    path: Path
    file: h5py.File
    attributes: dict[str, Any]
    columns: tuple[str, ...]
    lengths: Int64[np.ndarray, " E"]
    offsets: Int64[np.ndarray, " E"]
    whole: Bool[np.ndarray, " E"]
    faults: tuple[str, ...]
    handle: int
    _readers: dict[str, StoredRows] = field(default_factory=dict)

    def rows(self, name: str, first: int, end: int) -> Shaped[np.ndarray, "B ..."]:
        """The rows of a column from `first` up to, but without, `end`.

        Raises:
            UnreadableError: A chunk of them is damaged.
        """
        item = self.file[name]
        try:
            with reading(self.path):
                if not item.id.get_create_plist().get_nfilters():
                    found: np.ndarray = item[first:end]
                    return found
                if name not in self._readers:  # what unpacks to too much is refused there
                    count = rows_written(item)
                    self._readers[name] = StoredRows(self.path, item, count, self.handle, 0)
                if end > rows_written(item):
                    raise never_written(self.path, name)
                return self._readers[name].between(first, end)
        except DataError as error:
            raise UnreadableError(error.problem, error.remedy) from error

    def column(self, name: str) -> Shaped[np.ndarray, "N ..."]:
        """A column up to the end of the last episode that is whole; rows of other episodes mean nothing.

        Raises:
            DataError: It takes too much memory, or a chunk is damaged.
        """
        item = self.file[name]
        count = int((self.offsets + self.lengths)[self.whole].max(initial=1))
        size = count * item.dtype.itemsize * math.prod(item.shape[1:])
        if size > memory_limit():
            raise DataError(f"{self.path}: '{name}' takes {size} bytes", "Use a machine with more memory.")
        values = np.zeros((count, *item.shape[1:]), item.dtype)
        for number in np.flatnonzero(self.whole):
            first, end = self.offsets[number], self.offsets[number] + self.lengths[number]
            values[first:end] = self.rows(name, int(first), int(end))
        return values


class UnreadableError(DataError):
    """Rows that cannot be read, where others may be."""


@contextlib.contextmanager
def salvaging(path: Path) -> Iterator[Salvaged]:
    """Opens a file as far as it can be read.

    Raises:
        DataError: Nothing can be read of it, it refers to other files, or its columns are not those of a dataset.
    """
    check_regular(path)
    view = None
    try:
        try:
            view = ClosedView(path, as_long_as_it_says)
            file = h5py.File(view, "r")
        except FOREIGN_ERRORS as error:
            if not h5py.is_hdf5(path):
                raise DataError(
                    f"{path}: is not an HDF5 file", 'Give a dataset: "lewm data convert" makes one.'
                ) from error
            raise DataError(f"{path}: nothing of it can be read", BEYOND_REPAIR) from error
        with file:
            yield _salvaged(path, file, view)
    finally:
        if view is not None:
            view.close()


def _salvaged(path: Path, file: h5py.File, view: ClosedView) -> Salvaged:
    try:
        check_contents(path, file)
        stored = {
            name: item
            for name, item in file.items()
            if name not in (*INDEX, HASHES)
            and isinstance(item, h5py.Dataset)
            and item.ndim
            and item.dtype.kind in NUMBERS
        }
        columns = tuple(schema.Column(name, item.dtype, item.shape[1:]) for name, item in sorted(stored.items()))
        schema.check_columns(str(path), columns, {})
        present = {name: Present.of(item, view.there) for name, item in stored.items()}
        counts = [int(item.shape[0]) for item in stored.values()]
        rows = min(counts)
        faults = ["its writer did not close it"] if view.marked else []
        if any(
            one.end < item.shape[0] or not one.chunks.all()
            for one, item in zip(present.values(), stored.values(), strict=True)
        ):
            faults.append("rows are missing, because it was cut short or its writer was killed")
        if min(counts) < max(counts):
            faults.append(f"columns have {rows} to {max(counts)} rows")
        lengths, offsets, of_index = _episodes(path, file, stored, rows, view.there)
        faults += of_index
        end = min(rows, *(one.end for one in present.values()))
        if end > memory_limit():
            raise DataError(f"{path}: has {end:,} rows, more than fit into memory", BEYOND_REPAIR)
        everywhere = np.logical_and.reduce([one.rows(end) for one in present.values()])
        whole = np.array(
            [o + n <= end and everywhere[o : o + n].all() for o, n in zip(offsets, lengths, strict=True)], bool
        )
        attributes = attributes_of(path, file)
    except FOREIGN_ERRORS as error:
        if isinstance(error, DataError):
            raise
        if view.is_cut:
            lost = "it is cut short, and what says where its data lie was in the part that is missing"
            raise DataError(f"{path}: {lost}", BEYOND_REPAIR) from error
        raise DataError(f"{path}: its structure is damaged: {error}", BEYOND_REPAIR) from error
    return Salvaged(path, file, attributes, tuple(stored), lengths, offsets, whole, tuple(faults), view.fileno())


def _episodes(
    path: Path, file: h5py.File, stored: dict[str, h5py.Dataset], rows: int, there: int
) -> tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"], list[str]]:
    """Lengths and offsets of the episodes whose rows there can be, and what is wrong with the file's own."""
    lengths, offsets = (_whole_numbers(path, file, name, there) for name in (LENGTHS, OFFSETS))
    if lengths is not None and len(lengths) and lengths.min() >= 0:
        finished = lengths[: int(np.append(lengths > 0, False).argmin())]  # a length of 0 was not written any more
        ends = np.cumsum(finished)
        inside = finished[ends <= rows]
        faults = []
        said = int(file[LENGTHS].shape[0])
        if len(inside) < said:
            faults.append(f"'ep_len' has {said} episodes, and there are rows for {len(inside)}")
        begins = np.cumsum(inside) - inside
        if offsets is None or not np.array_equal(offsets[: len(inside)], begins):
            if offsets is not None and _cover(lengths, offsets, rows):
                return lengths, offsets, []
            faults.append("'ep_offset' does not say where the episodes of 'ep_len' begin")
        if len(inside):
            return inside, begins, faults
    name = next((one for one in COUNTERS if one in stored and stored[one].ndim == 1), None)
    if name is None or not rows:
        raise DataError(f"{path}: nothing says where its episodes begin", BEYOND_REPAIR)
    counter = _read(path, stored[name], min(rows, Present.of(stored[name], there).end))
    begins = np.flatnonzero(np.append(True, counter[1:] != counter[:-1]))
    lengths = np.diff(np.append(begins, rows))
    return lengths, begins, [f"'ep_len' is missing or empty; '{name}' tells the episodes apart"]


def _cover(lengths: Int64[np.ndarray, " E"], offsets: Int64[np.ndarray, " E"], rows: int) -> bool:
    """Whether the episodes cover all rows, in any order."""
    try:
        schema.check_episodes("", lengths, offsets, rows)
    except DataError:
        return False
    return len(lengths) == len(offsets)


def _whole_numbers(path: Path, file: h5py.File, name: str, there: int) -> Int64[np.ndarray, " E"] | None:
    item = file.get(name)
    if not isinstance(item, h5py.Dataset) or item.ndim != 1 or item.dtype.kind not in "iu":
        return None
    return _read(path, item, Present.of(item, there).end).astype(np.int64)


def _read(path: Path, item: h5py.Dataset, count: int) -> Shaped[np.ndarray, " B"]:
    """The first rows of a column of single numbers.

    Raises:
        DataError: They take too much memory.
    """
    if count * item.dtype.itemsize > memory_limit():
        raise DataError(
            f"{path}: '{item.name.strip('/')}' has {count:,} rows, more than fit into memory", BEYOND_REPAIR
        )
    found: np.ndarray = item[:count]
    return found
