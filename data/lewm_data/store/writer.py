"""Writing datasets: whatever stops the program, the file holds every finished episode.

The length of an episode, which is written last, completes it: rows after the last finished episode belong to none.
"""

import errno
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.disk import claim, interrupt_held_back
from lewm_data.errors import DataError
from lewm_data.store import schema
from lewm_data.store.dataset import Dataset
from lewm_data.store.left_out import LEFT_OUT, LeftOut
from lewm_data.store.output import Output
from lewm_data.store.pieces import pieces_of
from lewm_data.store.schema import FORMAT_VERSION, HASHES, INDEX, NUMBERS, PIXELS, Schema, empty_file

logger = logging.getLogger(__name__)


class Writer:
    """Writes a dataset, an episode at a time. `Writer.create` or `Writer.append` makes it; use it with `with`.

    A new file gets its name with its first episode; until then `path` stays what it was before.

    Attributes:
        path: The file.
        attributes: The file's attributes.
    """

    def __init__(self, path: Path, attributes: Mapping[str, Any], replace: bool, go_on: str) -> None:
        self.path = path
        self.attributes = dict(attributes)
        self._replace, self._go_on = replace, go_on
        self._schema: Schema | None = None
        self._output: Output | None = None
        self._kept = 0, 0  # episodes and rows of a closed file
        self._closed = False
        self._unnamed: Path | None = None  # the path of the file before it gets its name
        self._left_out: list[LeftOut] = []  # before there is a file

    @classmethod
    def create(
        cls,
        path: str | Path,
        attributes: Mapping[str, str | int | float | list[float]] | None = None,
        overwrite: bool = False,
        go_on: str = "",
    ) -> "Writer":
        """Begins a new dataset; the first episode determines its columns.

        Args:
            path: The file; its directory must exist.
            attributes: The file's attributes; "format_version" is added.
            overwrite: Whether to replace an existing file, when the first new episode is finished.
            go_on: What the command needs besides to go on with a file, for errors: "with --append --out a.h5".

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
        return cls(path, {**(attributes or {}), "format_version": FORMAT_VERSION}, overwrite, go_on)

    @classmethod
    def append(cls, path: str | Path, go_on: str = "") -> "Writer":
        """Continues a dataset. One that was interrupted, or written by other tools, is replaced by a copy first.

        Args:
            path: The file.
            go_on: See `create`.

        Raises:
            DataError: It is no valid dataset, or another program is writing it.
        """
        path = Path(path)
        if path.is_file():
            os.close(claim(path))  # the lock of a killed writer is gone, that of a live one is not
        with Dataset.open(path) as dataset:
            writer = cls(path, dataset.attributes, True, go_on)
            if dataset.interrupted or not _grows_in_place(dataset):
                writer._copy(dataset)
                return writer
            writer._schema = dataset.schema
            held = dataset.num_episodes, dataset.num_steps
        writer._output = Output(path, writer._schema, *held)
        return writer

    @property
    def num_episodes(self) -> int:
        """Number of finished episodes."""
        return self._kept[0] if self._output is None else self._output.num_episodes

    @property
    def num_steps(self) -> int:
        """Number of their rows."""
        return self._kept[1] if self._output is None else self._output.num_steps

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
            if self._output is not None:
                with interrupt_held_back():
                    self._output.take_back()
            raise

    def leave_out(self, episode: LeftOut) -> None:
        """Keeps in the dataset of a conversion that an episode of its source was left out.

        It is in the file as soon as an episode is.

        Raises:
            DataError: There is no room, or writing fails.
        """
        if self._output is None:
            self._left_out.append(episode)
            return
        with interrupt_held_back():
            try:
                self._output.leave_out(episode)
            except OSError as error:
                self._closed = self._output.broken
                raise self._no_room(error) from error

    def _write_piece(self, columns: Mapping[str, np.ndarray], rows: int, ended: bool) -> int:
        """Writes a piece after `rows` rows of its episode; returns how many there are with it."""
        described = self._checked(columns, rows, ended)
        with interrupt_held_back():
            rows = self._store(described, columns, rows, ended)
            if ended and self._unnamed is not None:
                self._give_name()
        return rows

    def _store(self, described: Schema, columns: Mapping[str, np.ndarray], rows: int, ended: bool) -> int:
        output = self._output or self._begin(described)
        try:
            rows = output.append_rows(columns, rows)
            if ended:
                output.finish_episode(rows)
        except OSError as error:
            self._closed = output.broken
            raise self._no_room(error) from error
        return rows

    def close(self) -> None:
        """Closes the file; then other programs can open it like any HDF5 file."""
        with interrupt_held_back():
            self._closed = True
            if self._output is not None:
                self._output.close()
                self._kept, self._output = (self.num_episodes, self.num_steps), None
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

    def _begin(self, described: Schema) -> Output:
        """Makes a valid dataset without episodes beside `path`, and opens it for writing."""
        partial = self.path.with_name(f".{self.path.name}.partial")
        if partial.exists():
            os.close(claim(partial))
            partial.unlink()  # left by a program that was killed before its first episode
        self._unnamed = partial
        try:
            partial.write_bytes(empty_file(described, self.attributes))
        except OSError as error:
            raise self._no_room(error) from error
        self._schema = described
        self._output = Output(partial, described, 0, 0)
        for episode in self._left_out:
            self.leave_out(episode)
        return self._output

    def _copy(self, dataset: Dataset) -> None:
        """Writes the finished episodes of `dataset` to a new file, which then takes its place."""
        left_out = set(dataset._file) - set(dataset.columns) - {*INDEX, HASHES, LEFT_OUT}
        if left_out:
            raise DataError(
                f"{self.path}: '{min(left_out)}' is not a column of numbers and cannot be copied",
                "Collect into another file.",
            )
        self.attributes["format_version"] = FORMAT_VERSION
        self._left_out = list(dataset.left_out)
        logger.info("%s: copying %d finished episodes before appending", self.path, dataset.num_episodes)
        try:
            for index, length in enumerate(dataset.lengths.tolist()):
                rows = 0
                for piece in pieces_of(
                    dataset, index, dataset.columns
                ):  # checked, else damage would get fitting hashes
                    ended = rows + len(piece[PIXELS]) == length
                    rows = self._store(self._checked(piece, rows, ended), piece, rows, ended)
            self._give_name()
        except BaseException:
            self.close()
            raise

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

    def _no_room(self, error: OSError) -> DataError:
        kept = f"{self.num_episodes} finished episodes are kept. " if self.num_episodes else ""
        how = self._go_on if kept and self._go_on else "again"
        mend = "Change the permissions" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "Make room"
        remedy = f"{kept}{mend}, then give the same command {how}."
        return DataError(f"{self.path}: cannot be written: {error.strerror or error}", remedy)


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
