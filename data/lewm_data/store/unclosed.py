"""HDF5 files whose writer was killed, read as if the writer had closed them.

HDF5 marks a file while it is open for writing, and refuses to open it as long as the mark is there. Its own solution,
reading as if the writer were alive, waits for ever where bytes are damaged. The mark and the end of the file are in the
superblock, the first 48 bytes: here HDF5 sees other bytes in their place.

Source: HDF5 File Format Specification 3.0, II.A (superblock version 3).
"""

import io
import os
import struct
from pathlib import Path
from typing import Any

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK = 48  # bytes, with addresses of 8 bytes
BEING_WRITTEN = 0b101  # the mark of one writer that orders its writes so that others can read (SWMR)


def is_unclosed(path: Path) -> bool:
    """Whether a file is marked as being written by a writer that keeps it readable at every moment."""
    with path.open("rb") as stream:
        head = stream.read(SUPERBLOCK)
    return len(head) == SUPERBLOCK and head[:11] == SIGNATURE + b"\x03\x08\x08" and head[11] == BEING_WRITTEN


class ClosedView(io.RawIOBase):
    """The bytes of an unclosed file with the superblock of a closed one, for `h5py.File`.

    Attributes:
        head: The superblock of a closed file.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb", buffering=0)
        head = bytearray(self._stream.read(SUPERBLOCK))
        head[11] = 0
        head[28:36] = os.fstat(self._stream.fileno()).st_size.to_bytes(8, "little")
        head[44:48] = checksum(bytes(head[:44])).to_bytes(4, "little")
        self.head = bytes(head)

    def fileno(self) -> int:
        """The file's descriptor; reads through it see the file's own superblock."""
        return self._stream.fileno()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves the position: see `io.IOBase.seek`."""
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  # any buffer, also h5py's own kind
        """Reads into a buffer: see `io.RawIOBase.readinto`."""
        place = self._stream.tell()
        count = self._stream.readinto(buffer) or 0
        shown = self.head[place : place + count]
        memoryview(buffer)[: len(shown)] = shown
        return count

    def close(self) -> None:
        """Closes the file: see `io.IOBase.close`."""
        self._stream.close()
        super().close()


def checksum(data: bytes) -> int:
    """Bob Jenkins' lookup3 of at least one byte, with which HDF5 guards its structures.

    Source: Bob Jenkins, lookup3.c (2006), `hashlittle` with initial value 0.
    """
    a = b = c = _word(0xDEADBEEF + len(data))
    padded = data.ljust(-(-len(data) // 12) * 12, b"\0")
    for place in range(0, len(padded), 12):
        one, two, three = struct.unpack_from("<3I", padded, place)
        a, b, c = _word(a + one), _word(b + two), _word(c + three)
        if place + 12 < len(padded):
            for bits in (4, 6, 8, 16, 19, 4):
                a, b, c = b, _word(c + b), _word(a - c) ^ _turned(c, bits)
    for bits in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, _word((c ^ b) - _turned(b, bits)), a
    return b


def _word(value: int) -> int:
    return value & 0xFFFFFFFF


def _turned(value: int, bits: int) -> int:
    return _word(value << bits) | value >> (32 - bits)
