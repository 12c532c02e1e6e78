"""Hashes of a dataset's contents, which show whether the contents are damaged or exchanged.

A row has two hashes: one of its frame, one of its other columns. The hash is BLAKE2b, because it is fast on every
processor: SHA-256 is a little faster where the processor has instructions for it, and several times slower elsewhere.

Shape letters: N steps, W bytes of a row.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from lewm_data.store.schema import HASH_BYTES


@dataclass(frozen=True)
class Hashes:
    """The hashes of a dataset's rows.

    Attributes:
        frames: The hash of each row's frame.
        columns: The hash of each row's other columns; None where only the hashes of the frames are known.
        covered: The names of these other columns.
    """

    frames: UInt8[np.ndarray, "N 16"]
    columns: UInt8[np.ndarray, "N 16"] | None
    covered: tuple[str, ...]


def hash_rows(rows: Shaped[np.ndarray, "N ..."]) -> UInt8[np.ndarray, "N 16"]:
    """The hash of each row's bytes; numbers are little-endian."""
    hashes = b"".join(hashlib.blake2b(row, digest_size=HASH_BYTES).digest() for row in as_bytes(rows))
    return np.frombuffer(hashes, np.uint8).reshape(len(rows), HASH_BYTES)


def hash_columns(columns: Mapping[str, Shaped[np.ndarray, "N ..."]]) -> UInt8[np.ndarray, "N 16"]:
    """The hash of each row over all these columns, concatenated in the order of their names."""
    return hash_rows(np.concatenate([as_bytes(columns[name]) for name in sorted(columns)], axis=1))


def as_bytes(values: Shaped[np.ndarray, "N ..."]) -> UInt8[np.ndarray, "N W"]:
    """The bytes of each row; numbers are little-endian."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    width = little.dtype.itemsize * int(np.prod(little.shape[1:]))
    return np.frombuffer(little.data.cast("B") if little.size else b"", np.uint8).reshape(len(values), width)
