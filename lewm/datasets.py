"""Tells which data a dataset holds, without reading gigabytes each time."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from lewm.checkpoints.identity import DatasetIdentity
from lewm.dataset_checks import detail_of, recorded_in, said_name
from lewm.files import caching, home, replacing
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import HASH_BYTES

log = logging.getLogger(__name__)

LONG = 1 << 30  # bytes of frames; to hash them takes longer than a second, and from a disk a minute
DIGEST = 32  # bytes of a SHA-256


def identity_of(dataset: Dataset, env: str) -> DatasetIdentity:
    """What a run states of its data.

    Args:
        dataset: The data.
        env: The world that they are of.

    Raises:
        DataError: See `fingerprint_of`.
        LewmError: The world is not drawn in the detail that the data state.
    """
    return DatasetIdentity(
        path=str(dataset.path.resolve()),
        fingerprint=fingerprint_of(dataset),
        frame_size=dataset.frame_size,
        episodes=dataset.num_episodes,
        env=said_name(dataset),
        detail=detail_of(dataset, env),
        recorded=recorded_in(dataset),
    )


def fingerprint_of(dataset: Dataset) -> str:
    """`Dataset.fingerprint`, after a sample of the rows has shown that they are what was written.

    Where the file has no hashes, all its frames are read once. Their hashes are then kept in `$LEWM_HOME/cache/hashes`
    as long as the file has the same path, size, time and inode.

    Raises:
        DataError: A row differs from its hash, or cannot be read.
    """
    if not dataset.has_hashes:
        _know_frames(dataset)
    dataset.check_sample()
    return dataset.fingerprint()


def _know_frames(dataset: Dataset) -> None:
    place = dataset.path.resolve()
    at = place.stat()
    key = f"{place}\n{at.st_size} {at.st_mtime_ns} {at.st_ino} {dataset.num_steps}".encode("utf-8", "surrogateescape")
    cached = home() / "cache" / "hashes" / hashlib.sha256(str(place).encode("utf-8", "surrogateescape")).hexdigest()
    hashes = _read(cached, key)
    if hashes is not None and len(hashes) == dataset.num_steps * HASH_BYTES:
        dataset.know_frames(np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES))
        return
    size = dataset.num_steps * dataset.frame_size[0] * dataset.frame_size[1] * 3
    if size > LONG:
        log.warning("%s has no hashes: all its %.1f GiB of frames are read once", dataset.path, size / (1 << 30))
    content = dataset.frame_hashes().tobytes()
    with caching(cached), replacing(cached) as temporary:
        temporary.write_bytes(hashlib.sha256(key + content).digest() + content)


def _read(cached: Path, key: bytes) -> bytes | None:
    """The hashes that were kept for `key`; None where there are none, or they are damaged."""
    try:
        content = cached.read_bytes()
    except OSError:
        return None
    hashes = content[DIGEST:]
    return hashes if hashlib.sha256(key + hashes).digest() == content[:DIGEST] else None
