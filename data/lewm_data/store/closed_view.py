"""HDF5 files whose writer was killed, or that were cut short, read as if they had been closed whole."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lewm_data.store.unclosed import LONGEST, is_marked


class ClosedView(io.RawIOBase):
    """The bytes of a file with another superblock, and zeros for those that are missing at its end, for `h5py.File`.

    Args:
        path: The file.
        closed: Makes the superblock that is shown, and the size of the file that is shown, from the file's first bytes
            and its size.

    Attributes:
        head: The superblock that is shown.
        there: Bytes that the file had when it was opened.
        marked: Whether the file's own superblock has the mark of a writer.
    """

    def __init__(self, path: Path, closed: Callable[[bytes, int], tuple[bytes, int]]) -> None:
        self._stream = path.open("rb", buffering=0)
        self._place = 0
        self.there = os.fstat(self._stream.fileno()).st_size
        own = self._stream.read(LONGEST)
        self.marked = is_marked(own)
        self.head, self._size = closed(own, self.there)

    @property
    def is_cut(self) -> bool:
        """Whether the file should be longer than it is."""
        return self._size > self.there

    def fileno(self) -> int:
        """The file's descriptor; reads through it see the file's own bytes."""
        return self._stream.fileno()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves the position: see `io.IOBase.seek`."""
        begins = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}
        self._place = begins[whence] + offset
        return self._place

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  # any buffer, also h5py's own kind
        """Reads into a buffer: see `io.RawIOBase.readinto`. Bytes that another program cuts meanwhile are missing."""
        view = memoryview(buffer)[: max(self._size - self._place, 0)]
        self._stream.seek(self._place)
        count = self._stream.readinto(view) or 0
        if self._place + count >= self.there:
            view[count:] = bytes(len(view) - count)
            count = len(view)
        shown = self.head[self._place : self._place + count]
        view[: len(shown)] = shown
        self._place += count
        return count

    def close(self) -> None:
        """Closes the file: see `io.IOBase.close`."""
        self._stream.close()
        super().close()
