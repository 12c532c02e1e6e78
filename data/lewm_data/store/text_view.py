"""The bytes of an HDF5 file for reading its attributes, checked: damaged attributes could keep HDF5 busy for ever.

Text of any length lies in the collections of the global heap. HDF5 walks through a collection by the sizes that its
objects state; where a size does not lead on, it loops for ever. Here collections are checked before HDF5 gets them.

Source: HDF5 File Format Specification 3.0, III.E.
"""

import io
import os
import struct
from typing import Any

MARK = b"GCOL"  # the first bytes of a collection
HEADER = struct.Struct("<4sB3xQ")  # a collection's header: mark, version, size with this header
OBJECT = struct.Struct("<HH4xQ")  # an object's header: index, count of references, size; index 0 marks the free room


class TextView(io.RawIOBase):
    """The bytes of an open file, for `h5py.File`. Reading a collection that has no end raises an OSError.

    Args:
        handle: A descriptor of the file; its position is not used.
        head: The bytes that are shown in the place of the first bytes.
    """

    def __init__(self, handle: int, head: bytes) -> None:
        self._handle, self._head, self._place = handle, head, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves the position: see `io.IOBase.seek`."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: os.fstat(self._handle).st_size}[whence]
        self._place = begin + offset
        return self._place

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  # any buffer, also h5py's own kind
        """Reads into a buffer: see `io.RawIOBase.readinto`.

        Raises:
            OSError: A damaged collection begins in these bytes.
        """
        first = max(0, self._place - len(MARK) + 1)  # a mark may be read in two pieces
        read = self._at(first, self._place - first + len(buffer) + len(MARK) - 1)
        mark = read.find(MARK)
        while mark >= 0:
            self._check(first + mark)
            mark = read.find(MARK, mark + 1)
        wanted = read[self._place - first :][: len(buffer)]
        memoryview(buffer)[: len(wanted)] = wanted
        self._place += len(wanted)
        return len(wanted)

    def _check(self, place: int) -> None:
        head = self._at(place, HEADER.size)
        _, _, size = HEADER.unpack(head.ljust(HEADER.size, b"\0"))
        block = self._at(place, min(size, os.fstat(self._handle).st_size))
        at = HEADER.size
        while at + OBJECT.size <= len(block):
            index, _, inside = OBJECT.unpack_from(block, at)
            step = OBJECT.size + -(-inside // 8) * 8 if index else inside
            if not 0 < step <= len(block) - at:
                raise OSError(f"the text at byte {place + at} of the file has an impossible size")
            at += step

    def _at(self, place: int, count: int) -> bytes:
        read = os.pread(self._handle, count, place)
        return self._head[place : place + len(read)] + read[max(0, len(self._head) - place) :]
