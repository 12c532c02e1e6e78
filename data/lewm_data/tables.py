"""Tables of numbers from files: .csv, .npy, .jsonl and .parquet.

Letters: R rows, W numbers of a column in a row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from lewm_data.csv_files import MOST_TEXT, lines_of, read_csv
from lewm_data.errors import DataError, unknown
from lewm_data.foreign import check_file, decoding
from lewm_data.parquet import numbers_of, numeric_columns, read_rows
from lewm_data.store.schema import MOST_NUMBERS, NUMBERS

NAMELESS = ""  # the name of the one column of a table without names
MOST_BINARY = 2**28  # bytes: 4 M rows of seven float64, an hour at 1000 rows a second


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Its numbers by the names of the columns; under `NAMELESS` where the file has no names.
        left_out: The names of columns that hold no numbers, or more than `MOST_NUMBERS` in a row.
        counted: Whether there are no names, but the first row counts the columns from 0: it may be the names that a
            program gave them, and no numbers.
    """

    columns: Mapping[str, Float64[np.ndarray, "R W"]]
    left_out: tuple[str, ...] = ()
    counted: bool = False

    def __len__(self) -> int:
        """R."""
        return len(next(iter(self.columns.values()), ()))

    def without_first(self) -> Table:
        """The table without its first row."""
        return replace(self, columns={name: values[1:] for name, values in self.columns.items()}, counted=False)


def read_table(path: Path) -> Table:
    """Reads a table, one row a line.

    Args:
        path: A .csv file, with columns separated by comma, semicolon or tab, with or without a line of names; a .npy
            file; a .jsonl file, with an object or a list of numbers a line; or a .parquet file, whose columns are
            numbers or lists of one length.

    Raises:
        DataError: There is no such file, it is of another kind or too large, has no rows, or holds something other
            than numbers; the error names the line.
    """
    ending = path.suffix.lower()
    if ending not in READERS:
        raise unknown("ending of a file of numbers", ending, READERS)
    table = READERS[ending](path)
    if not len(table):
        left_out = f"; left out: {', '.join(table.left_out)}" if table.left_out else ""
        raise DataError(f"{path}: has no rows of numbers{left_out}", "Give a row a step.")
    return table


def _read_csv(path: Path) -> Table:
    file = read_csv(path)
    kept = [at for at in range(file.values.shape[1]) if at not in file.texts]
    if not file.names:
        left_out = tuple(f"column {at + 1}" for at in file.texts)
        return Table({NAMELESS: file.values[:, kept]}, left_out, file.counted)
    columns = {file.names[at]: file.values[:, at : at + 1] for at in kept}
    return Table(columns, tuple(file.names[at] for at in file.texts))


def _read_jsonl(path: Path) -> Table:
    check_file(path, MOST_TEXT)
    columns: dict[str, list[Any]] = {}
    for number, line in lines_of(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: is not JSON", "Correct it.") from error
        row = row if isinstance(row, dict) else {NAMELESS: row}
        if columns and row.keys() != columns.keys():
            found = f"has {', '.join(row) or 'nothing'}, expected {', '.join(columns)} as before"
            raise DataError(f"{path}, line {number}: {found}", "Correct it.")
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    texts = {name for name, values in columns.items() if any(isinstance(value, str) for value in values)}
    texts = {name for name in texts if all(value is None or isinstance(value, str) for value in columns[name])}
    numbers = {name: _column(path, name, values) for name, values in columns.items() if name not in texts}
    wide = {name for name, values in numbers.items() if math.prod(values.shape[1:]) > MOST_NUMBERS}
    left_out = tuple(name for name in columns if name in texts | wide)
    return Table({name: _rows(path, name, numbers[name]) for name in columns if name not in left_out}, left_out)


def _read_npy(path: Path) -> Table:
    check_file(path, MOST_BINARY)
    with decoding(path, "is no .npy file of numbers, or not all of one", "Write it with numpy.save."):
        mapped = np.lib.format.open_memmap(path, mode="r")  # runs no pickle, and allocates nothing
        # The file is as long as its header says, so at most MOST_BINARY. If another program shortens it now, reading it
        # raises an error; the mapped file would end the process.
        values = np.load(path, allow_pickle=False) if mapped.dtype.kind in NUMBERS else mapped
    if values.dtype.kind not in NUMBERS:
        raise DataError(f"{path}: has {values.dtype} values, expected numbers", "Write it with numpy.save.")
    return Table({NAMELESS: _rows(path, NAMELESS, values)})


def _read_parquet(path: Path) -> Table:
    check_file(path, MOST_BINARY)
    names, left_out = numeric_columns(path, MOST_NUMBERS)
    rows = read_rows(path, names, MOST_BINARY)
    columns = {name: _rows(path, name, numbers_of(path, rows, name, gaps=True)) for name in names}
    return Table(columns, tuple(left_out))


READERS = {".csv": _read_csv, ".npy": _read_npy, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
TABLES = tuple(READERS)


def _column(path: Path, name: str, values: list[Any]) -> Float64[np.ndarray, "R ..."]:
    """A column from Python's values; null is NaN."""
    try:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    except (ValueError, TypeError) as error:
        said = f"column '{name}'" if name else "a row"
        raise DataError(
            f"{path}: {said} is not a number, or a list of as many numbers, in every row",
            "Correct it, or leave it out.",
        ) from error


def _rows(path: Path, name: str, values: Shaped[np.ndarray, " ..."]) -> Float64[np.ndarray, "R W"]:
    if values.ndim not in (1, 2):
        said = f"column '{name}' has" if name else "has"
        raise DataError(f"{path}: {said} the shape {values.shape}, expected a row of numbers a step", "Reshape it.")
    return (values[:, None] if values.ndim == 1 else values).astype(np.float64, copy=False)
