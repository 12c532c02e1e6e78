"""Frames that stay in memory once they were read.

Shape letters: N steps, B rows that are asked for, M of them that are not there yet.
"""

import numpy as np
from jaxtyping import Int, UInt8

from lewm_data.store.frames import FrameReader


class KeptFrames:
    """Reads each frame once, with another reader. Only frames that were read take memory.

    Args:
        reader: Reads the frames.
        count: N.
        shape: Of a frame.
    """

    def __init__(self, reader: FrameReader, count: int, shape: tuple[int, ...]) -> None:
        self._reader = reader
        self._frames = np.empty((count, *shape), np.uint8)
        self._there = np.zeros(count, bool)

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """See `FrameReader.read`."""
        new = self._new(rows)
        if len(new):
            self._frames[new] = self._reader.read(new)
            self._there[new] = True  # last: another thread may read meanwhile
        return self._frames[rows]

    def expect(self, rows: Int[np.ndarray, "B"]) -> None:
        """See `FrameReader.expect`."""
        self._reader.expect(self._new(rows))

    def _new(self, rows: Int[np.ndarray, "B"]) -> Int[np.ndarray, " M"]:
        return np.unique(rows[~self._there[rows]])
