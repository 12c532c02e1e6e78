"""Files from others: only regular files of a limited size are opened, and errors of decoders become `DataError`."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lewm_data.errors import DataError

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_file(path: Path, most: int | None = None) -> None:
    """Raises unless `path` leads to a regular file. Call it before opening: to open a pipe would wait for ever.

    Args:
        path: The path; links are followed.
        most: The most bytes that the file may have.

    Raises:
        DataError: Nothing is there, it is no regular file, or it is too large.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: the name contains a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: {reason}", "Check the name.") from error
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise DataError(f"{path}: is {kind}, expected a file", "Give a file; copy into one what comes another way.")
    if most is not None and found.st_size > most:
        raise DataError(
            f"{path}: has {found.st_size:,} bytes, at most {most:,} are read", "Give a smaller file, or part of it."
        )


@contextmanager
def decoding(path: Path | str, problem: str, remedy: str) -> Iterator[None]:
    """Turns any exception that a decoder of `path` raises in the block into a DataError, which keeps the cause.

    On damaged files decoders may raise anything, so every exception is caught. A DataError stays as it is, and so does
    Python's own MemoryError, which is no fault of a file whose size was checked.

    Args:
        path: The file, or a place in one.
        problem: The problem with the file, for example "is no image that can be read".
        remedy: The second line of the error.
    """
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: {error.strerror}", "Change its permissions, or give another.") from error
    except Exception as error:
        if type(error) is MemoryError:  # FFmpeg raises a subclass, for a size that a damaged file states
            raise
        raise DataError(f"{path}: {problem}", remedy) from error
