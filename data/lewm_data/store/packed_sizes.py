"""How many bytes a packed chunk says that it unpacks to: HDF5's plugins take memory for as many, whatever they are.

Source: the filters' own pages: blosc (README_CHUNK_FORMAT), blosc2 (README_CFRAME_FORMAT), the HDF5 filters lz4 and
bitshuffle (a big-endian length first), and RFC 8878, 3.1.1.1 (zstd).
"""

LZ4, BITSHUFFLE, ZSTD = 32004, 32008, 32015  # the filters' numbers in the registry of HDF5
BLOSC, BLOSC2 = 32001, 32026
HEAD = 40  # bytes of a chunk that are looked at
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def stated_size(code: int, values: tuple[int, ...], head: bytes) -> int | None:
    """The bytes that a chunk says it unpacks to; None where it does not say, or the filter makes nothing smaller.

    Args:
        code: The number of the filter.
        values: The filter's parameters.
        head: The first bytes of the chunk.
    """
    if code == BLOSC:
        return int.from_bytes(head[4:8], "little")
    if code == BLOSC2:
        return int.from_bytes(head[30:38], "big")
    if code == LZ4 or (code == BITSHUFFLE and len(values) > 4 and values[4]):
        return int.from_bytes(head[:8], "big")
    if code == ZSTD and head.startswith(ZSTD_MAGIC):
        return _of_zstd(head)
    return None


def most_unpacked(code: int, size: int, sides: int) -> int:
    """The most bytes that a chunk of `size` bytes may unpack to.

    Blosc2 pads each side of an array to a multiple of its block's side, which is at most as long.
    """
    return size << sides if code == BLOSC2 else size


def _of_zstd(head: bytes) -> int | None:
    descriptor = head[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    place = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(head[place : place + width], "little")
    return None if width == 0 else size + 256 if width == 2 else size
