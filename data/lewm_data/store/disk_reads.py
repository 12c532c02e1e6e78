"""Reads of many parts of a file, which wait for a disk together and not one after the other.

Shape letters: B parts.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

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
        handle, places = self._handle, starts.tolist()
        late: list[int] = []
        for number, (buffer, start) in enumerate(zip(buffers, places, strict=True)):
            try:
                if not self._flags or os.preadv(handle, [buffer.data], start, self._flags) != buffer.nbytes:
                    late.append(number)
            except BlockingIOError:
                late.append(number)
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise self._unreadable(error) from error
                self._flags = 0
                late.append(number)
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
