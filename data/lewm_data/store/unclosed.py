"""The superblock of an HDF5 file, the first bytes: whether its writer closed it, and how it would look if it had.

HDF5 marks a file while it is open for writing, and refuses to open it as long as the mark is there. Its own solution,
reading as if the writer were alive, waits for ever where bytes are damaged. The mark and the end of the file are in the
superblock: `ClosedView` shows HDF5 other bytes in its place.

Source: HDF5 File Format Specification 3.0, II.A.
"""

import struct
from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK = 48  # bytes of version 3, with addresses of 8 bytes
LONGEST = 96  # bytes that hold a superblock of any version
BEING_WRITTEN = 0b101  # the mark of one writer that orders its writes so that others can read (SWMR)


def is_unclosed(path: Path) -> bool:
    """Whether a file is marked as being written by a writer that keeps it readable at every moment."""
    with path.open("rb") as stream:
        head = stream.read(SUPERBLOCK)
    return len(head) == SUPERBLOCK and head[:11] == SIGNATURE + b"\x03\x08\x08" and head[11] == BEING_WRITTEN


def is_marked(head: bytes) -> bool:
    """Whether the first bytes of a file have any mark of a writer."""
    return head[:9] in (SIGNATURE + b"\x02", SIGNATURE + b"\x03") and head[11:12] not in (b"", b"\0")


def as_written(head: bytes, there: int) -> tuple[bytes, int]:
    """The superblock of a file that `is_unclosed`, as if its writer had closed it now, and the size of the file.

    Args:
        head: The first bytes of the file.
        there: The bytes that it has.
    """
    return _closed(head, there), there


def as_long_as_it_says(head: bytes, there: int) -> tuple[bytes, int]:
    """The superblock of a closed file, and the size that the file should have, which it says or has.

    Where sizes are not of 8 bytes, or the version is not 0, 2 or 3, it stays as it is: no bytes are returned.

    Args:
        head: The first `LONGEST` bytes of the file.
        there: The bytes that it has.
    """
    if len(head) < 56 or head[:8] != SIGNATURE:
        return b"", there
    if head[8] in (2, 3) and head[9:11] == b"\x08\x08":
        size = max(int.from_bytes(head[28:36], "little"), there)
        return _closed(head, size), size
    if head[8] == 0 and head[13:15] == b"\x08\x08":
        size = max(int.from_bytes(head[40:48], "little"), there)
        return head[:40] + size.to_bytes(8, "little"), size
    return b"", there


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


def _closed(head: bytes, size: int) -> bytes:
    """A superblock of version 2 or 3 without the mark, for a file of that size."""
    changed = bytearray(head[:SUPERBLOCK])
    changed[11], changed[28:36] = 0, size.to_bytes(8, "little")
    changed[44:48] = checksum(bytes(changed[:44])).to_bytes(4, "little")
    return bytes(changed)


def _word(value: int) -> int:
    return value & 0xFFFFFFFF


def _turned(value: int, bits: int) -> int:
    return _word(value << bits) | value >> (32 - bits)
