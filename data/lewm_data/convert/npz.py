"""Arrays in .npz files of other people's: no pickle is run, and no more is unpacked than is asked for.

Letters: N rows of an array.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding
from lewm_data.store.contents import memory_limit
from lewm_data.store.schema import NUMBERS, is_numbers

DAMAGED, AGAIN = "is no .npz file that can be read, or not all of one", "Copy or download it again."


def names_in(path: Path) -> list[str]:
    """The names of the arrays in an .npz file; none where it is no such file."""
    try:
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return []


class NpzArray:
    """An array in an .npz file, whose rows are read from the first one on.

    Attributes:
        shape: Its shape.
        dtype: Its type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    def __init__(self, path: Path, name: str) -> None:
        check_file(path)
        self._path, self._name = path, name
        self._stream: IO[bytes] | None = None
        self._row = 0
        with contextlib.closing(self):
            by_columns = self._begin()
        if (by_columns and len(self.shape) > 1) or any(side < 0 for side in self.shape):
            raise DataError(f"{self._path}: '{self._name}' is not stored row by row", "Write it with numpy.savez.")

    @property
    def is_numeric(self) -> bool:
        """Whether it has rows of numbers, and of no pictures or maps."""
        return len(self.shape) > 0 and is_numbers(self.dtype, self.shape[1:])

    def rows(self, first: int, count: int) -> Iterator[Shaped[np.ndarray, " ..."]]:
        """Rows from `first` on, one at a time.

        Raises:
            DataError: They are no numbers, or the file is damaged or ends before them.
        """
        self._check()
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        if self._stream is None or first < self._row:
            self._begin()
        for row in range(self._row, first + count):
            content = self._take(size)
            self._row = row + 1
            if row >= first:
                yield np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def whole(self) -> Shaped[np.ndarray, "N ..."]:
        """All rows.

        Raises:
            DataError: They are no numbers or take too much memory, or the file is damaged.
        """
        self._check()
        size = self.dtype.itemsize * math.prod(self.shape)
        if size > memory_limit():
            raise DataError(
                f"{self._path}: '{self._name}' takes {size:,} bytes, at most {memory_limit():,} fit here",
                "Convert it on a machine with more memory.",
            )
        with contextlib.closing(self):
            self._begin()
            return np.frombuffer(self._take(size), self.dtype).reshape(self.shape)

    def close(self) -> None:
        """Ends all reading."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _check(self) -> None:
        if self.dtype.kind not in NUMBERS or not self.shape:
            raise DataError(
                f"{self._path}: '{self._name}' is {self.dtype} {self.shape}, expected rows of numbers", AGAIN
            )

    def _take(self, size: int) -> bytes:
        assert self._stream is not None
        with decoding(self._path, DAMAGED, AGAIN):
            content = self._stream.read(size)
        if len(content) < size:
            raise DataError(f"{self._path}: '{self._name}' ends too early", AGAIN)
        return content

    def _begin(self) -> bool:
        """Opens the array at its first row, and tells whether it is stored column by column."""
        self.close()
        self._row = 0
        with decoding(self._path, DAMAGED, AGAIN), zipfile.ZipFile(self._path) as archive:
            self._stream = archive.open(f"{self._name}.npy")
            version = np.lib.format.read_magic(self._stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, by_columns, self.dtype = read(self._stream)
            return by_columns
