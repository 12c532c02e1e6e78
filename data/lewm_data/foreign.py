"""What others wrote: only files are opened, of a size that is stated, and errors of their decoders become ours."""

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
    """Raises unless `path` leads to a file. Called before anything opens it: opening a pipe would wait for ever.

    Args:
        path: A link counts as what it leads to.
        most: Bytes that it may have.

    Raises:
        DataError: Nothing is there, it is no file, or it is larger.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
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
def decoding(path: Path, problem: str, remedy: str) -> Iterator[None]:
    """Turns whatever a decoder of `path` raises in the block into a DataError; the cause is kept in it.

    Decoders of damaged files raise what their authors did not think of: every exception is meant. Errors of ours stay,
    and so does Python's own for too little memory, which is no fault of a file whose size was checked.

    Args:
        problem: For example "is no image that can be read".
        remedy: The second line.
    """
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: {error.strerror}", "Change its permissions, or give another.") from error
    except Exception as error:
        if type(error) is MemoryError:  # FFmpeg's is a subclass: of a size that a damaged file states
            raise
        raise DataError(f"{path}: {problem}", remedy) from error
