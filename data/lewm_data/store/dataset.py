"""Datasets on disk: opened, checked, and read in any order.

The format is described in data/README.md. Shape letters: N steps of all episodes, E episodes, B frames that are asked
for, K episodes that are asked for, R their rows, T steps of one episode.
"""

import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int, Int64, Shaped, UInt8

from lewm_data.errors import DataError, unknown
from lewm_data.store import schema
from lewm_data.store.columns import Columns
from lewm_data.store.contents import attributes_of, check_contents
from lewm_data.store.frames import FrameReader, PlainFrames, open_frames
from lewm_data.store.hashes import Hashes, as_bytes, hash_columns, hash_rows
from lewm_data.store.index import read_index, rows_of
from lewm_data.store.kept_frames import KeptFrames
from lewm_data.store.left_out import LeftOut, read_left_out
from lewm_data.store.opening import COPY_AGAIN, OpenFile, open_file, reading
from lewm_data.store.schema import ACTION, FASTEST, HASHES, INDEX, LENGTHS, OFFSETS, PIXELS, REWARD, SLOWEST
from lewm_data.store.source_names import action_names_in, sources_in
from lewm_data.store.stored_hashes import are_of_frames, covered_columns

BLOCK_BYTES = 16 << 20  # the size of a block where a column is read block by block
SAMPLE = 128  # rows; if 2 % of the rows are changed, 92 of 100 samples contain a changed one

OnShare = Callable[[float], None]


