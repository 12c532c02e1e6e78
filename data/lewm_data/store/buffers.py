"""Memory that large arrays leave behind, for the next ones of the same size.

The system clears every page of new memory when it is first written, which takes longer than to copy a frame there.
"""

import math
import weakref
from collections import deque

import numpy as np
from jaxtyping import UInt8

LEAST = 1 << 20  # bytes; smaller arrays get memory that the process has already
MOST = 8  # arrays whose memory waits: a few more than are read ahead


class _Lease:
    """Lends memory to an array, and to all views of it: it lives as long as one of them."""

    def __init__(self, memory: UInt8[np.ndarray, " _"]) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory


class Buffers:
    """Makes arrays, whose memory comes back when nobody has them, or a view of them, any more."""

    def __init__(self) -> None:
        self._free: deque[UInt8[np.ndarray, " _"]] = deque(maxlen=MOST)

    def empty(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        """An array of bytes that may hold anything."""
        size = math.prod(shape)
        if size < LEAST:
            return np.empty(shape, np.uint8)
        lease = _Lease(self._taken(size))
        weakref.finalize(lease, self._free.append, lease._memory).atexit = False
        return np.asarray(lease).reshape(shape)

    def _taken(self, size: int) -> UInt8[np.ndarray, " _"]:
        """Memory of that size; what has another size is given up."""
        while True:
            try:
                memory = self._free.pop()
            except IndexError:
                return np.empty(size, np.uint8)
            if memory.size == size:
                return memory
