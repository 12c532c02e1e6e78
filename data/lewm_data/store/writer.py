"""Writing datasets: whatever stops the program, the file holds every finished episode.

The file is an HDF5 file open for single-writer, multiple-reader access, in which HDF5 orders its own writes
so that the bytes on disk are a readable file at every moment. In addition, the length of an episode, which is
written last, completes it: rows after the last finished episode belong to no episode. HDF5 does not survive a
write that fails, so the room for an episode is reserved in the file before HDF5 writes it.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from lewm_data.disk import claim, interrupt_held_back, reserve, trim
from lewm_data.errors import DataError
from lewm_data.store import schema
from lewm_data.store.dataset import Dataset
from lewm_data.store.hashes import hash_columns, hash_rows
from lewm_data.store.opening import NO_LOCKS
from lewm_data.store.schema import (
    FORMAT_VERSION,
    HASH_COLUMN,
    HASHES,
    INDEX,
    LENGTHS,
    NUMBERS,
    OFFSETS,
    PIXELS,
    Schema,
    empty_file,
)

logger = logging.getLogger(__name__)

SPARE_BYTES = 1 << 20  # for HDF5's own structures: 8 bytes a frame, in blocks of at most a few hundred KiB


class Writer:
    """Writes a dataset, an episode at a time. `Writer.create` or `Writer.append` makes it; use it with `with`.

    A new file gets its name with its first episode; until then `path` stays what it was before.

    Attributes:
        path: The file.
        attributes: The file's attributes.
        num_episodes: Number of finished episodes.
        num_steps: Number of their rows.
    """

    def __init__(self, path: Path, attributes: Mapping[str, Any], replace: bool) -> None:
        self.path = path
        self.attributes = dict(attributes)
        self.num_episodes = self.num_steps = 0
        self._replace = replace
        self._schema: Schema | None = None
        self._file: h5py.File | None = None
        self._stored: dict[str, h5py.Dataset] = {}
        self._closed = False
        self._handle = -1  # our own, besides HDF5's: it holds the lock and reserves room
        self._unnamed: Path | None = None  # the path of the file before it gets its name

    @classmethod
    def create(
        cls,
        path: str | Path,
        attributes: Mapping[str, str | int | float | list[float]] | None = None,
        overwrite: bool = False,
    ) -> "Writer":
        """Begins a new dataset; the first episode determines its columns.

        Args:
            path: The file; its directory must exist.
            attributes: The file's attributes; "format_version" is added.
            overwrite: Whether to replace an existing file, when the first new episode is finished.

        Raises:
            DataError: There is a file already, or another program is writing it.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise _exists(path)
        if path.is_dir() or not path.parent.is_dir():
            raise DataError(f"{path}: cannot be written: not a file in a directory", "Create the directory first.")
        if path.exists():
            os.close(claim(path))
        return cls(path, {**(attributes or {}), "format_version": FORMAT_VERSION}, overwrite)

    @classmethod
    def append(cls, path: str | Path) -> "Writer":
        """Continues a dataset. One that was interrupted, or written by other tools, is replaced by a copy first.

        Raises:
            DataError: It is no valid dataset, or another program is writing it.
        """
        path = Path(path)
        if path.is_file():
            os.close(claim(path))  # the lock of a killed writer is gone, that of a live one is not
        with Dataset.open(path) as dataset:
            writer = cls(path, dataset.attributes, replace=True)
            if dataset.interrupted or not _grows_in_place(dataset):
                writer._copy(dataset)
                return writer
            writer._schema = dataset.schema
            writer.num_episodes, writer.num_steps = dataset.num_episodes, dataset.num_steps
        writer._open(path)
        return writer

    def write_episode(self, columns: Mapping[str, Shaped[np.ndarray, "T ..."]]) -> None:
        """Adds an episode: row t is frame t and the action that follows it; the last row's action is NaN.

        When this returns, the episode survives a kill of the program. Ctrl-C is held back until then.

        Raises:
            DataError: The columns differ from those of the file, values are not finite, there is no room, or
                writing fails; all episodes before this one are kept.
        """
        self.write_pieces([columns])

    def write_pieces(self, pieces: Iterable[Mapping[str, Shaped[np.ndarray, "P ..."]]]) -> None:
        """Adds an episode that comes in pieces of some rows each, of which two are in memory at a time.

        When this returns, the episode survives a kill of the program. Ctrl-C is held back while a piece is written. If
        the pieces end with an error, nothing of their episode stays in the file.

        Args:
            pieces: Rows as in `write_episode`; only the last row of the last piece may have no action.

        Raises:
            DataError: See `write_episode`; or there is no piece.
        """
        if self._closed:
            raise DataError(f"{self.path}: is closed", "Open it again with Writer.append.")
        rows, last = 0, None
        try:
            for piece in pieces:
                if last is not None:
                    rows = self._write_piece(last, rows, ended=False)
                last = piece
            if last is None:
                raise DataError(f"{self.path}: episode {self.num_episodes} has no rows", "Leave it out.")
            self._write_piece(last, rows, ended=True)
        except BaseException:
            self._take_back()
            raise

    def _write_piece(self, columns: Mapping[str, np.ndarray], rows: int, ended: bool) -> int:
        """Writes a piece after `rows` rows of its episode; returns how many there are with it."""
        described = self._checked(columns, rows, ended)
        with interrupt_held_back():
            if self._file is None:
                self._begin(described)
            self._reserve(len(columns[PIXELS]))
            rows = self._append_rows(columns, rows)
            if ended:
                self._finish_episode(rows)
        return rows

    def close(self) -> None:
        """Closes the file; then other programs can open it like any HDF5 file."""
        with interrupt_held_back():
            self._closed = True
            if self._file is not None:
                try:
                    self._file.close()
                except (OSError, RuntimeError) as error:
                    self._abandon(error)
                else:
                    trim(self._handle)
                    os.close(self._handle)
                self._file = None
            if self._unnamed is not None:
                self._unnamed.unlink(missing_ok=True)
                self._unnamed = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, columns: Mapping[str, np.ndarray], before: int, ended: bool) -> Schema:
        """The schema of a piece, which follows `before` rows of its episode.

        Raises:
            DataError: The piece cannot be stored in this file.
        """
        where = f"{self.path}: episode {self.num_episodes}"
        described = schema.describe(columns)
        schema.check_columns(where, described, {name: len(values) for name, values in columns.items()})
        if self._schema is not None and described != self._schema:
            ours, theirs = ({str(column) for column in one} for one in (self._schema, described))
            raise DataError(
                f"{where} has columns {', '.join(sorted(theirs - ours)) or 'missing'}, "
                f"expected {', '.join(sorted(ours - theirs)) or 'none of these'}",
                "Every episode of a file has the same columns; write another file.",
            )
        taken = (*INDEX, HASHES)
        odd = [one.name for one in described if one.dtype.kind not in NUMBERS or one.name in taken or "/" in one.name]
        if odd:
            remedy = "Columns hold numbers, one row a step."
            raise DataError(f"{where}: column '{odd[0]}' cannot be stored", remedy)
        schema.check_piece(str(self.path), self.num_episodes, columns, before, ended)
        return described

    def _begin(self, described: Schema) -> None:
        """Makes a valid dataset without episodes beside `path`, and opens it for writing."""
        partial = self.path.with_name(f".{self.path.name}.partial")
        if partial.exists():
            os.close(claim(partial))
            partial.unlink()  # left by a program that was killed before its first episode
        self._unnamed = partial
        try:
            partial.write_bytes(empty_file(described, self.attributes))
        except OSError as error:
            raise _no_room(self.path, error, 0) from error
        self._schema = described
        self._open(partial)

    def _open(self, path: Path) -> None:
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
            self._file = h5py.File(opened)
        except OSError as error:
            locked = "unable to lock file" in str(error)
            remedy = "Close the programs that read or write it." if locked else "Use another file."
            raise DataError(f"{path}: cannot be opened for writing: {error}", remedy) from error
        self._stored = dict(self._file.items())  # kept open: closing one would write, and a write may fail
        self._handle = claim(path, shared=True)

    def _copy(self, dataset: Dataset) -> None:
        """Writes the finished episodes of `dataset` to a new file, which then takes its place."""
        left_out = set(dataset._file) - set(dataset.columns) - set(INDEX) - {HASHES}
        if left_out:
            raise DataError(
                f"{self.path}: '{min(left_out)}' is not a column of numbers and cannot be copied",
                "Collect into another file.",
            )
        self.attributes["format_version"] = FORMAT_VERSION
        logger.info("%s: copying %d finished episodes before appending", self.path, dataset.num_episodes)
        try:
            for index in range(dataset.num_episodes):
                dataset.check_rows(dataset.rows(np.array([index])))  # else damaged contents would get fitting hashes
                columns = dataset.episode(index)
                described = self._checked(columns, 0, ended=True)
                if self._file is None:
                    self._begin(described)
                self._reserve(len(columns[PIXELS]))
                self._finish_episode(self._append_rows(columns, 0), named=False)
            self._give_name()
        except BaseException:
            self.close()
            raise

    def _reserve(self, rows: int) -> None:
        """Makes sure that `rows` more rows fit on the disk, so that no write of HDF5 fails in the middle."""
        assert self._schema is not None
        assert self._file is not None
        stored = (*self._schema, HASH_COLUMN)
        need = SPARE_BYTES + sum(one.row_bytes * (rows + one.chunk_rows) for one in stored)
        try:
            reserve(self._handle, self.path.parent, self._file.id.get_filesize(), need)
        except OSError as error:
            raise _no_room(self.path, error, self.num_episodes) from error

    def _append_rows(self, columns: Mapping[str, np.ndarray], before: int) -> int:
        """Writes rows of an episode after `before` rows of it; returns how many it has then."""
        begin = self.num_steps + before
        end = begin + len(columns[PIXELS])
        others = {name: values for name, values in columns.items() if name != PIXELS}
        hashes = np.stack([hash_rows(columns[PIXELS]), hash_columns(others)], axis=1)
        with self._writing():
            for name, values in {**columns, HASHES: hashes}.items():
                self._stored[name].resize(end, axis=0)
                self._stored[name][begin:] = values
        return before + len(columns[PIXELS])

    def _finish_episode(self, rows: int, named: bool = True) -> None:
        """Completes the episode whose rows are written: from now on it survives a kill.

        Args:
            rows: Its rows.
            named: Whether the file gets its name, if it has none.
        """
        assert self._file is not None
        with self._writing():
            self._file.flush()
            for name, value in ((OFFSETS, self.num_steps), (LENGTHS, rows)):
                self._stored[name].resize(self.num_episodes + 1, axis=0)
                self._stored[name][self.num_episodes] = value
                self._file.flush()
        self.num_episodes += 1
        self.num_steps += rows
        if self._unnamed is not None and named:
            self._give_name()

    def _take_back(self) -> None:
        """Removes rows that belong to no finished episode, after which the file can be closed."""
        if self._file is None:
            return
        with (
            interrupt_held_back(),
            contextlib.suppress(DataError),
            self._writing(),
        ):  # the first error is the one to say
            for name in {*self._stored} - {*INDEX}:
                self._stored[name].resize(self.num_steps, axis=0)
            self._file.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Abandons the file where HDF5 cannot write to it."""
        try:
            yield
        except (OSError, RuntimeError) as error:  # h5py raises both
            self._abandon(error)
            raise _no_room(self.path, error, self.num_episodes) from error

    def _give_name(self) -> None:
        assert self._unnamed is not None
        if self._replace:
            self._unnamed.replace(self.path)
        else:
            try:
                os.link(self._unnamed, self.path)  # unlike a rename, a link replaces no file that was made meanwhile
                self._unnamed.unlink()
            except FileExistsError as error:
                raise _exists(self.path) from error
            except OSError:  # a file system without hard links
                self._unnamed.rename(self.path)
        self._unnamed = None

    def _abandon(self, error: Exception) -> None:
        """Leaves the file as it is. HDF5 cannot close a file that it cannot write, so it closes a scratch file."""
        logger.error("%s: writing failed: %s", self.path, error)
        assert self._file is not None
        self._closed = True
        with tempfile.TemporaryFile() as scratch, contextlib.suppress(OSError, RuntimeError):
            os.dup2(scratch.fileno(), self._file.id.get_vfd_handle())
            self._file.close()
        self._file = None
        os.close(self._handle)


def _grows_in_place(dataset: Dataset) -> bool:
    file = dataset._file
    others = [name for name in dataset.columns if name != PIXELS]
    if not dataset.has_hashes or list(dataset.covered) != others:
        return False  # either all columns are hashed, or none
    resizable = all(file[name].maxshape[0] is None for name in (*dataset.columns, *INDEX, HASHES))
    superblock = file.id.get_create_plist().get_version()[0]
    return "format_version" in dataset.attributes and resizable and superblock >= 3


def _exists(path: Path) -> DataError:
    return DataError(f"{path}: exists already", "Continue it with --append, or replace it with --overwrite.")


def _no_room(path: Path, error: Exception, kept: int) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    remedy = (
        f"{kept} finished episodes are kept. Make room, then give the same command with --append --out {path}."
        if kept
        else "Make room, then give the same command again."
    )
    return DataError(f"{path}: cannot be written: {reason}", remedy)
