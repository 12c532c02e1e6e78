"""Temporary files, and claims on names of files that are not written yet: both exist only while a process runs.

Both are locked as long as their process lives. The system drops the lock of a process that dies, however it dies. So a
file without a lock is left over, and the next program that writes in the same directory removes it.
"""

import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from lewm_data.disk import NO_ROOM

if sys.platform != "win32":
    import fcntl

TEMPORARY = re.compile(r"\..+-[0-9a-f]{8}\.lewm", re.DOTALL)
CLAIM = re.compile(r"\..+\.claim\.lewm", re.DOTALL)
# The claim on a report, and the report's name; the folder of that name holds the report's pictures.
REPORT_CLAIM = re.compile(r"\.([a-z-]+-[0-9]{8}-[0-9]{6}(?:-[0-9]+)?)\.json\.claim\.lewm")
STEM = 40  # characters of a file's name that its temporary folder repeats: names have a limit


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that is renamed to `path` when the block ends without an error, and is else removed.

    It lies in a folder of its own beside `path`, so files that a library puts beside its own file are removed too. The
    file gets the mode that the user's umask gives to new files.
    """
    with temporary_folder(path) as folder:
        temporary = folder / path.name
        try:
            yield temporary
        except OSError as error:
            here = error.filename in (str(temporary), temporary)
            if here or (error.filename is None and error.errno in NO_ROOM):
                raise OSError(error.errno, error.strerror, str(path)) from error  # names the path that the user knows
            raise
        mode = stat.S_IMODE(folder.stat().st_mode) & 0o666  # the mode of a new file: some libraries make theirs private
        if stat.S_IMODE(temporary.stat().st_mode) != mode:
            temporary.chmod(mode)
        temporary.replace(path)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, removed when the block ends; leftovers of dead processes are removed first."""
    clear(path.parent)
    handle = None
    while handle is None:
        folder = path.with_name(f".{path.stem[:STEM]}-{secrets.token_hex(4)}.lewm")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            with contextlib.suppress(FileNotFoundError):
                handle = _hold(folder, os.open(folder, os.O_RDONLY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Claims `path` while the block runs; where it is taken, the same name with -2, -3, ... before its ending.

    A name is taken if a file or a folder of pictures has it, or if another process has claimed it.
    """
    clear(path.parent)
    candidate, number = path, 2
    while (handle := _claim(candidate)) is None:
        candidate, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    try:
        yield candidate
    finally:
        _claim_on(candidate).unlink(missing_ok=True)
        os.close(handle)


def clear(directory: Path) -> None:
    """Removes leftovers of dead processes from a directory; those that cannot be removed stay."""
    with contextlib.suppress(OSError):
        for path in list(directory.iterdir()):
            if TEMPORARY.fullmatch(path.name) or CLAIM.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    _remove_if_left(path)


def _claim(path: Path) -> int | None:
    """A locked descriptor of the claim on `path`; None where the name is taken."""
    claim, handle = _claim_on(path), None
    while handle is None:
        if _taken(path):
            return None
        try:
            handle = _hold(claim, os.open(claim, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        except FileExistsError:
            return None
    if _taken(path):  # its owner has finished between the two checks
        claim.unlink(missing_ok=True)
        os.close(handle)
        return None
    return handle


def _taken(path: Path) -> bool:
    return os.path.lexists(path) or os.path.lexists(path.with_suffix(""))


def _claim_on(path: Path) -> Path:
    return path.with_name(f".{path.name}.claim.lewm")


def _hold(path: Path, handle: int) -> int | None:
    """Locks a new file; None where another process took it for a leftover before that, and removed it."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # without locks, leftovers cannot be recognised, and nothing is removed
            fcntl.flock(handle, fcntl.LOCK_EX)
    if _is_there(path, handle):
        return handle
    os.close(handle)
    return None


def _is_there(path: Path, handle: int) -> bool:
    """Whether `path` still is the file on which `handle` was opened."""
    return os.path.lexists(path) and os.path.samestat(os.lstat(path), os.fstat(handle))


def _remove_if_left(path: Path) -> None:
    """Removes a file that no living process holds; raises OSError where one does."""
    if sys.platform == "win32":
        return
    folder = stat.S_ISDIR(os.lstat(path).st_mode)
    flags = os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_there(path, handle):
            return
        if folder:
            shutil.rmtree(path)
            return
        report = REPORT_CLAIM.fullmatch(path.name)
        if report and not os.path.lexists(path.with_name(f"{report[1]}.json")):
            shutil.rmtree(path.with_name(report[1]), ignore_errors=True)
        path.unlink()
    finally:
        os.close(handle)
