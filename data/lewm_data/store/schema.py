"""The contents of a dataset, and the rules for its columns, episodes and values.

Shape letters: N steps of all episodes, E episodes, A action dimension.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from lewm_data.errors import DataError

FORMAT_VERSION = 1
PIXELS, ACTION, REWARD = "pixels", "action", "reward"
LENGTHS, OFFSETS = "ep_len", "ep_offset"
EPISODE, STEP = "episode_idx", "step_idx"  # columns that number the episode of a row, and the row in it
NUMBERS = "biuf"  # kinds of NumPy types that a column may have
SLOWEST, FASTEST = 1e-5, 1000.0  # rows a second: one a day, and the steps of a fast simulator
MOST_NUMBERS = 2048  # in a row: an array of more is a picture or a map, for no sensors of a robot give as many
CHUNK_ROWS, CHUNK_BYTES = 1024, 64 << 10  # rows of a chunk at most, and its bytes, in columns other than frames
MAX_FRAME = 64 << 20  # bytes; 4096 x 4096 pixels are 48 MiB
DETAIL = "detail"  # the attribute of a file that says how finely its frames are drawn
FIT = "fit"  # the attribute of a file that says how pictures that were not square became its frames
HASHES, HASH_BYTES = "row_hash", 16
COVERED = "columns"  # the attribute of HASHES that names the other columns that are hashed
HASHED_FRAME = "frame"  # the attribute of HASHES that holds the shape Y, X, 3 of the hashed frames
INDEX: dict[str, np.dtype] = {LENGTHS: np.dtype(np.int32), OFFSETS: np.dtype(np.int64)}

SEE_FORMAT = '"lewm data convert" makes a dataset of other formats; data/README.md describes the layout of a dataset.'
CHANGED = "Do not write to a dataset that is in use. Copy the file again, then run the command again."


@dataclass(frozen=True)
class Column:
    """One value for every step: its type and the shape of one row."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk. A chunk has only one frame, whose bytes then lie in the file unchanged."""
        return 1 if self.name == PIXELS else max(min(CHUNK_ROWS, CHUNK_BYTES // max(self.row_bytes, 1)), 1)

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype} {('N', *self.shape)}".replace("'N'", "N").replace(",)", ")")


Schema = tuple[Column, ...]

HASH_COLUMN = Column(HASHES, np.dtype(np.uint8), (2, HASH_BYTES))  # hash of the frame, hash of the other columns


def describe(columns: Mapping[str, Shaped[np.ndarray, "..."]]) -> Schema:
    """The schema of arrays, in the order of their names."""
    return tuple(Column(name, columns[name].dtype, columns[name].shape[1:]) for name in sorted(columns))


