"""Frames of an open HDF5 file, gathered in any order by the fastest way that their storage allows.

The bytes of a frame in an uncompressed chunk of whole frames lie in the file unchanged. The place of each frame is
looked up once; then frames are read from there without HDF5. If another program shortens the file meanwhile, reading
raises an error; a mapped file would end the program, and HDF5 itself reads zeros beyond the file's end.

Compressed chunks of whole frames are read in the same way and unpacked in several threads.

Shape letters: N steps, B rows that are asked for, C chunks.
"""

import functools
import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import h5py
import numpy as np
from jaxtyping import Int, Int64, UInt8

from lewm_data.errors import DataError
from lewm_data.machine import cores
from lewm_data.store.buffers import Buffers
from lewm_data.store.chunk_index import Index
from lewm_data.store.disk_reads import DiskReads
from lewm_data.store.opening import COPY_AGAIN
from lewm_data.store.places import chunk_places, chunks_across
from lewm_data.store.rows import StoredRows, check_packed, check_places
from lewm_data.store.unpacking import Damaged, Unpacking, unpacking_of


@runtime_checkable
class FrameReader(Protocol):
    """Reads frames of one file."""

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """Copies of the frames at `rows`, in that order.

        Raises:
            DataError: The file has become shorter or is damaged, or cannot be read any more.
        """


class PlainFrames:
    """Frames whose bytes lie in the file unchanged: each begins at the byte that `starts` names."""

    def __init__(self, path: Path, handle: int, starts: Int64[np.ndarray, "N"], shape: tuple[int, ...]) -> None:
        self._disk, self._buffers, self._starts, self._shape = DiskReads(path, handle), Buffers(), starts, shape
        check_ends(path, handle, int(starts.max(initial=0)) + math.prod(shape))

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """See `FrameReader.read`."""
        frames = self._buffers.empty((len(rows), *self._shape))
        self._disk.into(frames, self._starts[rows])
        return frames


class PackedFrames:
    """Frames in compressed chunks, which several threads read and unpack.

    Args:
        path: The file.
        pixels: The frames; each lies in one chunk.
        count: N.
        handle: A descriptor of the file.
        size: Least size of the file in bytes.
        places: Where the chunks lie.
        unpack: Undoes their filters.
    """

    def __init__(
        self, path: Path, pixels: h5py.Dataset, count: int, handle: int, size: int, places: Index, unpack: Unpacking
    ) -> None:
        self._path, self._chunk, self._places, self._unpack = path, pixels.chunks, places, unpack
        self._through_hdf5 = functools.cache(lambda: StoredRows(path, pixels, count, handle, size))
        self._disk, self._buffers, self._parts = DiskReads(path, handle), Buffers(), cores()
        self._threads = ThreadPoolExecutor(self._parts, thread_name_prefix="lewm-unpacking")
        check_packed(path, pixels, places)
        check_ends(path, handle, int((places["start"] + places["size"]).max(initial=0)))

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """See `FrameReader.read`."""
        frames = self._buffers.empty((len(rows), *self._chunk[1:]))
        order = np.argsort(rows, kind="stable")  # frames of one chunk are neighbours then, and it is unpacked once
        chunks, inside = np.divmod(rows[order], self._chunk[0])
        cuts = np.flatnonzero(np.diff(chunks, prepend=-1, append=-1))
        jobs = [(int(chunks[a]), order[a:b], inside[a:b]) for a, b in itertools.pairwise(cuts)]
        parts = [jobs[first :: self._parts] for first in range(min(self._parts, len(jobs)))]
        for done in [self._threads.submit(self._fill, frames, part) for part in parts]:
            done.result()
        return frames

    def _fill(
        self,
        frames: UInt8[np.ndarray, "B Y X 3"],
        jobs: list[tuple[int, Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]],
    ) -> None:
        """Puts frames in their places; a job is a chunk, the numbers of its frames in `frames`, and in the chunk."""
        places = self._places[[chunk for chunk, _, _ in jobs]]
        packed = [np.empty(size, np.uint8) for size in places["size"].tolist()]
        self._disk.into(packed, places["start"].astype(np.int64))
        for (chunk, targets, inside), data, skipped in zip(jobs, packed, places["skipped"].tolist(), strict=True):
            try:
                unpacked = self._unpack(data, skipped)
            except Damaged as error:
                raise DataError(f"{self._path}: is damaged: a chunk of 'pixels' {error}", COPY_AGAIN) from error
            if unpacked is None:
                first = chunk * self._chunk[0]
                frames[targets] = self._through_hdf5().read(first + inside)
            else:
                held = unpacked.reshape(self._chunk)
                for target, source in zip(targets.tolist(), inside.tolist(), strict=True):
                    frames[target] = held[source]


def open_frames(path: Path, pixels: h5py.Dataset, count: int, handle: int, size: int) -> FrameReader:
    """The fastest reader for the way in which `pixels` is stored; the arguments are those of `StoredRows`.

    Raises:
        DataError: Frames were never written, or lie beyond the end of the file.
    """
    frame = pixels.shape[1:]
    if pixels.file.userblock_size or not hasattr(os, "preadv"):
        return StoredRows(path, pixels, count, handle, size)
    if pixels.chunks is None:
        first = pixels.id.get_offset()
        if first is None:  # in the header, or never written
            return StoredRows(path, pixels, count, handle, size)
        return PlainFrames(path, handle, first + np.arange(count) * math.prod(frame), frame)
    if chunks_across(pixels) > 1:
        return StoredRows(path, pixels, count, handle, size)
    unpack = unpacking_of(pixels)
    if unpack is None:
        return StoredRows(path, pixels, count, handle, size)
    places = chunk_places(pixels, count, handle, closed=size > 0)
    check_places(path, "pixels", places)
    if pixels.id.get_create_plist().get_nfilters():
        return PackedFrames(path, pixels, count, handle, size, places, unpack)
    chunk, inside = np.divmod(np.arange(count), pixels.chunks[0])
    return PlainFrames(path, handle, places["start"].astype(np.int64)[chunk] + inside * math.prod(frame), frame)


def check_ends(path: Path, handle: int, end: int) -> None:
    """Raises unless the file has `end` bytes.

    Raises:
        DataError: It is shorter.
    """
    there = os.fstat(handle).st_size
    if end > there:
        raise DataError(f"{path}: is truncated: a frame ends at byte {end}, the file at {there}", COPY_AGAIN)
