"""Tables of numbers in text files whose columns are separated by a mark.

Letters: R rows, C columns.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding

MOST_TEXT = 2**26  # bytes of text: 1 M rows of seven numbers, a quarter of an hour at 1000 rows a second
LONGEST_LINE = 2**18  # characters: 10,000 numbers, more than any action has
MARKS = {",": "commas", ";": "semicolons", "\t": "tabs"}
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*")
INDEX = "index"  # the name of a column without a name among named ones: pandas writes the number of a row so
SHOWN = 60  # characters of a line in an error


@dataclass(frozen=True)
class CsvFile:
    """What is in a file.

    Attributes:
        names: The names of the columns, or nothing where the file has none.
        values: The numbers (R, C); NaN where there is none.
        texts: Numbers of the columns that hold text only.
        counted: Whether the file has no names, but its first row counts the columns from 0, as a program's names do.
    """

    names: tuple[str, ...]
    values: Float64[np.ndarray, "R C"]
    texts: tuple[int, ...]
    counted: bool


def read_csv(path: Path) -> CsvFile:
    """Reads a file, one row a line. Columns are separated by comma, semicolon or tab, see `_mark_of`.

    Raises:
        DataError: There is no such file, it is too large, a line has another number of columns than the ones before,
            or a column holds text in some rows and numbers in others; the error names the line.
    """
    check_file(path, MOST_TEXT)
    first, names, texts = list[str](), tuple[str, ...](), dict[int, tuple[int, str, str]]()
    numbers, lines = array("d"), lines_of(path)
    begin = list(itertools.islice(lines, 2))
    delimiter = _mark_of([line for _, line in begin])
    for number, line in itertools.chain(begin, lines):
        try:
            fields = _fields(line, delimiter)
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: is no line of a table", "Correct it.") from error
        if not first:
            first, names = fields, _names_in(path, fields)
            if names:
                continue
        if len(fields) != len(first):
            commas = len(fields) == 2 * len(first) and delimiter == ","
            remedy = "Write decimals with a point: a comma separates columns." if commas else "Correct it."
            raise DataError(f"{path}, line {number}: {len(fields)} columns, expected {len(first)} as before", remedy)
        try:
            numbers.extend([float(field) if field.strip() else np.nan for field in fields])
        except ValueError:
            for at, field in enumerate(fields):
                if field.strip() and not _is_number(field):
                    texts.setdefault(at, (number, field, line.rstrip()))
            numbers.extend([float(field) if _is_number(field) else np.nan for field in fields])
    values = np.array(numbers).reshape(-1, len(first) or 1)
    _check_texts(path, values, texts, delimiter)
    return CsvFile(names, values, tuple(sorted(texts)), not names and bool(first) and _counts(first))


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers from 1.

    Raises:
        DataError: It is no text, or a line is too long.
    """
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


def _mark_of(lines: list[str]) -> str:
    """The mark that separates columns, from the first two lines.

    It gives both as many columns; of several such marks, the one with the most numbers in the second. Without one, it
    is a tab or semicolon where the first line has any.
    """
    fitting = dict[str, int]()
    for mark in "\t;,":
        with contextlib.suppress(csv.Error):  # a field is too long: this is not the mark
            columns = [_fields(line, mark) for line in lines]
            if len(columns) == 2 and len(columns[0]) == len(columns[1]) > 1:
                fitting[mark] = sum(_is_number(field) or bool(DECIMAL_COMMA.fullmatch(field)) for field in columns[1])
    usual = next((mark for mark in "\t;" if mark in "".join(lines[:1])), ",")
    return max(fitting, key=fitting.__getitem__, default=usual)


def _fields(line: str, mark: str) -> list[str]:
    """What a line has in its columns."""
    return next(csv.reader([line.strip("\r\n")], delimiter=mark))


def _names_in(path: Path, fields: list[str]) -> tuple[str, ...]:
    """The names of the columns in the first line; none where it holds numbers."""
    unnamed_index = len(fields) > 1 and not fields[0].strip() and _counts(fields[1:])
    if any(map(_is_number, fields)) and not unnamed_index:
        return ()
    names = tuple(field.strip() or INDEX for field in fields)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called '{twice[0]}'", "Give each column a name of its own.")
    return names


def _counts(fields: list[str]) -> bool:
    """Whether fields are the whole numbers from 0 on."""
    return [field.strip() for field in fields] == [str(at) for at in range(len(fields))]


def _check_texts(
    path: Path, values: Float64[np.ndarray, "R C"], texts: dict[int, tuple[int, str, str]], delimiter: str
) -> None:
    """Raises where what is no number may have been meant as one, or there is nothing else."""
    for at, (number, field, line) in texts.items():
        where, found = f"{path}, line {number}", f"found {line[:SHOWN]!r}"
        if DECIMAL_COMMA.fullmatch(field):
            raise DataError(
                f"{where}: expected numbers with a decimal point, {found}",
                "Write decimals with a point; or leave the column out, if it holds something else.",
            )
        for mark in (*MARKS, " ") if len(texts) == values.shape[1] else ():  # others may hold dates
            parts = field.split(None if mark == " " else mark)
            if len(parts) > 1 and all(map(_is_number, parts)):
                said = f"columns seem to be separated by {MARKS.get(mark, 'spaces')}, expected {MARKS[delimiter]}"
                raise DataError(
                    f"{where}: {said}, {found}",
                    "Separate columns by commas, semicolons or tabs, the same ones in all lines from the first on.",
                )
        if not np.isnan(values[:, at]).all():
            names = "Correct it." if number > 1 else "Give every column a name, none of them a number; or correct it."
            raise DataError(f"{where}: expected numbers, {found}", names)
    if len(texts) == values.shape[1]:
        number, _, line = texts[0]
        raise DataError(f"{path}, line {number}: expected numbers, found {line[:SHOWN]!r}", "Correct it.")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
