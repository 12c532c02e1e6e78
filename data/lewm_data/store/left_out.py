"""Episodes of a source that `lewm data convert` could not read, kept in the dataset that it made of the others.

They are rows of text in the file: what a killed conversion left out is then known to the one that goes on, and whether
a dataset is complete, wherever it is copied to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import h5py

CONVERSION = "conversion"  # the attribute in which lewm data convert keeps its settings
LEFT_OUT = "left_out"  # the rows, in files that have that attribute: JSON of the three things below
ROW_BYTES = 1024
CHUNK_ROWS = 16
MOST_ROWS = 1 << 16  # that are read
NAME = 100  # characters, of which each takes 6 bytes at most


@dataclass(frozen=True)
class LeftOut:
    """An episode that was left out.

    Attributes:
        number: Its number in the source.
        name: What the source calls it.
        problem: Why it could not be read.
    """

    number: int
    name: str
    problem: str

    def packed(self) -> bytes:
        """The row of a file; what is too long is cut."""
        problem = self.problem
        while len(row := json.dumps([self.number, self.name[:NAME], problem]).encode()) > ROW_BYTES:
            problem = problem[: -max(1, (len(row) - ROW_BYTES) // 6)]
        return row


def add_to(file: h5py.File) -> None:
    """Adds the place for such rows to a new file."""
    file.create_dataset(LEFT_OUT, (0,), f"S{ROW_BYTES}", maxshape=(None,), chunks=(CHUNK_ROWS,))


def read_left_out(file: h5py.File) -> tuple[LeftOut, ...]:
    """What was left out, in the order of the source; nothing where a file does not say it in this form."""
    item = file.get(LEFT_OUT)
    if not isinstance(item, h5py.Dataset) or item.ndim != 1 or item.dtype.kind != "S":
        return ()
    if item.dtype.itemsize > ROW_BYTES:
        return ()
    found = [one for row in item[:MOST_ROWS].tolist() if (one := _unpacked(row)) is not None]
    return tuple(sorted(found, key=lambda one: one.number))


def _unpacked(row: bytes) -> LeftOut | None:
    try:
        number, name, problem = json.loads(row)
    except (ValueError, TypeError, RecursionError):  # a row that a killed writer made room for is empty
        return None
    right = type(number) is int and isinstance(name, str) and isinstance(problem, str)
    return LeftOut(number, name, problem) if right else None
