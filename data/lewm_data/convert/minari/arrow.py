"""Minari's episodes in Arrow or Parquet files, read under the names that they would have in its HDF5 file.

Letters: R rows of an episode, Y and X the sides of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.arrow import read_arrow
from lewm_data.convert.hdf5 import JPEG, PNG
from lewm_data.convert.minari.spaces import METADATA, shapes
from lewm_data.errors import DataError
from lewm_data.foreign import decoding
from lewm_data.parquet import batches_of, numbers_of, read_rows, rows_in, schema_of
from lewm_data.store.contents import memory_limit
from lewm_data.store.schema import MAX_FRAME, is_numbers
from lewm_data.video.pictures import decode_image, displayed_size

if TYPE_CHECKING:
    import pyarrow

    from lewm_data.convert.hdf5 import Picture

PREFIX = "episode_"
OBSERVATIONS = "observations"
ENDINGS = (".arrow", ".parquet")
DAMAGED, AGAIN = "is no episode that Minari stored, or not all of one", "Copy the dataset again."


def is_storage(path: Path) -> bool:
    """Whether a folder is the folder `data` of such a dataset."""
    return (path / METADATA).is_file() and any(_is_episode(one) for one in path.iterdir())


class ArrowEpisodes:
    """The episodes of a dataset. One is in memory at a time where it is an Arrow file.

    Attributes:
        path: The folder `data`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shapes: Mapping[str, tuple[int, ...]] = shapes(path / METADATA)
        self._episodes = {f"{PREFIX}{one.name}": one for one in path.iterdir() if _is_episode(one)}
        self._read: tuple[str, pyarrow.Schema, list[pyarrow.RecordBatch] | None] | None = None

    def close(self) -> None:
        """Ends all reading."""
        self._read = None

    def names(self, group: str = "") -> list[str]:
        """The names in a group; none where there is no such group."""
        if not group:
            return list(self._episodes)
        kind = self._kind(group)
        return [field.name for field in kind] if kind is not None and _is_struct(kind) else []

    def within(self, group: str) -> list[str]:
        """The names of all columns in a group and the groups in it, in their order."""
        parts = self.names(group)
        found = [name for part in parts for name in self.within(f"{group}/{part}")]
        return found if parts else [group] * self.holds(group)

    def holds(self, name: str) -> bool:
        """Whether there is a column of this name."""
        kind = self._kind(name)
        return kind is not None and not _is_struct(kind)

    def is_pictures(self, name: str) -> bool:
        """Whether a column holds pictures: a JPEG or PNG a row, or the bytes of (Y, X, 3)."""
        if _is_binary(self._kind(name)):
            first = next((array[0].as_py() for array in self._arrays(name) if len(array)), None)
            return first is not None and first.startswith((JPEG, PNG))
        dtype, shape = self._row(name)
        return dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and 0 < math.prod(shape) <= MAX_FRAME

    def is_numeric(self, name: str) -> bool:
        """Whether a column is of numbers, and of no pictures or maps."""
        dtype, shape = self._row(name)
        return dtype is not None and is_numbers(dtype, shape)

    def count(self, name: str) -> int:
        """The rows of a column."""
        batches = self._open(name)[1]
        return rows_in(self._file(name)) if batches is None else sum(map(len, batches))

    def numbers(self, name: str, rows: slice = slice(None)) -> Shaped[np.ndarray, "R ..."]:
        """Rows of a column of numbers; those after the last action, which Minari adds, are no rows.

        Raises:
            DataError: It is none, or takes too much memory.
        """
        import pyarrow as pa

        file, batches = self._file(name), self._open(name)[1]
        if batches is None:  # counted first: numbers that are repeated take next to no place in the file
            batches = read_rows(file, [_within(name)]).to_batches()
        arrays = [self._array(name, batch) for batch in batches]
        size = sum(array.nbytes for array in arrays)
        if size > memory_limit():
            raise DataError(
                f"{self.path}: '{name}' takes {size:,} bytes, at most {memory_limit():,} fit here",
                "Convert it on a machine with more memory.",
            )
        short = name.partition("/")[2]
        values = numbers_of(file, pa.table({short: pa.chunked_array(arrays, self._kind(name))}), short)
        if not short.startswith(OBSERVATIONS):
            values = values[:-1]
        shape = self._row(name)[1]
        return (values.reshape(len(values), *shape) if shape else values)[rows]

    def pictures(self, name: str) -> Iterator[Picture]:
        """The pictures of an episode.

        Raises:
            DataError: They are no pictures, or damaged.
        """
        if not self.is_pictures(name):
            raise DataError(f"{self._file(name)}: has no pictures in '{name.partition('/')[2]}'", AGAIN)
        row, binary, shape = 0, _is_binary(self._kind(name)), self._row(name)[1]
        for array in self._arrays(name):
            for value in array:
                where = f"{self._file(name)}: row {row} of '{name.partition('/')[2]}'"
                with decoding(where, "is no picture", AGAIN):
                    content = value.as_py() if binary else value.values.to_numpy().reshape(shape)
                yield decode_image(content or b"", where) if binary else content
                row += 1

    def picture_size(self, name: str) -> tuple[int, int]:
        """Y and X of the first picture.

        Raises:
            DataError: There is none, or it is damaged.
        """
        for first in self.pictures(name):
            return (first.shape[0], first.shape[1]) if isinstance(first, np.ndarray) else displayed_size(first)
        raise DataError(f"{self._file(name)}: has no rows", "Leave this episode out.")

    def _file(self, name: str) -> Path:
        """The file of an episode."""
        folder = self._episodes[name.partition("/")[0]]
        files = [one for one in sorted(folder.iterdir()) if one.suffix in ENDINGS]
        if len(files) != 1:
            raise DataError(f"{folder}: has {len(files)} files of an episode, expected one", AGAIN)
        return files[0]

    def _open(self, name: str) -> tuple[pyarrow.Schema, list[pyarrow.RecordBatch] | None]:
        """The schema of an episode, and its rows where they are read whole; the last one read is kept."""
        episode = name.partition("/")[0]
        if self._read is None or self._read[0] != episode:
            file = self._file(name)
            self._read = (episode, *(read_arrow(file) if file.suffix == ENDINGS[0] else (schema_of(file), None)))
        return self._read[1:]

    def _kind(self, name: str) -> pyarrow.DataType | None:
        """The type of a column or group; None where there is none."""
        schema, _ = self._open(name)
        found: Any = schema
        for part in name.split("/")[1:]:
            at = found.get_field_index(part) if found is schema or _is_struct(found) else -1
            if at < 0:
                return None
            found = found.field(at).type
        return None if found is schema else found

    def _row(self, name: str) -> tuple[np.dtype | None, tuple[int, ...]]:
        """The type and the shape of a row; None where it is no row of numbers."""
        from pyarrow import types

        kind, shape = self._kind(name), tuple[int, ...]()
        if kind is not None and types.is_fixed_size_list(kind):
            shape = self._shapes.get(name.partition("/")[2].removeprefix(OBSERVATIONS).strip("/"), (kind.list_size,))
            shape = shape if math.prod(shape) == kind.list_size else (kind.list_size,)
            kind = kind.value_type
        if kind is None or not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
            return None, ()
        return np.dtype(kind.to_pandas_dtype()), shape

    def _arrays(self, name: str) -> Iterator[pyarrow.Array]:
        """A column, a part of its rows at a time."""
        batches = self._open(name)[1]
        for batch in batches_of(self._file(name), _within(name)) if batches is None else batches:
            yield self._array(name, batch)

    def _array(self, name: str, batch: pyarrow.RecordBatch) -> pyarrow.Array:
        """A column of a part of the rows."""
        first, *more = name.split("/")[1:]
        with decoding(self._file(name), DAMAGED, AGAIN):
            array = batch.column(first)
            for part in more:
                array = array.field(part)
            return array


def _within(name: str) -> str:
    """The name of a column in a Parquet file, where points lead into a group."""
    return name.partition("/")[2].replace("/", ".")


def _is_episode(folder: Path) -> bool:
    return folder.name.isdecimal() and any((folder / f"part-0{ending}").is_file() for ending in ENDINGS)


def _is_struct(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind))


def _is_binary(kind: pyarrow.DataType | None) -> bool:
    from pyarrow import types

    return kind is not None and bool(types.is_binary(kind) or types.is_large_binary(kind))
