"""Rows of an open HDF5 file, gathered in any order.

The bytes of a frame that is an uncompressed chunk of its own lie in the file unchanged. The place of each frame is
looked up once; then frames are read from there without HDF5. If another program shortens the file meanwhile, reading
raises an error; a mapped file would end the program, and HDF5 itself reads zeros beyond the file's end.

Shape letters: N steps, B rows that are asked for.
"""

import itertools
import math
import os
import zlib
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Int64, Shaped, UInt8

from lewm_data.errors import DataError
from lewm_data.store.contents import memory_limit
from lewm_data.store.opening import COPY_AGAIN
from lewm_data.store.schema import CHANGED

STORED_BYTES = 256 << 10  # a compressed chunk up to this size is not measured: deflate unpacks it to 1032 times at most
CHECKSUM = 4  # bytes after a chunk where the filter fletcher32 is used
PIECE = 1 << 20  # bytes that are unpacked at a time to measure a chunk


class PlainFrames:
    """Frames whose bytes lie in the file unchanged: each begins at the byte that `starts` names."""

    def __init__(self, path: Path, handle: int, starts: Int64[np.ndarray, "N"], shape: tuple[int, ...]) -> None:
        self._path, self._handle, self._starts, self._shape = path, handle, starts, shape
        self._size = math.prod(shape)
        end, there = int(starts.max(initial=0)) + self._size, os.fstat(handle).st_size
        if end > there:
            raise DataError(f"{path}: is truncated: a frame ends at byte {end}, the file at {there}", COPY_AGAIN)

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """Copies of the frames at `rows`, in that order.

        Raises:
            DataError: The file has become shorter, or cannot be read any more.
        """
        frames = np.empty((len(rows), *self._shape), np.uint8)
        handle, size, read = self._handle, self._size, os.preadv
        try:
            for frame, start in zip(frames, self._starts[rows].tolist(), strict=True):
                if read(handle, (frame,), start) != size:
                    raise _shortened(self._path)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read any more: {error.strerror}", CHANGED) from error
        return frames


class StoredRows:
    """Rows of any column, compressed or not, which HDF5 reads. Each run of neighbouring rows is read once.

    Args:
        path: The file.
        item: The column.
        count: Number of rows that may be asked for.
        handle: A descriptor of the file.
        size: Least size of the file in bytes.

    Raises:
        DataError: Some of these rows were never written.
    """

    def __init__(self, path: Path, item: h5py.Dataset, count: int, handle: int, size: int) -> None:
        self._path, self._item, self._count, self._handle, self._size = path, item, count, handle, size
        self._name = item.name.strip("/")
        self._row_bytes = item.dtype.itemsize * math.prod(item.shape[1:])
        made = item.id.get_create_plist()
        self._filters = [made.get_filter(index)[0] for index in range(made.get_nfilters())]
        self._checked: set[tuple[int, ...]] = set()
        if rows_written(item) < count:
            raise DataError(
                f"{path}: '{self._name}' has rows that were never written",
                f"Write them, or delete the column: del file['{self._name}'] with h5py.",
            )

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
            raise _shortened(self._path)
        return rows

    def read(self, rows: Int[np.ndarray, "B"]) -> Shaped[np.ndarray, "B ..."]:
        """Copies of the rows, in that order."""
        wanted, where = np.unique(rows, return_inverse=True)
        found = np.empty((len(wanted), *self._item.shape[1:]), self._item.dtype)
        bounds = np.flatnonzero(np.diff(wanted, prepend=-2, append=-2) != 1)
        for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            found[first:end] = self.between(int(wanted[first]), int(wanted[first]) + end - first)
        return found[where]

    def _check_chunks(self, first: int, end: int) -> None:
        """Raises if a compressed chunk, stored or unpacked, is larger than a chunk may be."""
        chunks = self._item.chunks
        steps = [range(first - first % chunks[0], end, chunks[0])]
        steps += [range(0, size, step) for size, step in zip(self._item.shape[1:], chunks[1:], strict=True)]
        for place in itertools.product(*steps):
            if place in self._checked:
                continue
            size = math.prod(chunks) * self._item.dtype.itemsize
            stored = self._item.id.get_chunk_info_by_coord(place)
            if stored.size <= CHECKSUM:  # HDF5 would read the checksum in front of it, and crash
                raise DataError(f"{self._path}: is damaged: a chunk of '{self._name}' is empty", COPY_AGAIN)
            if stored.size > size + size // 8 + PIECE or self._unpacks_beyond(size, stored, place):
                raise DataError(
                    f"{self._path}: is damaged: a chunk of '{self._name}' holds more than its {size} bytes", COPY_AGAIN
                )
            self._checked.add(place)

    def _unpacks_beyond(self, size: int, stored: h5py.h5d.StoreInfo, place: tuple[int, ...]) -> bool:
        if h5py.h5z.FILTER_DEFLATE not in self._filters or stored.size <= STORED_BYTES:
            return False
        packed, unpacked, stream = self._item.id.read_direct_chunk(place)[1], 0, zlib.decompressobj()
        try:
            while packed and not stream.eof and unpacked <= size:
                unpacked += len(stream.decompress(packed, PIECE))
                packed = stream.unconsumed_tail
        except zlib.error:
            return False  # packed in yet another way, or damaged: HDF5 reports it
        return unpacked > size


FrameReader = PlainFrames | StoredRows


def open_frames(path: Path, pixels: h5py.Dataset, count: int, handle: int, size: int) -> FrameReader:
    """The fastest reader for the way in which `pixels` is stored; the arguments are those of `StoredRows`.

    Raises:
        DataError: Frames were never written, or lie beyond the end of the file.
    """
    stored = StoredRows(path, pixels, count, handle, size)
    starts = _frame_starts(pixels, count) if hasattr(os, "preadv") else None
    return stored if starts is None else PlainFrames(path, handle, starts, pixels.shape[1:])


def rows_written(item: h5py.Dataset) -> int:
    """Number of rows of a column that may have been written; HDF5 fills the others with a constant."""
    if item.chunks is None:
        held: int = item.id.get_storage_size()
        compact = item.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        return int(item.shape[0]) if compact or held >= item.nbytes else 0
    across = math.prod(-(-size // step) for size, step in zip(item.shape[1:], item.chunks[1:], strict=True))
    return min(int(item.shape[0]), item.id.get_num_chunks() // max(across, 1) * item.chunks[0])


def _frame_starts(pixels: h5py.Dataset, num_steps: int) -> Int64[np.ndarray, "N"] | None:
    """The byte at which each frame begins in the file; None if the bytes of some frame do not lie there unchanged."""
    frame = pixels.shape[1:]
    plain = pixels.id.get_create_plist()
    if pixels.file.userblock_size or plain.get_nfilters():
        return None
    if pixels.chunks is None:
        first = pixels.id.get_offset()
        return None if first is None else first + np.arange(num_steps) * math.prod(frame)
    if pixels.chunks != (1, *frame):
        return None
    starts = np.full(num_steps, -1, np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        row = chunk.chunk_offset[0]
        if row < num_steps:  # a killed writer leaves chunks after the last row
            starts[row] = chunk.byte_offset

    pixels.id.chunk_iter(note)
    return None if len(starts) and starts.min() < 0 else starts


def _shortened(path: Path) -> DataError:
    return DataError(f"{path}: has become shorter while it was being read", CHANGED)
