"""Rows of a column of an open HDF5 file, which HDF5 reads, after a check that its compressed chunks have an end.

Shape letters: N steps, B rows that are asked for.
"""

import math
import os
import zlib
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Shaped

from lewm_data.errors import DataError
from lewm_data.store.chunk_index import UNDEFINED, Index, overlap
from lewm_data.store.contents import memory_limit
from lewm_data.store.disk_reads import shortened
from lewm_data.store.opening import COPY_AGAIN
from lewm_data.store.packed_sizes import HEAD, most_unpacked, stated_size
from lewm_data.store.places import chunk_places, chunks_across, rows_written

STORED_BYTES = 256 << 10  # a compressed chunk up to this size is not measured: deflate unpacks it to 1032 times at most
CHECKSUM = 4  # bytes after a chunk where the filter fletcher32 is used
PIECE = 1 << 20  # bytes that are unpacked at a time to measure a chunk


class StoredRows:
    """Rows of any column, compressed or not, which HDF5 reads. Each run of neighbouring rows is read once.

    Args:
        path: The file.
        item: The column.
        count: Number of rows that may be asked for.
        handle: A descriptor of the file.
        size: Least size of the file in bytes; 0 where its writer has not closed it.

    Raises:
        DataError: Some of these rows were never written.
    """

    def __init__(self, path: Path, item: h5py.Dataset, count: int, handle: int, size: int) -> None:
        self._path, self._item, self._count, self._handle, self._size = path, item, count, handle, size
        self._name = item.name.strip("/")
        self._row_bytes = item.dtype.itemsize * math.prod(item.shape[1:])
        made = item.id.get_create_plist()
        self._filters = {code: values for code, _, values, _ in map(made.get_filter, range(made.get_nfilters()))}
        self._places: Index | None = None
        self._measured = np.zeros(0, bool)
        if rows_written(item) < count:
            raise never_written(path, self._name)

    @property
    def nbytes(self) -> int:
        """The bytes of all rows together."""
        return self._count * self._row_bytes

    def whole(self) -> Shaped[np.ndarray, "N ..."]:
        """All rows.

        Raises:
            DataError: They take more memory than the limit for a column.
        """
        if self.nbytes > memory_limit():
            raise DataError(
                f"{self._path}: '{self._name}' takes {self.nbytes} bytes, expected at most {memory_limit()}, "
                "a part of the machine's memory",
                "Use a machine with more memory, or leave the column out of the file.",
            )
        return self.between(0, self._count)

    def between(self, first: int, end: int) -> Shaped[np.ndarray, "B ..."]:
        """The rows from `first` up to, but without, `end`."""
        if self._filters:
            self._check_chunks(first, end)
        rows: np.ndarray = self._item[first:end]
        if os.fstat(self._handle).st_size < self._size:
            raise shortened(self._path)
        return rows

    def read(self, rows: Int[np.ndarray, "B"]) -> Shaped[np.ndarray, "B ..."]:
        """Copies of the rows, in that order."""
        found = np.empty((len(rows), *self._item.shape[1:]), self._item.dtype)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        cuts = np.flatnonzero(np.diff(wanted, prepend=-2, append=np.iinfo(np.int64).max) > 1)
        for first, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            begin = int(wanted[first])
            found[order[first:end]] = self.between(begin, int(wanted[end - 1]) + 1)[wanted[first:end] - begin]
        return found

    def _check_chunks(self, first: int, end: int) -> None:
        """Raises if a compressed chunk, stored or unpacked, is larger than a chunk may be."""
        if self._places is None:
            places = chunk_places(self._item, self._count, self._handle, closed=self._size > 0)
            self._measured = np.zeros(len(places), bool)
            self._places = places  # last: another thread may read meanwhile
        across, rows = chunks_across(self._item), self._item.chunks[0]
        chunks = slice(first // rows * across, -(-end // rows) * across)
        places = self._places[chunks]
        check_places(self._path, self._name, places)
        check_packed(self._path, self._item, places)
        for number in (chunks.start + np.flatnonzero(~self._measured[chunks])).tolist():
            if self._unpacks_beyond(number):
                raise _holds_more(self._path, self._item)
        self._measured[chunks] = True

    def _unpacks_beyond(self, number: int) -> bool:
        """Whether a chunk unpacks to more than it may hold: by what it says or, where it says nothing, by trying."""
        assert self._places is not None
        place, size = self._places[number], chunk_bytes(self._item) + CHECKSUM
        packing = [code for code in self._filters if code != h5py.h5z.FILTER_FLETCHER32]
        if not packing:
            return False
        outermost = packing[-1]
        if outermost != h5py.h5z.FILTER_DEFLATE:
            head = os.pread(self._handle, min(HEAD, int(place["size"])), int(place["start"]))
            stated = None if place["skipped"] else stated_size(outermost, self._filters[outermost], head)
            return stated is not None and stated > most_unpacked(outermost, size, self._item.ndim)
        return int(place["size"]) > STORED_BYTES and self._inflates_beyond(number, size)

    def _inflates_beyond(self, number: int, size: int) -> bool:
        grid = [-(-side // step) for side, step in zip(self._item.shape, self._item.chunks, strict=True)]
        corner = (int(at) * step for at, step in zip(np.unravel_index(number, grid), self._item.chunks, strict=True))
        packed, unpacked, stream = self._item.id.read_direct_chunk(tuple(corner))[1], 0, zlib.decompressobj()
        try:
            while packed and not stream.eof and unpacked <= size:
                unpacked += len(stream.decompress(packed, PIECE))
                packed = stream.unconsumed_tail
        except zlib.error:
            return False  # packed in yet another way, or damaged: HDF5 reports it
        return unpacked > size


def check_places(path: Path, name: str, places: Index) -> None:
    """Raises unless all chunks were written, each in a place of its own.

    Raises:
        DataError: Some were not, or the file is damaged.
    """
    if (places["start"] == UNDEFINED).any():
        raise never_written(path, name)
    if overlap(places):
        raise DataError(f"{path}: is damaged: chunks of '{name}' lie in the same place", COPY_AGAIN)


def check_packed(path: Path, item: h5py.Dataset, places: Index) -> None:
    """Raises if a stored chunk is empty, or larger than a chunk may become.

    Raises:
        DataError: The file is damaged.
    """
    size = chunk_bytes(item)
    if (places["size"] <= CHECKSUM).any():  # HDF5 would read the checksum in front of it, and crash
        raise DataError(f"{path}: is damaged: a chunk of '{item.name.strip('/')}' is empty", COPY_AGAIN)
    if (places["size"] > size + size // 8 + PIECE).any():
        raise _holds_more(path, item)


def chunk_bytes(item: h5py.Dataset) -> int:
    """The bytes of a chunk when it is unpacked."""
    return math.prod(item.chunks) * int(item.id.get_type().get_size())  # of rows of any length, their places


def never_written(path: Path, name: str) -> DataError:
    """The error for rows that HDF5 would fill with a constant."""
    return DataError(
        f"{path}: '{name}' has rows that were never written",
        f"Write them, or delete the column: del file['{name}'] with h5py.",
    )


def _holds_more(path: Path, item: h5py.Dataset) -> DataError:
    name, size = item.name.strip("/"), chunk_bytes(item)
    return DataError(f"{path}: is damaged: a chunk of '{name}' holds more than its {size} bytes", COPY_AGAIN)
