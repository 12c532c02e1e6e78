"""Filters of HDF5 that are undone here, without HDF5 and so in threads: gzip, shuffle, fletcher32, blosc, blosc2.

HDF5 reads one chunk at a time, whatever the number of threads. zlib-ng, where it is installed, is several times as fast
as the zlib of HDF5 and Python.
"""

import importlib
import importlib.util
import zlib
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import h5py
import numpy as np
from jaxtyping import UInt8

from lewm_data.store.blosc_chunks import BLOSC, BLOSC2, from_blosc, from_blosc2

Bytes = UInt8[np.ndarray, " _"]
Step = Callable[[Bytes], Bytes | None]

CHECKSUM = 4  # bytes after the data where the filter fletcher32 is used
PARTS = 1 << 15  # words of a part of a checksum's sum: their sums fit 64 bits


class Damaged(Exception):  # noqa: N818  # becomes a DataError where the file is known
    """A chunk is not what its filters wrote. The message says what is wrong with it."""


class Unpacking:
    """The filters of a column of bytes, undone one after the other. `unpacking_of` makes it."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def __call__(self, packed: Bytes, skipped: int) -> Bytes | None:
        """The bytes of a chunk; None where HDF5 has to unpack it.

        Args:
            packed: The chunk as stored.
            skipped: The filters that were not applied to it: a bit for each, the first filter's lowest.

        Raises:
            Damaged: It cannot be unpacked, or to another size than it must have.
        """
        data: Bytes | None = packed
        for number in reversed(range(len(self._steps))):
            if data is not None and not skipped >> number & 1:
                data = self._steps[number](data)
        return data


def unpacking_of(pixels: h5py.Dataset) -> Unpacking | None:
    """How to unpack the chunks of a column of bytes; None where a filter, or its use, is left to HDF5."""
    made = pixels.id.get_create_plist()
    shape, size = pixels.chunks, int(np.prod(pixels.chunks, dtype=object))
    steps: list[Step] = []
    known = True  # whether the size is known that the filters before this one give
    for code, _, values, _ in map(made.get_filter, range(made.get_nfilters())):
        step: Step | None = None
        if code == h5py.h5z.FILTER_SHUFFLE and values[:1] == (1,):
            step = _same  # of numbers of one byte each
        elif code == h5py.h5z.FILTER_FLETCHER32:
            step, size = _without_checksum, size + CHECKSUM
        elif not known:
            return None
        elif code == h5py.h5z.FILTER_DEFLATE:
            step, known = partial(_inflated, _zlib(), size), False
        elif code in (BLOSC, BLOSC2) and importlib.util.find_spec("blosc2") is not None:
            package = importlib.import_module("blosc2")
            package.set_releasegil(True)  # other threads may unpack meanwhile
            unpack = package.decompress2
            step = partial(from_blosc, unpack, size) if code == BLOSC else partial(from_blosc2, unpack, size, shape)
            known = False
        if step is None:
            return None
        steps.append(step)
    return Unpacking(steps)


def _same(data: Bytes) -> Bytes:
    return data


def _zlib() -> ModuleType:
    return zlib if importlib.util.find_spec("zlib_ng") is None else importlib.import_module("zlib_ng.zlib_ng")


def _inflated(library: Any, size: int, packed: Bytes) -> Bytes:  # noqa: ANN401  # a module
    """What deflate made smaller; never more than `size` bytes and one are unpacked."""
    stream = library.decompressobj()
    try:
        data = stream.decompress(packed, size + 1)
    except library.error as error:
        raise Damaged(f"cannot be unpacked: {error}") from error
    if len(data) > size:
        raise Damaged(f"holds more than its {size} bytes")
    if len(data) < size or not stream.eof:
        raise Damaged(f"ends after {len(data)} of its {size} bytes")
    return np.frombuffer(data, np.uint8)


def _without_checksum(data: Bytes) -> Bytes:
    """The data before a checksum that is right.

    HDF5 also accepts a checksum with the two bytes of each half exchanged, which its old versions wrote.
    """
    if len(data) <= CHECKSUM:
        raise Damaged("is empty")
    data, stored = data[:-CHECKSUM], int.from_bytes(data[-CHECKSUM:].tobytes(), "little")
    found = fletcher32(data)
    if stored not in (found, (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8):
        raise Damaged("differs from its checksum")
    return data


def fletcher32(data: Bytes) -> int:
    """The checksum of the filter fletcher32: two sums of big-endian words modulo 65535, where 0 is written as 65535.

    Source: HDF5 File Format Specification, fletcher32; the second is the sum of all values that the first one takes.
    """
    words = np.append(data, np.zeros(len(data) % 2, np.uint8)).view(">u2").astype(np.int64)
    first = second = 0
    for begin in range(0, len(words), PARTS):
        part = words[begin : begin + PARTS]
        second += first * len(part) + int(part @ np.arange(len(part), 0, -1))
        first += int(part.sum())
    return _ones_complement(second) << 16 | _ones_complement(first)


def _ones_complement(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0
