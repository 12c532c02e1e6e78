"""Frames that stay in memory once they were read.

Shape letters: N steps, B rows that are asked for.
"""

import numpy as np
from jaxtyping import Int, UInt8

from lewm_data.store.frames import FrameReader


class KeptFrames:
    """Reads each frame once, with another reader. Only frames that were read take memory.

    Args:
        reader: Reads the frames.
        count: N.
        shape: The shape of a frame.
    """

    def __init__(self, reader: FrameReader, count: int, shape: tuple[int, ...]) -> None:
        self._reader = reader
        self._frames = np.empty((count, *shape), np.uint8)
        self._there = np.zeros(count, bool)

    def read(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """See `FrameReader.read`."""
        new = np.unique(rows[~self._there[rows]])
        if len(new):
            self._frames[new] = self._reader.read(new)
            self._there[new] = True  # last: another thread may read meanwhile
        return self._frames[rows]
