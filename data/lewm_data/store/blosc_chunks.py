"""Chunks that the filters blosc and blosc2 of HDF5 wrote, unpacked with the package blosc2.

A chunk of blosc2 is a frame: a header, one packed chunk, and an index of it. The packed chunk holds the array in
blocks. The plugin of HDF5 takes most of its time for shuffling bytes one by one, to where they are already: a shuffle
of numbers of one byte changes nothing. So it is left out here.

Source: C-Blosc2, README_CHUNK_FORMAT, README_CFRAME_FORMAT and README_B2ND_METALAYER; C-Blosc, README_CHUNK_FORMAT.
"""

import functools
import itertools
import math
import struct
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

BLOSC, BLOSC2 = 32001, 32026  # the filters' numbers in the registry of HDF5
HEAD, LONG_HEAD = 16, 32  # bytes of a chunk's header, and of one that lists its filters
SHUFFLE, LISTED = 0x01, 0x05  # flags: the bytes are shuffled; the header is long, which sets that flag too
KNOWN_FILTERS = {0, 1, 2}  # none, shuffle, bitshuffle
KNOWN_CODECS = {0, 1, 3, 4}  # blosclz, lz4, zlib, zstd
ELSEWHERE = 0x68  # flags of the last byte of a long header: the data lie in another file, or are one value, or nothing
MAGIC = b"\x9e\xa8b2frame\0\xd2"
NAMED = b"\xa4b2nd\xd2"  # an entry of the frame's header: where it says how the array is cut into blocks

Bytes = UInt8[np.ndarray, " _"]
Unpack = Callable[..., object]


def from_blosc(unpack: Unpack, size: int, packed: Bytes) -> Bytes | None:
    """The bytes of a chunk of blosc; None where HDF5 has to read it."""
    return _unpacked(unpack, packed.tobytes(), size)


def from_blosc2(unpack: Unpack, size: int, shape: tuple[int, ...], packed: Bytes) -> Bytes | None:
    """The bytes of a chunk of blosc2, whose array has this shape; None where HDF5 has to read it."""
    frame = packed.tobytes()
    if not frame.startswith(MAGIC) or len(frame) < LONG_HEAD + HEAD:
        return None
    (begin,) = struct.unpack_from(">i", frame, len(MAGIC))
    (stored,) = struct.unpack_from(">q", frame, 39)
    if not 0 < begin <= len(frame) - HEAD or not 0 < stored <= len(frame) - begin:
        return None  # a chunk of one value has no data
    block = _block(frame[:begin], shape)
    if block is None:
        return None
    inside = math.prod(-(-side // step) * step for side, step in zip(shape, block, strict=True))
    data = _unpacked(unpack, frame[begin : begin + stored], inside)
    if data is None or (inside == size and block[1:] == shape[1:]):
        return data
    whole = np.empty(shape, np.uint8)
    for values, (to, of) in zip(data.reshape(-1, *block), _cuts(shape, block), strict=True):
        whole[to] = values[of]
    return whole.reshape(-1)


@functools.lru_cache(maxsize=16)
def _cuts(shape: tuple[int, ...], block: tuple[int, ...]) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Where each block belongs in the array, and the part of it that lies in the array: the last ones reach beyond."""
    cuts = []
    for corner in itertools.product(*(range(0, side, step) for side, step in zip(shape, block, strict=True))):
        ends = [min(at + step, side) for at, step, side in zip(corner, block, shape, strict=True)]
        to = tuple(slice(at, end) for at, end in zip(corner, ends, strict=True))
        cuts.append((to, tuple(slice(end - at) for at, end in zip(corner, ends, strict=True))))
    return cuts


def _block(head: bytes, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of a block, from the frame's header; None where the header says something else about the array."""
    entry = head.find(NAMED)
    if entry < 0:
        return None
    sides = len(shape)
    form = f">xI3BB{'Bq' * sides}B{'Bi' * sides}B{'Bi' * sides}"  # a byte before each number or list says its type
    (place,) = struct.unpack_from(">i", head, entry + len(NAMED)) if entry + len(NAMED) + 4 <= len(head) else (-1,)
    if not 0 <= place <= len(head) - struct.calcsize(form):
        return None
    _, _, _, ndim, *fields = struct.unpack_from(form, head, place)
    lists = np.array(fields).reshape(3, 1 + 2 * sides)[:, 2::2] if ndim == sides else np.zeros((3, sides))
    array, chunk, block = (tuple(row) for row in lists.astype(int).tolist())
    right = array == chunk == shape and all(1 <= step <= side for step, side in zip(block, shape, strict=True))
    return block if right else None


def _unpacked(unpack: Unpack, chunk: bytes, size: int) -> Bytes | None:
    """A packed chunk that says that it has `size` bytes; None where it says otherwise, or needs what is not here."""
    if len(chunk) < HEAD:
        return None
    _, _, flags, width, says, _, stored = struct.unpack_from("<4B3i", chunk)
    if says != size or not HEAD <= stored <= len(chunk) or flags >> 5 not in KNOWN_CODECS:
        return None
    if width == 1 and flags & LISTED == SHUFFLE:
        chunk = chunk[:2] + bytes([flags & ~SHUFFLE]) + chunk[3:]
    elif flags & LISTED == LISTED:
        if stored < LONG_HEAD or chunk[31] & ELSEWHERE or not set(chunk[16:22]) <= KNOWN_FILTERS or any(chunk[24:30]):
            return None
        if width == 1:
            chunk = chunk[:16] + chunk[16:22].replace(b"\1", b"\0") + chunk[22:]
    data = np.empty(size, np.uint8)
    try:
        unpack(chunk, dst=data, nthreads=1)
    except (RuntimeError, ValueError):
        return None
    return data
