"""Frames of an open HDF5 file, gathered in any order.

A frame that is a chunk of its own, uncompressed, lies in the file as it is. Where each begins is looked up
once; from then on a batch is one copy out of the mapped file, and HDF5 is not asked again.

Shape letters: N steps, B frames asked for.
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Int64, Shaped, UInt8

from lewm_data.errors import DataError


class MappedFrames:
    """Frames copied straight out of the file: `starts` says at which byte each begins."""

    def __init__(self, path: Path, starts: Int64[np.ndarray, "N"], shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape))
        mapped = np.memmap(path, np.uint8, mode="r")
        end = int(starts.max(initial=0)) + size
        if end > len(mapped):
            raise DataError(
                f"{path}: is truncated: a frame ends at byte {end}, the file at {len(mapped)}",
                "Copy or collect the file again.",
            )
        # every byte may begin a frame: row i of this view is the bytes from i on, copied when indexed
        shifted = (len(mapped) - size + 1, size)
        self._frames = np.lib.stride_tricks.as_strided(mapped, shifted, (1, 1), writeable=False)
        self._starts = starts
        self._shape = shape

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """Copies of the frames at `rows`, in that order."""
        frames: np.ndarray = np.asarray(self._frames[self._starts[rows]])
        return frames.reshape(len(rows), *self._shape)


class StoredFrames:
    """Frames read by HDF5: compressed, or several in a chunk. Each run of neighbouring rows is read once."""

    def __init__(self, pixels: h5py.Dataset) -> None:
        self._pixels = pixels

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """Copies of the frames at `rows`, in that order."""
        wanted, where = np.unique(rows, return_inverse=True)
        frames = np.empty((len(wanted), *self._pixels.shape[1:]), np.uint8)
        bounds = np.flatnonzero(np.diff(wanted, prepend=-2, append=-2) != 1)
        for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            frames[first:end] = self._pixels[wanted[first] : wanted[first] + end - first]
        return frames[where]


FrameReader = MappedFrames | StoredFrames


def open_frames(path: Path, pixels: h5py.Dataset, num_steps: int) -> FrameReader:
    """The fastest reader that the way `pixels` is stored allows."""
    starts = _frame_starts(pixels, num_steps)
    return StoredFrames(pixels) if starts is None else MappedFrames(path, starts, pixels.shape[1:])


def _frame_starts(pixels: h5py.Dataset, num_steps: int) -> Int64[np.ndarray, "N"] | None:
    """Where each frame's bytes begin in the file; None if some frame is not there as it is."""
    frame = pixels.shape[1:]
    plain = pixels.id.get_create_plist()
    if pixels.file.userblock_size or pixels.is_virtual or plain.get_external_count() or plain.get_nfilters():
        return None
    if pixels.chunks is None:
        first = pixels.id.get_offset()
        return None if first is None else first + np.arange(num_steps) * int(np.prod(frame))
    if pixels.chunks != (1, *frame):
        return None
    starts = np.full(num_steps, -1, np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        row = chunk.chunk_offset[0]
        if row < num_steps:  # a killed writer leaves chunks behind the last row
            starts[row] = chunk.byte_offset

    pixels.id.chunk_iter(note)
    return None if len(starts) and starts.min() < 0 else starts


def rows_of(
    lengths: Int[np.ndarray, "E"], offsets: Int[np.ndarray, "E"], episodes: Int[np.ndarray, "K"]
) -> Shaped[np.ndarray, "R"]:
    """The rows of `episodes`, one after the other."""
    counts = lengths[episodes]
    begins = np.cumsum(counts) - counts
    return np.repeat(offsets[episodes] - begins, counts) + np.arange(counts.sum())
