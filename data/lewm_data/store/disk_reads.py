"""Reads of many parts of a file, which wait for a disk together and not one after the other.

Shape letters: B parts.
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from lewm_data.errors import DataError
from lewm_data.store.schema import CHANGED

Buffers = Sequence[UInt8[np.ndarray, "..."]] | UInt8[np.ndarray, "B ..."]

# Read only what the system has in memory. Linux has it; some of its file systems do not.
AT_ONCE = getattr(os, "RWF_NOWAIT", 0)
SAMPLE = 8  # parts that are tried one after the other: if some are not in memory, threads read all that follow
AHEAD = getattr(os, "POSIX_FADV_WILLNEED", None)  # asks the system to begin reading a part; macOS cannot be asked
IN_FLIGHT = 16  # reads that wait at the same time; a disk of flash memory serves as many at once
WAITING = 4  # threads where the system reads all parts at once: more take time of the processor from one another
NOT_THERE = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


class DiskReads:
    """Reads parts of a file. Parts that the system has in memory are copied. It is asked for all the others before the
    first of them is waited for, in several threads.

    Args:
        path: The file, for messages.
        handle: A descriptor of it.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle, self._flags = path, handle, AT_ONCE
        self._parts = WAITING if AHEAD is not None else IN_FLIGHT
        self._threads = ThreadPoolExecutor(self._parts, thread_name_prefix="lewm-disk")  # begun when they are needed

    def into(self, buffers: Buffers, starts: Int64[np.ndarray, "B"]) -> None:
        """Fills each buffer with the bytes of the file from its start on.

        Raises:
            DataError: The file has become shorter, or cannot be read any more.
        """
        places = starts.tolist()
        late = self._late(buffers, places, range(min(SAMPLE, len(places))))
        rest = range(SAMPLE, len(places))
        late += rest if late else self._late(buffers, places, rest)

        if AHEAD is not None:
            for number in late:
                self._ask(AHEAD, places[number], buffers[number].nbytes)

        def wait(first: int) -> None:
            for number in late[first :: self._parts]:
                self._read(buffers[number], places[number])

        list(self._threads.map(wait, range(min(self._parts, len(late)))))

    def _late(self, buffers: Any, places: list[int], numbers: range) -> list[int]:  # noqa: ANN401  # arrays
        """Copies those of the numbered parts that are in memory; returns the numbers of the others."""
        if not self._flags:
            return list(numbers)
        read, handle, flags = os.preadv, self._handle, self._flags
        late: list[int] = []
        for number in numbers:
            buffer = buffers[number]
            try:
                if read(handle, (buffer,), places[number], flags) == buffer.nbytes:
                    continue
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise self._unreadable(error) from error
                self._flags = 0
                return late + list(range(number, numbers.stop))
            late.append(number)
        return late

    def _ask(self, advice: int, start: int, size: int) -> None:
        with contextlib.suppress(OSError):  # advice is no promise; whether the part can be read is seen when it is read
            os.posix_fadvise(self._handle, start, size, advice)

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
