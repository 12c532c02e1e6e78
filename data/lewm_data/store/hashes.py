"""Hashes of what a dataset holds, by which damaged and exchanged contents are seen.

A row has two: one of its frame, one of its other columns. BLAKE2b, because it is fast on every processor: SHA-256 is a
little faster where the processor has instructions for it, and several times slower where it has none.

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
    """What the rows of a dataset hashed to.

    Attributes:
        frames: For each row that of its frame.
        columns: For each row that of its other columns; None where only those of the frames are known.
        covered: The names of these columns.
    """

    frames: UInt8[np.ndarray, "N 16"]
    columns: UInt8[np.ndarray, "N 16"] | None
    covered: tuple[str, ...]


def hash_rows(rows: Shaped[np.ndarray, "N ..."]) -> UInt8[np.ndarray, "N 16"]:
    """The hash of each row's bytes, numbers as little-endian."""
    hashes = b"".join(hashlib.blake2b(row, digest_size=HASH_BYTES).digest() for row in as_bytes(rows))
    return np.frombuffer(hashes, np.uint8).reshape(len(rows), HASH_BYTES)


def hash_columns(columns: Mapping[str, Shaped[np.ndarray, "N ..."]]) -> UInt8[np.ndarray, "N 16"]:
    """The hash of what each row has in all these columns, one behind the other in the order of their names."""
    return hash_rows(np.concatenate([as_bytes(columns[name]) for name in sorted(columns)], axis=1))


def as_bytes(values: Shaped[np.ndarray, "N ..."]) -> UInt8[np.ndarray, "N W"]:
    """The bytes of each row, numbers as little-endian."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    width = little.dtype.itemsize * int(np.prod(little.shape[1:]))
    return np.frombuffer(little.data.cast("B") if little.size else b"", np.uint8).reshape(len(values), width)
