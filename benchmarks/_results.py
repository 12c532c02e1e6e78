"""The results of a benchmark in its JSON file: an interrupted one continues, and several processes may share a file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _report import write_report

if sys.platform != "win32":
    import fcntl

Row = dict[str, Any]


class Results:
    """The rows of a JSON file, read and written again as a whole whenever one is added.

    Args:
        path: The file; it need not be there.
        benchmark: Its title.
        alike: What all rows have in common.
        key: What tells the rows apart, and puts them in order.

    Raises:
        SystemExit: The file has rows of other settings.
    """

    def __init__(self, path: Path, benchmark: str, alike: Mapping[str, Any], key: Callable[[Row], Any]) -> None:
        self.path, self.benchmark, self.alike, self.key = path, benchmark, alike, key
        for row in self._read():
            self._check(row)

    def find(self, key: object) -> Row | None:
        """The row with a key."""
        return next((row for row in self._read() if self.key(row) == key), None)

    def put(self, row: Row) -> None:
        """Adds a row, in place of that with the same key."""
        self._check(row)
        with locked(self.path.parent):
            others = [one for one in self._read() if self.key(one) != self.key(row)]
            write_report(self.path, self.benchmark, sorted([*others, row], key=self.key))

    def _read(self) -> list[Row]:
        rows: list[Row] = json.loads(self.path.read_text())["results"] if self.path.exists() else []
        return rows

    def _check(self, row: Row) -> None:
        for name, value in self.alike.items():
            if row[name] != value:
                sys.exit(f"{self.path}: has results with {name} {row[name]}, not {value}. Name another --json.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for the folder, where the system has locks."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
