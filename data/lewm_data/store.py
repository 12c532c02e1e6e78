"""Datasets on disk: opened, checked, and read in any order.

The format is described in data/README.md. Shape letters: N steps of all episodes, E episodes, B frames asked
for, K episodes asked for, R their rows, T steps of one.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int, Int64, Shaped, UInt8

from lewm_data import schema
from lewm_data.errors import DataError, unknown
from lewm_data.frames import FrameReader, open_frames, rows_of
from lewm_data.schema import ACTION, INDEX, LENGTHS, OFFSETS, PIXELS, REWARD
from lewm_data.unclosed import ClosedView, is_unclosed

FINGERPRINT_FRAMES = 64  # evenly spaced; enough to tell renderers apart, few enough to take milliseconds


class Dataset:
    """An HDF5 dataset, open for reading. Made by `Dataset.open`; one other thread may read at the same time.

    A file whose writer was interrupted, or is still writing, is a dataset of its finished episodes.

    Attributes:
        path: The file.
        lengths: Steps of each episode (E,).
        offsets: Row at which each episode begins (E,).
        columns: Names of everything stored for each step, 'pixels' included.
        attributes: What the file says of itself: environment, seed, policy, …
        interrupted: Whether the file was not closed: its writer was killed, or is at work.
    """

    path: Path
    lengths: Int64[np.ndarray, "E"]
    offsets: Int64[np.ndarray, "E"]
    columns: tuple[str, ...]
    attributes: dict[str, Any]
    interrupted: bool

    def __init__(self, path: Path, file: h5py.File, interrupted: bool) -> None:
        self.path, self.interrupted = path, interrupted
        self._file = file
        self._lock = threading.Lock()
        self._cache: dict[str, np.ndarray] = {}
        self._frames: FrameReader | None = None
        self.attributes = {name: _plain(value) for name, value in file.attrs.items()}
        stored = {
            name: item
            for name, item in file.items()
            if isinstance(item, h5py.Dataset) and name not in INDEX and item.ndim and item.dtype.kind in schema.NUMBERS
        }
        self.columns = tuple(sorted(stored))
        self.schema = tuple(schema.Column(name, stored[name].dtype, stored[name].shape[1:]) for name in self.columns)
        self.lengths, self.offsets = self._index()
        if interrupted:
            rows = {name: min(len(item), int(self.lengths.sum())) for name, item in stored.items()}
        else:
            rows = {name: len(item) for name, item in stored.items()}
        schema.check_columns(str(path), self.schema, rows)
        schema.check_episodes(str(path), self.lengths, self.offsets, rows[PIXELS])
        checked = {name: self._whole(name) for name in (ACTION, REWARD) if name in stored}
        schema.check_values(str(path), checked, self.lengths, self.offsets)

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Opens and checks a dataset; frames are not read yet.

        Raises:
            DataError: No such file, not HDF5, truncated, or not a dataset: a missing or mistyped column,
                unequal numbers of rows, episodes that do not cover the rows, actions or rewards not finite.
        """
        path = Path(path)
        file, interrupted = _open_file(path)
        try:
            with _reading(path):
                return cls(path, file, interrupted)
        except DataError:
            file.close()
            raise

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.lengths)

    @property
    def num_steps(self) -> int:
        """N, rows of all episodes together."""
        return int(self.lengths.sum())

    @property
    def action_dim(self) -> int:
        """A, of one environment step."""
        return int(self._file[ACTION].shape[1])

    @property
    def frame_size(self) -> tuple[int, int]:
        """Y and X of the frames."""
        return int(self._file[PIXELS].shape[1]), int(self._file[PIXELS].shape[2])

    def column(self, name: str, episodes: Int[np.ndarray, "K"] | None = None) -> Shaped[np.ndarray, "R ..."]:
        """The values of a column other than 'pixels', of all episodes or of `episodes` one after the other.

        Raises:
            DataError: There is no such column, or no such episode.
        """
        if name == PIXELS:
            raise DataError(f"{self.path}: 'pixels' is not read as a column", "Use frames(rows) or episode(i).")
        if name not in self.columns:
            raise unknown(f"column of {self.path}", name, self.columns)
        return self._whole(name)[... if episodes is None else self.rows(episodes)].copy()

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
        """Every column of one episode, frames included, as stored: the last action is NaN.

        Raises:
            DataError: There is no such episode.
        """
        rows = self.rows(np.array([index]))
        return {name: self.frames(rows) if name == PIXELS else self._whole(name)[rows] for name in self.columns}

    def frames(self, rows: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B Y X 3"]:
        """Copies of the frames at `rows`, in that order."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.num_steps):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self.num_steps}")
        with _reading(self.path):
            with self._lock:
                if self._frames is None:
                    self._frames = open_frames(self.path, self._file[PIXELS], self.num_steps)
            return self._frames.read(rows)

    def fingerprint(self) -> str:
        """SHA-256 of the episodes' lengths and offsets, all columns, and of 'pixels' 64 evenly spaced frames.

        The same for the same contents, however they are chunked or compressed; attributes do not count.
        """
        digest = hashlib.sha256()
        for name, values in ((LENGTHS, self.lengths), (OFFSETS, self.offsets)):
            digest.update(f"{name} {len(values)}\n".encode() + values.astype("<i8").tobytes())
        for column in self.schema:
            digest.update(f"{column}\n".encode())
            if column.name != PIXELS:
                values = self._whole(column.name)
                digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        sample = np.unique(np.linspace(0, self.num_steps - 1, FINGERPRINT_FRAMES).astype(np.int64))
        digest.update(self.frames(sample).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Closes the file; nothing can be read afterwards."""
        with self._lock:
            self._frames = None
            self._file.close()

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _whole(self, name: str) -> np.ndarray:
        """A column of all finished episodes, read once."""
        with self._lock, _reading(self.path):
            if name not in self._cache:
                self._cache[name] = self._file[name][: self.num_steps]
            return self._cache[name]

    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        for name in INDEX:
            item = self._file.get(name)
            if not isinstance(item, h5py.Dataset) or item.ndim != 1 or item.dtype.kind not in "iu":
                raise DataError(f"{self.path}: no column '{name}' of integers, one an episode", schema.SEE_FORMAT)
        lengths, offsets = (self._file[name][:].astype(np.int64) for name in (LENGTHS, OFFSETS))
        if self.interrupted:  # an episode is finished from the moment its length is there, which is written last
            finished = min(int(np.append(lengths > 0, False).argmin()), len(offsets))
            lengths, offsets = lengths[:finished], offsets[:finished]
        if len(lengths) != len(offsets):
            raise DataError(
                f"{self.path}: 'ep_offset' has {len(offsets)} rows, expected {len(lengths)} as in 'ep_len'",
                schema.SEE_FORMAT,
            )
        return lengths, offsets


def _open_file(path: Path) -> tuple[h5py.File, bool]:
    """The open file, and whether it was never closed by its writer."""
    if path.is_dir():
        raise DataError(f"{path}: is a directory, expected an HDF5 file", "Name a file in it.")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        remedy = f'Collect one with "lewm collect --out {path}".'
        raise DataError(f"{path}: {error.strerror or error}", remedy) from error
    if empty:
        raise DataError(f"{path}: is empty, expected an HDF5 file", "Copy or collect the file again.")
    if not h5py.is_hdf5(path):
        raise DataError(
            f"{path}: is not an HDF5 file",
            'Give a file made by "lewm collect", or one in the layout of data/README.md.',
        )
    unclosed = is_unclosed(path)
    with _reading(path):
        return h5py.File(ClosedView(path) if unclosed else path, "r"), unclosed


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says what is wrong with the file when h5py cannot make sense of it."""
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error.args[-1] if error.args else error).split())
        problem = "is truncated, its end is missing" if "truncated" in reason else f"is damaged: {reason}"
        raise DataError(f"{path}: {problem}", "Copy or collect the file again.") from error


def _plain(value: Any) -> Any:  # noqa: ANN401  # an attribute may be anything
    """An attribute as Python's own type."""
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
