"""Reads of many parts of a file, which wait for a disk together and not one after the other.

Shape letters: B parts.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from lewm_data.errors import DataError
from lewm_data.store.schema import CHANGED

Buffers = Sequence[UInt8[np.ndarray, "..."]] | UInt8[np.ndarray, "B ..."]

# Read only what the system has in memory. Linux has it; some of its file systems do not.
AT_ONCE = getattr(os, "RWF_NOWAIT", 0)
NOT_THERE = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


class DiskReads:
    """Reads parts of a file. Parts that the system has in memory are copied; the disk is asked for the others at once.

    Args:
        path: The file, for messages.
        handle: A descriptor of it.

    Attributes:
        waited: Whether the last read had to wait for the disk.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.waited = False
        self._path, self._handle, self._flags = path, handle, AT_ONCE

    def into(self, buffers: Buffers, starts: Int64[np.ndarray, "B"]) -> None:
        """Fills each buffer with the bytes of the file from its start on.

        Raises:
            DataError: The file has become shorter, or cannot be read any more.
        """
        places = starts.tolist()
        late = self._at_once(buffers, places) if self._flags else list(range(len(places)))
        self.waited = bool(late) and bool(AT_ONCE)
        if self.waited:
            self.expect([buffers[number].nbytes for number in late], starts[late])
        for number in late:
            self._read(buffers[number], places[number])

    def expect(self, sizes: Sequence[int], starts: Int64[np.ndarray, "B"]) -> None:
        """Has the disk begin to read these parts, so that a later read finds them in memory."""
        if hasattr(os, "posix_fadvise"):
            for size, start in zip(sizes, starts.tolist(), strict=True):
                os.posix_fadvise(self._handle, start, size, os.POSIX_FADV_WILLNEED)

    def _at_once(self, buffers: Any, places: list[int]) -> list[int]:  # noqa: ANN401  # Python 3.11 has no type for them
        """Copies what is in memory; returns the numbers of the other parts."""
        read, handle, flags = os.preadv, self._handle, self._flags
        late: list[int] = []
        for number, (buffer, start) in enumerate(zip(buffers, places, strict=True)):
            try:
                if read(handle, (buffer,), start, flags) == buffer.nbytes:
                    continue
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise self._unreadable(error) from error
                self._flags = 0
                return late + list(range(number, len(places)))
            late.append(number)
        return late

    def _read(self, buffer: UInt8[np.ndarray, "..."], start: int) -> None:
        try:
            count = os.preadv(self._handle, [buffer.data], start)
        except OSError as error:
            raise self._unreadable(error) from error
        if count != buffer.nbytes:
            raise shortened(self._path)

    def _unreadable(self, error: OSError) -> DataError:
        return DataError(f"{self._path}: cannot be read any more: {error.strerror}", CHANGED)


def shortened(path: Path) -> DataError:
    """The error for a file that another program cut."""
    return DataError(f"{path}: has become shorter while it was being read", CHANGED)
