"""Opening an HDF5 file for reading, and the meaning of HDF5's errors.

HDF5 reports many different faults as a file that cannot be opened. This module tells them apart: a damaged file, a file
that another program is writing, and something that this machine lacks.
"""

import contextlib
import errno
import logging
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from lewm_data.errors import DataError
from lewm_data.store.closed_view import ClosedView
from lewm_data.store.text_view import TextView
from lewm_data.store.unclosed import as_written, is_unclosed

logger = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # the answers of file systems without locks
COPY_AGAIN = "Copy the file again from where it came from."
FOREIGN_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)  # h5py raises all of them


@dataclass(frozen=True)
class OpenFile:
    """An open HDF5 file.

    Attributes:
        file: The file as h5py's object.
        handle: A descriptor of the same file, even if another file takes its name meanwhile.
        interrupted: Whether the file was not closed: its writer was killed, or is at work.
        head: The bytes that HDF5 sees in the place of the first bytes.
    """

    file: h5py.File
    handle: int
    interrupted: bool
    head: bytes

    def for_attributes(self) -> h5py.File:
        """The same file opened once more, to read attributes: damaged text in them then raises an OSError."""
        return h5py.File(TextView(self.handle, self.head), "r", locking=False)

    def close(self) -> None:
        """Closes the file and the descriptor."""
        if self.file:  # else both were closed before, and the descriptor's number may belong to another file by now
            self.file.close()
            os.close(self.handle)


def open_file(path: Path) -> OpenFile:
    """Opens a file for reading.

    Raises:
        DataError: The file does not exist, is no regular file, not HDF5, truncated or damaged, or another program is
            writing it.
    """
    check_regular(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not head:
        raise DataError(f"{path}: is empty, expected an HDF5 file", COPY_AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: is a pointer of Git LFS, not the file itself", 'Get the file with "git lfs pull".')
    if not h5py.is_hdf5(path):
        remedy = 'Give a dataset: "lewm collect" makes one, and "lewm data convert" of recordings in other formats.'
        raise DataError(f"{path}: is not an HDF5 file", remedy)
    with reading(path):
        if is_unclosed(path):
            view = ClosedView(path, as_written)
            return OpenFile(h5py.File(view, "r"), os.dup(view.fileno()), True, view.head)
        file = _open_closed(path)
        return OpenFile(file, os.dup(file.id.get_vfd_handle()), False, b"")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns h5py's errors in the block into errors that say what is wrong with the file.

    Raises:
        DataError: h5py raised an error.
    """
    try:
        yield
    except DataError:
        raise
    except FOREIGN_ERRORS as error:
        raise _explained(path, error) from error


def repair_command(path: Path) -> str:
    """The command that keeps what is whole of a file."""
    return f"lewm data verify {shlex.quote(str(path))} --repair"


def check_regular(path: Path) -> None:
    """Raises unless this is a regular file. It is checked before opening: to open a pipe would wait for its writer."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError as error:
        remedy = f'Check the name, or make a new dataset with "lewm collect --out {path}".'
        raise DataError(f"{path}: {error.strerror}", remedy) from error
    except (OSError, ValueError) as error:  # a ValueError: no file can have this name
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(kind):
        remedy = 'Name a file in it; or make a dataset of recordings in it: "lewm data convert" does.'
        raise DataError(f"{path}: is a directory, expected an HDF5 file", remedy)
    if not stat.S_ISREG(kind):
        raise DataError(f"{path}: is a pipe or a device, expected an HDF5 file", "Save the data in a file.")


def _open_closed(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.info("%s: its file system has no locks; it is read without one", path)
        return h5py.File(path, "r", locking=False)


def _unreadable(path: Path, error: OSError | ValueError) -> DataError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    remedies = {
        errno.EACCES: "Ask the owner of the file or of its folder for the permission to read it.",
        errno.EPERM: "Ask the owner of the file or of its folder for the permission to read it.",
        errno.EIO: "Check the disk or the network, then try again.",
        errno.ESTALE: "Check the disk or the network, then try again.",
    }
    remedy = remedies.get(getattr(error, "errno", None) or 0, "Check the name and the folders in it.")
    return DataError(f"{path}: cannot be read: {reason}", remedy)


def _explained(path: Path, error: Exception) -> DataError:
    """The error that explains an error of h5py's."""
    reason = " ".join(str(error.args[-1] if error.args else error).split())
    if "truncated" in reason:
        return DataError(
            f"{path}: is truncated, its end is missing",
            f'Copy the file again, or keep the episodes that are whole: "{repair_command(path)}".',
        )
    if "unable to lock file" in reason:
        return DataError(
            f"{path}: another program has it open for writing", "Close it there, then run the command again."
        )
    if "already open for" in reason:  # a mark in the file, which its writer removes when it closes the file
        return DataError(
            f"{path}: the program that wrote it did not close it, so it may be incomplete",
            f'Copy the file again; or, if nothing writes it any more, repair it: "{repair_command(path)}".',
        )
    code = error.errno if isinstance(error, OSError) else None
    if code is not None:
        return _unreadable(path, OSError(code, os.strerror(code)))
    return DataError(f"{path}: is damaged: {reason}", COPY_AGAIN)
