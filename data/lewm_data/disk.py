"""What a writer needs from the operating system: a lock, room on the disk, and a delay of Ctrl-C and SIGTERM."""

import contextlib
import errno
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lewm_data.errors import DataError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def reserve(handle: int, directory: Path, end: int, need: int) -> None:
    """Makes sure that `need` bytes can be written to an open file, beginning at byte `end`.

    Raises:
        OSError: There is no room: the disk is full, or a quota or a limit on file sizes is reached.
    """
    free = shutil.disk_usage(directory).free
    if free < need:
        raise OSError(errno.ENOSPC, f"{need} bytes needed, {free} free")
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, end, need)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            logger.debug("room cannot be reserved in %s: %s", directory, error)


def trim(handle: int) -> None:
    """Gives back what was reserved beyond the end of a closed HDF5 file.

    Source: HDF5 File Format Specification 3.0, II.A: byte 8 is the superblock's version, and in version 3
    bytes 28 to 35 are the end-of-file address.
    """
    with open(handle, "r+b", closefd=False) as stream:
        head = stream.read(36)
        end = int.from_bytes(head[28:36], "little")
        if head[8] == 3 and end < os.fstat(handle).st_size:
            stream.truncate(end)


def claim(path: Path, shared: bool = False) -> int:
    """A locked descriptor of `path`; an error while another program writes the file.

    A writer holds the lock shared, as readers do, which keeps HDF5 from opening the file for a second writer;
    the system drops it when the writer dies.
    """
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}", "Use another file.") from error
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise DataError(
                f"{path}: another program is writing or reading it",
                "Wait for it to end, or use another file.",
            ) from error
        except OSError as error:
            logger.debug("%s: cannot be locked: %s", path, error)
    return handle


@contextlib.contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Ctrl-C, and SIGTERM where this program handles it, wait until the end of this block.

    During HDF5's calls an exception from a signal handler would be lost: h5py has a callback for each of its objects
    that ends, and Python drops an exception that such a callback raises.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: answer for number, answer in found.items() if callable(answer)}
    arrived: list[Any] = []
    for number in before:
        signal.signal(number, lambda *signal_and_frame: arrived.append(signal_and_frame))
    try:
        yield
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
        if arrived:
            number, frame = arrived[-1]
            before[number](number, frame)
