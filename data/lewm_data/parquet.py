"""Parquet files of other people's, through pyarrow: what they unpack to is known before any of it is.

Letters: R rows, W numbers of a column in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.errors import DataError, missing
from lewm_data.foreign import check_file, decoding
from lewm_data.store.contents import memory_limit

DAMAGED, AGAIN = "is no Parquet file that can be read, or not all of one", "Copy or write it again."
NUMBER = 8  # bytes of a number at most; repeated numbers are stored once, but take their place in memory
READ_TOGETHER = 16  # values that are no numbers, such as pictures


def numeric_columns(path: Path, most: int) -> tuple[list[str], list[str]]:
    """The names of the columns of numbers, or of lists of numbers, whatever their first value is; and of all others.

    Args:
        path: The file.
        most: The most numbers in a row, on average. A column of more is one of the others, and is not read for this.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged.
    """
    with _opened(path) as file:
        names, counts = file.schema_arrow.names, dict[str, int]()
        groups = map(file.metadata.row_group, range(file.num_row_groups))
        for part in (group.column(number) for group in groups for number in range(group.num_columns)):
            counts[part.path_in_schema] = counts.get(part.path_in_schema, 0) + part.num_values
        widths = {name: sum(count for part, count in counts.items() if _is_part(part, name)) for name in names}
        rows = max(file.metadata.num_rows, 1)
        kept = [one.name for one in file.schema_arrow if _is_numeric(one.type) and widths[one.name] <= most * rows]
        return kept, [name for name in names if name not in kept]


def schema_of(path: Path) -> Any:  # noqa: ANN401
    """The columns of a file, as a `pyarrow.Schema`.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged.
    """
    with _opened(path) as file:
        return file.schema_arrow


def rows_in(path: Path) -> int:
    """How many rows a file has.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged.
    """
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def batches_of(path: Path, column: str) -> Iterator[Any]:
    """The rows of a column, or of a part of one ("observations.image"), as `pyarrow.RecordBatch` of a few rows each.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged, or has rows that take too much memory.
    """
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            about = file.metadata.row_group(group)
            parts = map(about.column, range(about.num_columns))
            size = sum(one.total_uncompressed_size for one in parts if _is_part(one.path_in_schema, column))
            if size > memory_limit():
                raise DataError(
                    f"{path}: unpacks to {size:,} bytes, at most {memory_limit():,} are read here", "Split it."
                )
        yield from file.iter_batches(READ_TOGETHER, columns=[column])


def read_rows(path: Path, columns: Sequence[str], most: int | None = None) -> Any:  # noqa: ANN401
    """Reads columns of numbers of a file as a `pyarrow.Table`.

    Args:
        path: The file.
        columns: The columns, or parts of them ("observations.state").
        most: The most bytes that they may unpack to; None stands for `memory_limit`.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged, too large, or lacks a column.
    """
    with _opened(path) as file:
        _check(path, file, columns, memory_limit() if most is None else most)
        return file.read(columns=list(columns))


def values_of(path: Path, name: str, only: tuple[str, int]) -> Iterator[Any]:
    """The values of a column, such as pictures, in Python's own types. A few are in memory at a time.

    Args:
        path: The file.
        name: The column.
        only: A column of numbers, and the number that it has in the rows that are read.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged, too large, or lacks a column.
    """
    with _opened(path) as file:
        _check(path, file, [name, only[0]], memory_limit(), others=name)
        for group in range(file.num_row_groups):
            chosen = file.read_row_group(group, columns=[only[0]]).column(only[0]).to_numpy() == only[1]
            if not chosen.any():
                continue
            first = 0
            for batch in file.iter_batches(READ_TOGETHER, row_groups=[group], columns=[name]):
                column = batch.column(name)
                for row in np.flatnonzero(chosen[first : first + len(column)]):
                    yield column[int(row)].as_py()
                first += len(column)


def numbers_of(path: Path, rows: Any, name: str, gaps: bool = False) -> Shaped[np.ndarray, "R ..."]:  # noqa: ANN401
    """A column of numbers, or of lists of one length: (R,) or (R, W).

    Args:
        path: The file, for errors.
        rows: A `pyarrow.Table`.
        name: The column.
        gaps: Whether a number that is missing becomes NaN, and is no error.

    Raises:
        DataError: Numbers are missing, or the lists have different lengths.
    """
    import pyarrow.compute  # read_rows says so where it is missing

    with decoding(path, f"'{name}' is not a number, or a list of as many numbers, in every row", AGAIN):
        column = rows.column(name).combine_chunks()
        count, lists = len(column), _is_list(column.type)
        if not _is_numeric(column.type):
            raise TypeError(str(column.type))
        while _is_list(column.type):
            lengths = pyarrow.compute.list_value_length(column)
            if column.null_count or len(lengths.unique()) > 1:
                raise ValueError("lists of different lengths")
            column = column.flatten()
        if column.null_count and not gaps:
            raise ValueError(f"{column.null_count} numbers are missing")
        values: np.ndarray = column.to_numpy(zero_copy_only=False)
        values = values.astype(np.float64) if column.null_count else values  # of bool, they are Python's None before
        width = len(values) // max(count, 1)
        return values.reshape(count, width) if lists else values


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open `pyarrow.parquet.ParquetFile`; any error in the block is one of the file."""
    try:
        import pyarrow.parquet  # an extra
    except ModuleNotFoundError as error:
        raise missing("reading .parquet needs pyarrow", "formats") from error
    check_file(path)
    with decoding(path, DAMAGED, AGAIN), pyarrow.parquet.ParquetFile(path) as file:
        yield file


def _check(path: Path, file: Any, columns: Sequence[str], most: int, others: str = "") -> None:  # noqa: ANN401
    """Raises unless the columns are there, hold numbers but for `others`, and unpack to at most `most` bytes."""
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    lacking = sorted(name for name in columns if not any(_is_part(one, name) for one in paths))
    if lacking:
        raise DataError(f"{path}: has no column '{lacking[0]}'", AGAIN)
    size = 0
    for group in range(file.num_row_groups):
        row_group = file.metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            named = next((name for name in columns if _is_part(column.path_in_schema, name)), None)
            if named is not None:
                if column.physical_type == "BYTE_ARRAY" and named != others:
                    raise DataError(f"{path}: '{column.path_in_schema}' is no column of numbers", AGAIN)
                numbers = 0 if named == others else NUMBER * column.num_values
                size += max(column.total_uncompressed_size, numbers)
    if size > most:
        raise DataError(f"{path}: unpacks to {size:,} bytes, at most {most:,} are read here", "Split it.")


def _is_part(path: str, column: str) -> bool:
    """Whether a path in the file, such as "state.list.element", is of a column."""
    return f"{path}.".startswith(f"{column}.")


def _is_list(kind: Any) -> bool:  # noqa: ANN401  # a pyarrow.DataType
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_numeric(kind: Any) -> bool:  # noqa: ANN401  # a pyarrow.DataType
    from pyarrow import types

    while _is_list(kind):
        kind = kind.value_type
    return bool(types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind))
