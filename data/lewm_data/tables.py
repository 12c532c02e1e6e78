"""Tables of numbers from files: .csv, .npy, .jsonl and .parquet.

Letters: R rows, W numbers of a column in a row.
"""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from lewm_data.errors import DataError, unknown
from lewm_data.foreign import check_file, decoding
from lewm_data.parquet import numbers_of, numeric_columns, read_rows
from lewm_data.store.schema import NUMBERS

NAMELESS = ""  # the name of the one column of a table without names
MOST_TEXT = 2**26  # bytes of text: 1 M rows of seven numbers, a quarter of an hour at 1000 rows a second
LONGEST_LINE = 2**18  # characters: 10,000 numbers, more than any action has
MOST_BINARY = 2**28  # bytes: 4 M rows of seven float64, an hour at 1000 rows a second

Table = dict[str, Float64[np.ndarray, "R W"]]


def read_table(path: Path) -> Table:
    """Reads a table, one row a line.

    Args:
        path: A .csv file, with columns separated by comma, semicolon or tab, with or without a line of names; a .npy
            file; a .jsonl file, with an object or a list of numbers a line; or a .parquet file, whose columns are
            numbers or lists of one length.

    Returns:
        The columns by name; under `NAMELESS` where the file has no names. Columns of a .parquet file that hold no
        numbers are left out.

    Raises:
        DataError: There is no such file, it is of another kind or too large, has no rows, or holds something other
            than numbers; the error names the line.
    """
    ending = path.suffix.lower()
    if ending not in READERS:
        raise unknown("ending of a file of numbers", ending, READERS)
    table = READERS[ending](path)
    if not table or not len(next(iter(table.values()))):
        raise DataError(f"{path}: has no rows of numbers", "Give a row a step.")
    return table


def _read_csv(path: Path) -> Table:
    check_file(path, MOST_TEXT)
    numbers, names, delimiter, columns = array("d"), [NAMELESS], "", 0
    for number, line in _lines(path):
        first = not delimiter
        delimiter = delimiter or next((mark for mark in "\t;" if mark in line), ",")
        try:
            fields = next(csv.reader([line.strip("\r\n")], delimiter=delimiter))
            if first and not any(_is_number(field) for field in fields):
                names = [field.strip() for field in fields]
                columns = _checked_names(path, names)
                continue
            row = [float(field) if field.strip() else np.nan for field in fields]
        except (ValueError, csv.Error) as error:
            found = f"expected numbers, found {line.rstrip()[:60]!r}"
            raise DataError(f"{path}, line {number}: {found}", "Correct it.") from error
        columns = columns or len(row)
        if len(row) != columns:
            found = f"{len(row)} columns, expected {columns} as before"
            raise DataError(f"{path}, line {number}: {found}", "Correct it.")
        numbers.extend(row)
    values = np.array(numbers).reshape(-1, columns or 1)
    if names == [NAMELESS]:
        return {NAMELESS: values}
    return {name: values[:, i : i + 1] for i, name in enumerate(names)}


def _read_jsonl(path: Path) -> Table:
    check_file(path, MOST_TEXT)
    columns: dict[str, list[Any]] = {}
    for number, line in _lines(path):
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
    return {name: _column(path, name, values) for name, values in columns.items()}


def _read_npy(path: Path) -> Table:
    check_file(path, MOST_BINARY)
    with decoding(path, "is no .npy file of numbers, or not all of one", "Write it with numpy.save."):
        mapped = np.lib.format.open_memmap(path, mode="r")  # runs no pickle, and allocates nothing
        # The file is as long as its header says, so at most MOST_BINARY. If another program shortens it now, reading it
        # raises an error; the mapped file would end the process.
        values = np.load(path, allow_pickle=False) if mapped.dtype.kind in NUMBERS else mapped
    if values.dtype.kind not in NUMBERS:
        raise DataError(f"{path}: has {values.dtype} values, expected numbers", "Write it with numpy.save.")
    return {NAMELESS: _rows(path, NAMELESS, values)}


def _read_parquet(path: Path) -> Table:
    check_file(path, MOST_BINARY)
    names = numeric_columns(path)
    rows = read_rows(path, names, MOST_BINARY)
    return {name: _rows(path, name, numbers_of(path, rows, name, gaps=True)) for name in names}


READERS = {".csv": _read_csv, ".npy": _read_npy, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
TABLES = tuple(READERS)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    with (
        decoding(path, "is not text", "Write a line a step."),
        path.open(encoding="utf-8-sig") as file,
    ):
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                found = f"more than {LONGEST_LINE:,} characters"
                raise DataError(f"{path}, line {number}: {found}", "Give a step a line of its own.")
            if line.strip():
                yield number, line


def _column(path: Path, name: str, values: list[Any]) -> Float64[np.ndarray, "R W"]:
    """A column from Python's values; null is NaN."""
    try:
        found = np.array([np.nan if value is None else value for value in values], np.float64)
    except (ValueError, TypeError) as error:
        said = f"column '{name}'" if name else "a row"
        raise DataError(
            f"{path}: {said} is not a number, or a list of as many numbers, in every row",
            "Correct it, or leave it out.",
        ) from error
    return _rows(path, name, found)


def _rows(path: Path, name: str, values: Shaped[np.ndarray, " ..."]) -> Float64[np.ndarray, "R W"]:
    if values.ndim not in (1, 2):
        said = f"column '{name}' has" if name else "has"
        raise DataError(f"{path}: {said} the shape {values.shape}, expected a row of numbers a step", "Reshape it.")
    return (values[:, None] if values.ndim == 1 else values).astype(np.float64, copy=False)


def _checked_names(path: Path, names: list[str]) -> int:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called '{twice[0]}'", "Give each column a name of its own.")
    return len(names)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
