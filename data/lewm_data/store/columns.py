"""The columns of an open dataset other than its frames: small ones stay in memory, larger ones are read row by row.

Shape letters: N steps of all episodes, B rows that are asked for.
"""

import threading
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from lewm_data.store.opening import OpenFile, reading
from lewm_data.store.rows import StoredRows

KEPT_BYTES = 64 << 20  # the largest column that stays in memory after it was read


class Columns:
    """Reads columns of one file, from several threads if need be.

    Args:
        path: The file.
        opened: The open file.
        count: N.
        size: Least size of the file in bytes; 0 where its writer has not closed it.
        lock: Held by whoever reads the file through HDF5, or closes it.
    """

    def __init__(self, path: Path, opened: OpenFile, count: int, size: int, lock: threading.Lock) -> None:
        self._path, self._opened, self._count, self._size, self._lock = path, opened, count, size, lock
        self._kept: dict[str, np.ndarray] = {}
        self._readers: dict[str, StoredRows] = {}

    def read(self, name: str, rows: Int[np.ndarray, "B"] | None = None) -> Shaped[np.ndarray, "B ..."]:
        """A copy of a column, or of these rows of it. Small columns are read only once.

        Raises:
            DataError: The column has rows that were never written, is damaged, or is larger than a column may be.
        """
        with self._lock, reading(self._path):
            if name not in self._kept:
                reader = self._reader(name)
                if reader.nbytes > KEPT_BYTES:
                    return reader.whole() if rows is None else reader.read(rows)
                self._kept[name] = reader.whole()
            return self._kept[name].copy() if rows is None else self._kept[name][rows]

    def forget_file(self) -> None:
        """Lets go of the file, which is about to be closed. The lock is held by the caller."""
        self._readers.clear()

    def _reader(self, name: str) -> StoredRows:
        if name not in self._readers:
            item = self._opened.file[name]
            self._readers[name] = StoredRows(self._path, item, self._count, self._opened.handle, self._size)
        return self._readers[name]
