"""The HDF5 file of a dataset while it is written.

It is open for single-writer, multiple-reader access, in which HDF5 orders its own writes so that the bytes on disk are
a readable file at every moment. HDF5 does not survive a write that fails, so the room for rows is reserved in the file
before HDF5 writes them.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from lewm_data.disk import claim, reserve, trim
from lewm_data.errors import DataError
from lewm_data.store.hashes import hash_columns, hash_rows
from lewm_data.store.left_out import LEFT_OUT, LeftOut
from lewm_data.store.opening import NO_LOCKS
from lewm_data.store.schema import HASH_COLUMN, HASHES, INDEX, LENGTHS, OFFSETS, PIXELS, Schema

logger = logging.getLogger(__name__)

SPARE_BYTES = 1 << 20  # for HDF5's own structures: 8 bytes a frame, in blocks of at most a few hundred KiB


class Output:
    """A dataset's file, open for writing.

    Args:
        path: The file.
        schema: Its columns.
        num_episodes: Episodes that it has.
        num_steps: Their rows.

    Attributes:
        num_episodes: Number of finished episodes.
        num_steps: Number of their rows.
        broken: Whether a write has failed, after which nothing can be written any more.

    Raises:
        DataError: Another program has it open, or it cannot be opened.
    """

    def __init__(self, path: Path, schema: Schema, num_episodes: int, num_steps: int) -> None:
        self.num_episodes, self.num_steps, self.broken = num_episodes, num_steps, False
        self._path, self._schema = path, schema
        self.file = _opened(path)
        self._stored = dict(self.file.items())  # kept open: closing one would write, and a write may fail
        self._handle = claim(path, shared=True)  # besides HDF5's: it holds the lock and reserves room

    def append_rows(self, columns: Mapping[str, np.ndarray], before: int) -> int:
        """Writes rows of an episode after `before` rows of it; returns how many it has then.

        Raises:
            OSError: There is no room, or writing fails.
        """
        self._reserve(len(columns[PIXELS]))
        begin = self.num_steps + before
        end = begin + len(columns[PIXELS])
        others = {name: values for name, values in columns.items() if name != PIXELS}
        hashes = np.stack([hash_rows(columns[PIXELS]), hash_columns(others)], axis=1)
        with self._writing():
            for name, values in {**columns, HASHES: hashes}.items():
                self._stored[name].resize(end, axis=0)
                self._stored[name][begin:] = values
        return before + len(columns[PIXELS])

    def finish_episode(self, rows: int) -> None:
        """Completes the episode whose rows are written: from now on it survives a kill.

        Raises:
            OSError: Writing fails.
        """
        with self._writing():
            self.file.flush()
            for name, value in ((OFFSETS, self.num_steps), (LENGTHS, rows)):
                self._stored[name].resize(self.num_episodes + 1, axis=0)
                self._stored[name][self.num_episodes] = value
                self.file.flush()
        self.num_episodes += 1
        self.num_steps += rows

    def leave_out(self, episode: LeftOut) -> None:
        """Keeps that an episode of the source was left out: from now on that survives a kill.

        Raises:
            OSError: Writing fails.
        """
        self._reserve(0)
        rows = self._stored[LEFT_OUT]
        with self._writing():
            rows.resize(len(rows) + 1, axis=0)
            rows[-1] = episode.packed()
            self.file.flush()

    def take_back(self) -> None:
        """Removes rows that belong to no finished episode, after which the file can be closed."""
        if self.broken:
            return
        with contextlib.suppress(OSError), self._writing():  # an error came before, which is the one to tell
            for name in {*self._stored} - {*INDEX, LEFT_OUT}:
                self._stored[name].resize(self.num_steps, axis=0)
            self.file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self.broken:
            return
        try:
            self.file.close()
        except (OSError, RuntimeError) as error:
            self._abandon(error)
        else:
            trim(self._handle)
            os.close(self._handle)

    def _reserve(self, rows: int) -> None:
        """Makes sure that `rows` more rows fit on the disk, so that no write of HDF5 fails in the middle."""
        stored = (*self._schema, HASH_COLUMN)
        need = SPARE_BYTES + sum(one.row_bytes * (rows + one.chunk_rows) for one in stored)
        reserve(self._handle, self._path.parent, self.file.id.get_filesize(), need)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Abandons the file where HDF5 cannot write to it."""
        try:
            yield
        except (OSError, RuntimeError) as error:  # h5py raises both
            self._abandon(error)
            if isinstance(error, OSError):
                raise
            raise OSError(str(error)) from error

    def _abandon(self, error: Exception) -> None:
        """Leaves the file as it is. HDF5 cannot close a file that it cannot write, so it closes a scratch file."""
        logger.error("%s: writing failed: %s", self._path, error)
        self.broken = True
        with tempfile.TemporaryFile() as scratch, contextlib.suppress(OSError, RuntimeError):
            os.dup2(scratch.fileno(), self.file.id.get_vfd_handle())
            self.file.close()
        os.close(self._handle)


def _opened(path: Path) -> h5py.File:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    try:  # both marks at once: a file that is marked as being written but not as readable could be opened nowhere
        mode = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
        try:
            opened = h5py.h5f.open(os.fsencode(path), mode, access)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.warning("%s: its file system has no locks; let no other program write this file", path)
            access.set_file_locking(False, True)
            opened = h5py.h5f.open(os.fsencode(path), mode, access)
        return h5py.File(opened)
    except OSError as error:
        locked = "unable to lock file" in str(error)
        remedy = "Close the programs that read or write it." if locked else "Use another file."
        raise DataError(f"{path}: cannot be opened for writing: {error}", remedy) from error
