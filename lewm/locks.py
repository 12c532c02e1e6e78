"""Locks, so that only one process writes a run at a time; a lock ends with the process that holds it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lewm.errors import LewmError
from lewm_data.disk import interrupt_held_back

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

LOCK = ".lock"
HOLDER_BYTES = 4096  # how much of the lock is read; what a holder writes is shorter
COMMAND_LENGTH = 300


class LockedError(LewmError):
    """Another process writes the run."""


@contextlib.contextmanager
def writing(run: Path, remedy: str = "Wait until it has ended; reading the run is allowed.") -> Iterator[bool]:
    """Hold the lock of a run directory for the length of the block.

    The lock is on an open file in the run, which says who holds it. The system drops the lock when its holder dies,
    however that happens. The file then stays: the next holder uses it, and removes it at the end.

    Args:
        run: An existing directory.
        remedy: What to do where another process holds the lock.

    Yields:
        Whether the lock is held: not every system has locks, and a warning would be of no use there.

    Raises:
        LockedError: another process holds it; says which process, host and command, and since when.
        LewmError: the directory cannot be written.
    """
    if sys.platform == "win32":
        log.debug("%s: not locked, as this system has no such locks", run)
        yield False
        return
    path = run / LOCK
    handle, held = _open_locked(path, remedy)
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock holds, but nobody can read who holds it
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(_this_process()).encode(), 0)
        yield held
    finally:
        with interrupt_held_back():  # an interruption here could leave the file behind
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(handle)


def is_held(run: Path) -> bool:
    """Whether a process holds the lock of a run directory; asking creates and removes nothing."""
    if sys.platform == "win32":
        return False
    try:
        handle = os.open(run / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there are no locks here, so nobody holds one
        return False
    finally:
        os.close(handle)
    return False


def _open_locked(path: Path, remedy: str) -> tuple[int, bool]:
    """A descriptor of the lock, and whether it is locked."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise LewmError(
                f"{path.parent}: cannot be written: {error.strerror}", "Make it writable, or use a copy of it."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(handle)
            os.close(handle)
            raise LockedError(f"{path.parent}: is being written by {holder}", remedy) from error
        except OSError as error:
            log.debug("%s: cannot be locked: %s", path, error)
            return handle, False
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle, True
        os.close(handle)  # the holder before removed the file after it was opened here


def _this_process() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:COMMAND_LENGTH],
    }


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, HOLDER_BYTES, 0))
        return "process {process} on {host} since {since}: {command}".format(**holder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # it has not written yet who it is
        return "another process"