def is_numbers(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether values are recorded as numbers: some, no picture (uint8 with rows and columns), not too many.

    Args:
        dtype: Their type.
        shape: The shape of a row of them.
    """
    numeric = dtype.kind in NUMBERS and not (dtype == np.uint8 and len(shape) >= 2)
    return numeric and 0 < math.prod(shape) <= MOST_NUMBERS


def empty_file(columns: Schema, attributes: Mapping[str, Any]) -> bytes:
    """The bytes of an HDF5 file without episodes, ready to be extended."""
    import h5py  # here, because worker processes know the columns but write no files

    from lewm_data.store import left_out

    with h5py.File("empty", "w", libver=("v110", "v110"), driver="core", backing_store=False) as file:
        index = (Column(name, dtype, ()) for name, dtype in INDEX.items())
        for column in (*columns, HASH_COLUMN, *index):
            file.create_dataset(
                column.name,
                (0, *column.shape),
                column.dtype,
                maxshape=(None, *column.shape),
                chunks=(column.chunk_rows, *column.shape),
            )
        file[HASHES].attrs[COVERED] = [column.name for column in columns if column.name != PIXELS]
        file[HASHES].attrs[HASHED_FRAME] = next(column.shape for column in columns if column.name == PIXELS)
        if left_out.CONVERSION in attributes:
            left_out.add_to(file)
        for name, value in attributes.items():
            file.attrs[name] = value
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def check_columns(where: str, schema: Schema, rows: Mapping[str, int]) -> None:
    """Raises unless there are frames and actions of the right types, and all columns have as many rows.

    Raises:
        DataError: A column is missing, has a wrong type, or has more or fewer rows than 'pixels'.
    """
    columns = {column.name: column for column in schema}
    for name in (PIXELS, ACTION):
        if name not in columns:
            raise DataError(
                f"{where}: no column '{name}', found {', '.join(sorted(columns)) or 'nothing'}",
                SEE_FORMAT,
            )
    pixels, action = columns[PIXELS], columns[ACTION]
    if pixels.dtype != np.uint8 or len(pixels.shape) != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise DataError(f"{where}: column {pixels}, expected uint8 (N, Y, X, 3)", SEE_FORMAT)
    if pixels.row_bytes > MAX_FRAME:
        raise DataError(
            f"{where}: frames of {pixels.row_bytes} bytes, expected at most {MAX_FRAME}", "Store smaller frames."
        )
    if action.dtype.kind != "f" or len(action.shape) != 1 or 0 in action.shape:
        raise DataError(f"{where}: column {action}, expected floating point (N, A)", SEE_FORMAT)
    for name, count in rows.items():
        if count != rows[PIXELS]:
            raise DataError(
                f"{where}: column '{name}' has {count} rows, expected {rows[PIXELS]} as in 'pixels'",
                SEE_FORMAT
                if name != HASHES
                else f"Delete the hashes if rows were added: del file['{HASHES}'] with h5py.",
            )


def check_episodes(where: str, lengths: Int[np.ndarray, "E"], offsets: Int[np.ndarray, "E"], num_steps: int) -> None:
    """Raises unless the episodes cover all steps exactly once.

    Raises:
        DataError: There are no episodes, empty ones, a gap, an overlap, or rows without an episode.
    """
    if len(lengths) == 0:
        raise DataError(f"{where}: has no episodes", "Collect some, or use another file.")
    if lengths.min() < 1:
        raise DataError(
            f"{where}: episode {lengths.argmin()} has {lengths.min()} steps, expected at least 1",
            SEE_FORMAT,
        )
    if lengths.max() > num_steps:  # after this check, sums fit 64 bits
        raise DataError(
            f"{where}: episode {lengths.argmax()} has {lengths.max()} steps, and column 'pixels' {num_steps} rows",
            SEE_FORMAT,
        )
    order = np.argsort(offsets, kind="stable")
    expected = np.cumsum(lengths[order]) - lengths[order]
    wrong = np.flatnonzero(offsets[order] != expected)
    if len(wrong):
        episode, found = order[wrong[0]], offsets[order][wrong[0]]
        raise DataError(
            f"{where}: episode {episode} starts at row {found}, expected {expected[wrong[0]]}: "
            "episodes overlap or leave a gap",
            SEE_FORMAT,
        )
    if lengths.sum() != num_steps:
        raise DataError(
            f"{where}: column 'pixels' has {num_steps} rows, expected {lengths.sum()}, the sum of 'ep_len'",
            SEE_FORMAT,
        )


def check_values(
    where: str,
    columns: Mapping[str, Shaped[np.ndarray, "N ..."]],
    lengths: Int[np.ndarray, "E"],
    offsets: Int[np.ndarray, "E"],
) -> None:
    """Raises unless all actions and rewards are finite.

    Only the last row of an episode may have no action: it holds the frame after the last action. Only the first may
    have no reward: where a file has the reward of the action before a frame, no action came before the first.

    Raises:
        DataError: A number is NaN or infinite; the error names the first such episode and step.
    """
    for name in (ACTION, REWARD):
        if name not in columns or columns[name].dtype.kind != "f":
            continue
        values = columns[name].reshape(len(columns[name]), -1)
        wrong = ~np.isfinite(values).all(axis=1)
        if name == ACTION:
            last = offsets + lengths - 1
            wrong[last] = np.isinf(values[last]).any(axis=1)
        else:
            wrong[offsets] = np.isinf(values[offsets]).any(axis=1)
        if wrong.any():
            episode, step = place_of(int(wrong.argmax()), lengths, offsets)
            raise _not_finite(where, name, episode, step)


def check_piece(
    where: str, episode: int, columns: Mapping[str, Shaped[np.ndarray, "P ..."]], before: int, ended: bool
) -> None:
    """Raises unless these rows can follow `before` rows of an episode: there are some, and their values are finite.

    Args:
        where: The file, for errors.
        episode: The number of the episode, for errors.
        columns: The rows.
        before: Rows of the episode that came before.
        ended: Whether the episode ends with them; then the last action may be NaN.

    Raises:
        DataError: There are no rows, or a number is NaN or infinite; the error names the first such step.
    """
    count = len(columns[PIXELS])
    if count < 1:
        raise DataError(f"{where}: no rows for episode {episode}, expected at least 1", "Leave it out.")
    for name in (ACTION, REWARD):
        if name not in columns or columns[name].dtype.kind != "f":
            continue
        values = columns[name].reshape(count, -1)
        wrong = ~np.isfinite(values).all(axis=1)
        if name == ACTION and ended:
            wrong[-1] = np.isinf(values[-1]).any()
        if wrong.any():
            raise _not_finite(where, name, episode, int(wrong.argmax()) + before)


def check_hashes(where: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Raises unless the hashes of the rows have the type with which they are written.

    Raises:
        DataError: They have another type, so another column has their name.
    """
    if (dtype, shape) != (HASH_COLUMN.dtype, HASH_COLUMN.shape):
        found = Column(HASHES, dtype, shape)
        raise DataError(f"{where}: column {found}, expected {HASH_COLUMN}", "Give the column another name.")


def place_of(row: int, lengths: Int[np.ndarray, "E"], offsets: Int[np.ndarray, "E"]) -> tuple[int, int]:
    """The episode of a row, and the step in it."""
    episode = int(np.flatnonzero((offsets <= row) & (row < offsets + lengths))[0])
    return episode, row - int(offsets[episode])


def _not_finite(where: str, name: str, episode: int, step: int) -> DataError:
    return DataError(
        f"{where}: column '{name}' is not finite at step {step} of episode {episode}",
        "Leave that episode out; only the last action of an episode may be NaN."
        if name == ACTION
        else "Leave that episode out; a step without a reward has the reward 0.",
    )