class Dataset:
    """An HDF5 dataset, open for reading. `Dataset.open` makes it; several threads may read at the same time.

    A file whose writer was interrupted, or is still writing, is a dataset of the finished episodes.

    Attributes:
        path: The file.
        lengths: Steps of each episode (E,).
        offsets: Row at which each episode begins (E,).
        columns: Names of all columns, 'pixels' included.
        attributes: The file's attributes: environment, seed, policy, …
        interrupted: Whether the file was not closed: its writer was killed, or is at work.
        num_steps: N, rows of all episodes together.
        has_hashes: Whether the file has hashes of its rows.
    """

    path: Path
    lengths: Int64[np.ndarray, "E"]
    offsets: Int64[np.ndarray, "E"]
    columns: tuple[str, ...]
    attributes: dict[str, Any]
    interrupted: bool
    num_steps: int
    has_hashes: bool

    def __init__(self, path: Path, opened: OpenFile) -> None:
        self.path, self.interrupted = path, opened.interrupted
        self._opened, self._file = opened, opened.file
        self._size = 0 if opened.interrupted else os.fstat(opened.handle).st_size  # a writer may still shorten it
        self._lock = threading.Lock()
        self._frames: FrameReader | None = None
        self._hashes: Hashes | None = None
        self._fingerprint: str | None = None
        self._sources: dict[int, str] | None = None
        check_contents(path, self._file)
        with opened.for_attributes() as file:
            self.attributes = attributes_of(path, file)
        stored = {name: item for name, item in self._file.items() if name not in INDEX and _is_numbers(item)}
        hashes = stored.pop(HASHES, None)
        self.columns = tuple(sorted(stored))
        self.schema = tuple(schema.Column(name, stored[name].dtype, stored[name].shape[1:]) for name in self.columns)
        schema.check_columns(str(path), self.schema, {})  # types first: the index is read only where there are frames
        self.lengths, self.offsets = read_index(path, opened, self._size)
        self.num_steps = sum(self.lengths.tolist())  # not checked yet, so 64 bits could overflow
        self._columns = Columns(path, opened, self.num_steps, self._size, self._lock)
        if hashes is not None and are_of_frames(path, opened):
            stored[HASHES] = hashes
            schema.check_hashes(str(path), hashes.dtype, hashes.shape[1:])
        rows = {name: int(item.shape[0]) for name, item in stored.items()}
        if self.interrupted:
            rows = {name: min(count, self.num_steps) for name, count in rows.items()}
        schema.check_columns(str(path), self.schema, rows)
        schema.check_episodes(str(path), self.lengths, self.offsets, rows[PIXELS])
        self.has_hashes = HASHES in stored
        checked = {name: self._columns.read(name) for name in (ACTION, REWARD) if name in stored}
        schema.check_values(str(path), checked, self.lengths, self.offsets)

    @classmethod
    def open(cls, path: str | bytes | Path) -> "Dataset":
        """Opens and checks a dataset; frames are not read yet.

        Raises:
            DataError: There is no such file, it is not HDF5 or truncated, or it is not a dataset: a column is missing
                or has a wrong type, the numbers of rows differ, the episodes do not cover the rows, or actions or
                rewards are not finite; or it refers to other files, cannot be read on this machine, or exceeds the
                limits in `contents`.
        """
        path = Path(os.fsdecode(path))
        opened = open_file(path)
        try:
            with reading(path):
                return cls(path, opened)
        except BaseException:
            opened.close()
            raise

    @property
    def covered(self) -> tuple[str, ...]:
        """The columns other than 'pixels' that the file's hashes cover."""
        hashes = self._known_hashes()
        return () if hashes is None else hashes.covered

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.lengths)

    @property
    def action_dim(self) -> int:
        """A, the width of one environment step's action."""
        return int(self._file[ACTION].shape[1])

    @property
    def frame_size(self) -> tuple[int, int]:
        """Y and X of the frames."""
        return int(self._file[PIXELS].shape[1]), int(self._file[PIXELS].shape[2])

    @property
    def fps(self) -> float | None:
        """Rows a second; None where the file does not say it, or says what no recorder reaches."""
        stored = self.attributes.get("fps")
        return float(stored) if isinstance(stored, int | float) and SLOWEST <= stored <= FASTEST else None

    @property
    def action_names(self) -> tuple[str, ...]:
        """The names of the numbers of an action; none where the file does not say them."""
        return action_names_in(self.attributes, self.action_dim)

    def source_of(self, episode: int) -> str | None:
        """The recording that an episode is from; None where the file does not say it."""
        if self._sources is None:
            self._sources = sources_in(self.attributes) if schema.EPISODE in self.columns else {}
        if not self._sources:
            return None
        return self._sources.get(int(self._columns.read(schema.EPISODE, self.offsets[[episode]])[0]))

    def said(self, episode: int) -> str:
        """An episode in words, with the recording that it is from."""
        source = self.source_of(episode)
        return f"episode {episode}" + ("" if source is None else f" ({source})")

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Episodes of the source that its conversion could not read."""
        with self._lock, reading(self.path):
            return read_left_out(self._file)

    def column(self, name: str, episodes: Int[np.ndarray, "K"] | None = None) -> Shaped[np.ndarray, "R ..."]:
        """The values of a column other than 'pixels': of all episodes, or of `episodes` one after the other.

        Raises:
            DataError: There is no such column, or no such episode.
        """
        if name == PIXELS:
            raise DataError(f"{self.path}: 'pixels' is not read as a column", "Use frames(rows) or episode(i).")
        if name not in self.columns:
            raise unknown(f"column of {self.path}", name, self.columns)
        rows = None if episodes is None else self.rows(episodes)
        values = self._columns.read(name, rows)
        return self._without_last(values, episodes) if name == ACTION else values

    def rows(self, episodes: Int[np.ndarray, "K"]) -> Int64[np.ndarray, "R"]:
        """The rows of `episodes`, one after the other.

        Raises:
            DataError: There is no such episode.
        """
        wrong = episodes[(episodes < 0) | (episodes >= self.num_episodes)]
        if len(wrong):
            raise DataError(f"{self.path}: no episode {wrong[0]}, it has {self.num_episodes}", "Episodes count from 0.")
        return rows_of(self.lengths, self.offsets, episodes)

    def episode(self, index: int) -> dict[str, Shaped[np.ndarray, "T ..."]]:
        """Every column of one episode, frames included, with the stored values; but the last action is NaN.

        Raises:
            DataError: There is no such episode.
        """
        rows = self.rows(np.array([index]))
        found = {name: self.frames(rows) if name == PIXELS else self._columns.read(name, rows) for name in self.columns}
        return {**found, ACTION: self._without_last(found[ACTION], np.array([index]))}

    def frames(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """Copies of the frames at `rows`, in that order."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.num_steps):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self.num_steps}")
        with reading(self.path):
            return self._frame_reader().read(rows)

    @property
    def frames_are_packed(self) -> bool:
        """Whether frames have to be unpacked, or gathered by HDF5, when they are read from the file."""
        with reading(self.path):
            return not isinstance(self._frame_reader(), PlainFrames)

    def keep_frames(self) -> None:
        """From now on, frames that are read stay in memory."""
        with reading(self.path):
            reader = self._frame_reader()
            if not isinstance(reader, KeptFrames):
                self._frames = KeptFrames(reader, self.num_steps, self._file[PIXELS].shape[1:])

    def fingerprint(self) -> str:
        """SHA-256 of the episodes' lengths and offsets, of all columns, and of the hashes of all frames.

        It is the same for the same contents, however they are chunked or compressed, and with or without hashes in the
        file; attributes do not count. Where the file has no hashes, all its frames are read.
        """
        if self._fingerprint is not None:
            return self._fingerprint
        digest = hashlib.sha256()
        for name, values in ((LENGTHS, self.lengths), (OFFSETS, self.offsets)):
            digest.update(f"{name} {len(values)}\n".encode() + values.astype("<i8").tobytes())
        for column in self.schema:
            digest.update(f"{column}\n".encode())
            if column.name == PIXELS:
                digest.update(self.frame_hashes().tobytes())
            else:
                for rows in _blocks(np.arange(self.num_steps), column.row_bytes):
                    digest.update(as_bytes(self._columns.read(column.name, rows)).tobytes())
        self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def frame_hashes(self, on_share: OnShare = lambda share: None) -> UInt8[np.ndarray, "N 16"]:
        """The hash of every frame: the stored one or, where the file has none, that of the frame as it is now.

        Args:
            on_share: Called with the share of the frames that has been read, if frames are read.
        """
        hashes = self._known_hashes()
        if hashes is None:
            found = []
            for rows in _blocks(np.arange(self.num_steps), math.prod(self.frame_size) * 3):
                found.append(hash_rows(self.frames(rows)))
                on_share((int(rows[-1]) + 1) / self.num_steps)
            hashes = self.know_frames(np.concatenate(found))
        return hashes.frames

    def know_frames(self, hashes: UInt8[np.ndarray, "N 16"]) -> Hashes:
        """Makes reads of a file without hashes compare its frames with these hashes from now on."""
        self._hashes = Hashes(hashes, None, ())
        return self._hashes

    def check_frames(self, rows: Int[np.ndarray, "B"], frames: UInt8[np.ndarray, "B Y X 3"]) -> None:
        """Raises unless these are the frames that were written at `rows`, as far as their hashes are known.

        Raises:
            DataError: A frame differs; the error names the first step that does.
        """
        hashes = self._known_hashes()
        if hashes is not None:
            self._refuse_changed("frame", rows[(hash_rows(frames) != hashes.frames[rows]).any(axis=1)])

    def check_rows(self, rows: Int[np.ndarray, "B"]) -> None:
        """Raises unless frames and other columns at `rows` are what was written, as far as their hashes are known.

        Raises:
            DataError: A step differs or a column is missing; the error names the first one.
        """
        hashes = self._known_hashes()
        if hashes is None:
            return
        gone = set(hashes.covered) - set(self.columns)
        if gone:
            raise DataError(f"{self.path}: column '{min(gone)}' is gone, which its hashes cover", COPY_AGAIN)
        for some in _blocks(rows, sum(column.row_bytes for column in self.schema)):
            self.check_frames(some, self.frames(some))
            if hashes.columns is not None:
                found = hash_columns({name: self._columns.read(name, some) for name in hashes.covered})
                self._refuse_changed("row of numbers", some[(found != hashes.columns[some]).any(axis=1)])

    def check_sample(self) -> None:
        """Checks a random sample of the frames with `check_frames`, which finds it out where many frames differ.

        Other columns need no sample: the fingerprint is computed from their present values.

        Raises:
            DataError: A frame differs; see `check_frames`.
        """
        count = min(SAMPLE, self.num_steps)
        rows = np.sort(np.random.default_rng().choice(self.num_steps, count, replace=False))
        self.check_frames(rows, self.frames(rows))

    def close(self) -> None:
        """Closes the file; nothing can be read afterwards."""
        with self._lock:
            self._frames = None
            self._columns.forget_file()
            self._opened.close()

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _without_last(
        self, actions: Shaped[np.ndarray, "R A"], episodes: Int[np.ndarray, "K"] | None
    ) -> Shaped[np.ndarray, "R A"]:
        """Actions of all episodes, or of `episodes`, with NaN for the last one of each, which leads to no frame.

        Published files hold NaN there, the episode's first action (stable-worldmodel 0.1.1), or any other.
        """
        ends = self.offsets + self.lengths if episodes is None else np.cumsum(self.lengths[episodes])
        actions[ends - 1] = np.nan
        return actions

    def _frame_reader(self) -> FrameReader:
        with self._lock:
            if self._frames is None:
                pixels, handle = self._file[PIXELS], self._opened.handle
                self._frames = open_frames(self.path, pixels, self.num_steps, handle, self._size)
            return self._frames

    def _known_hashes(self) -> Hashes | None:
        if self._hashes is None and self.has_hashes:
            frames, columns = self._columns.read(HASHES).swapaxes(0, 1).copy()
            self._hashes = Hashes(frames, columns, covered_columns(self.path, self._opened, self.columns))
        return self._hashes

    def _refuse_changed(self, what: str, rows: Int[np.ndarray, "B"]) -> None:
        if len(rows):
            episode, step = schema.place_of(int(rows[0]), self.lengths, self.offsets)
            raise DataError(
                f"{self.path}: the {what} at step {step} of {self.said(episode)} is not the one that was written",
                f'See all that differs with "lewm data verify {self.path}", and copy the file again.'
                if self.has_hashes
                else schema.CHANGED,
            )


def _blocks(rows: Int[np.ndarray, "R"], row_bytes: int) -> Iterator[Int[np.ndarray, "B"]]:
    """The rows in blocks of at most `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // max(row_bytes, 1))
    return (rows[first : first + step] for first in range(0, len(rows), step))


def _is_numbers(item: Any) -> bool:  # noqa: ANN401  # HDF5 may hold anything
    """Whether something in a file is an array of numbers."""
    try:
        return isinstance(item, h5py.Dataset) and item.ndim > 0 and item.dtype.kind in schema.NUMBERS
    except TypeError:  # NumPy has no such type
        return False
