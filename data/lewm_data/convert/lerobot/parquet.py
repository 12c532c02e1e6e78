"""Parquet files of other people's, through pyarrow.

Letters: R rows, W numbers of a column in a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.errors import DataError, missing
from lewm_data.foreign import check_file, decoding
from lewm_data.store.contents import memory_limit

AGAIN = "Copy the whole dataset again."


def read_rows(path: Path, columns: list[str], only: tuple[str, int] | None = None) -> Any:  # noqa: ANN401
    """Reads columns of a file as a `pyarrow.Table`.

    Args:
        path: The file.
        columns: The columns.
        only: A column and the value that it has in the rows that are read; None reads all.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged, too large, or lacks a column.
    """
    try:
        import pyarrow.parquet  # an extra
    except ModuleNotFoundError as error:
        raise missing("reading LeRobot's tables needs pyarrow", "formats") from error
    check_file(path)
    with decoding(path, "is no Parquet file that can be read, or not all of one", AGAIN):
        with pyarrow.parquet.ParquetFile(path) as file:
            lacking = sorted(set(columns) - set(file.schema_arrow.names))
            size = _size(file.metadata, columns) if only is None else 0
        if lacking:
            raise DataError(f"{path}: has no column '{lacking[0]}'", AGAIN)
        if size > memory_limit():
            raise DataError(f"{path}: unpacks to {size:,} bytes, at most {memory_limit():,} fit here", AGAIN)
        filters = None if only is None else [(only[0], "==", only[1])]
        return pyarrow.parquet.read_table(path, columns=columns, filters=filters, partitioning=None)


def numbers_of(path: Path, rows: Any, name: str) -> Shaped[np.ndarray, "R ..."]:  # noqa: ANN401
    """A column of numbers, or of lists of one length: (R,) or (R, W).

    Raises:
        DataError: Numbers are missing, or the lists have different lengths.
    """
    column = rows.column(name).combine_chunks()
    count = len(column)
    with decoding(path, f"'{name}' is not a number, or a list of as many numbers, in every row", AGAIN):
        depth = 0
        while hasattr(column.type, "value_type"):
            column, depth = column.flatten(), depth + 1
        values: np.ndarray = column.to_numpy(zero_copy_only=False)
        if column.null_count or (count and len(values) % count):
            raise ValueError(f"{len(values)} numbers in {count} rows")
        return values.reshape(count, -1) if depth else values


def _size(metadata: Any, columns: list[str]) -> int:  # noqa: ANN401  # a pyarrow.parquet.FileMetaData
    """Bytes of columns when they are unpacked; repeated values are stored once, but take their place in memory."""
    sizes = [8 * metadata.num_rows * len(columns)]
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            if any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in columns):
                sizes.append(column.total_uncompressed_size)
    return sum(sizes)
