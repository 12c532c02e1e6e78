"""The HDF5 file of stable-worldmodel, which is also the layout of the published datasets.

Source: HDF5Writer of stable-worldmodel 0.1.1 and of its repository.

Letters: R rows that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from lewm_data.convert.hdf5 import Hdf5, looks_like, source_of
from lewm_data.convert.source import Source
from lewm_data.convert.stable_worldmodel.rows import LENGTHS, OFFSETS, Table, cameras_in, source
from lewm_data.convert.words import some
from lewm_data.errors import DataError
from lewm_data.store.schema import HASHES

BLOCK = 1 << 16  # rows that are in memory at a time where one of each episode is asked for


@dataclass(frozen=True)
class _Column:
    """A column of numbers, which stays in the file: published ones have millions of rows."""

    file: Hdf5
    name: str

    def __len__(self) -> int:
        return len(self.file.dataset(self.name))

    def __getitem__(self, rows: slice | Int[np.ndarray, " R"]) -> Shaped[np.ndarray, "R ..."]:
        if isinstance(rows, slice):
            return self.file.numbers(self.name, rows)
        found = []
        for first in range(0, len(self), BLOCK):
            wanted = rows[(rows >= first) & (rows < first + BLOCK)]
            if len(wanted):
                found.append(self.file.numbers(self.name, slice(first, first + BLOCK))[wanted - first])
        return np.concatenate(found)


def recognises(path: Path) -> bool:
    """Whether this is a file with the lengths of episodes."""
    return looks_like(path, lambda file: file.holds(LENGTHS) and file.holds(OFFSETS))


def opens(path: Path, camera: str | None) -> Source:
    """Opens a file.

    Raises:
        DataError: It is a dataset of lewm already, or damaged.
    """
    return source_of(path, lambda file: _opened(file, camera))


def _opened(file: Hdf5, camera: str | None) -> Source:
    names = file.names()
    if HASHES in names:
        raise DataError(f"{file.path}: is a dataset of lewm already", "Use it as it is: lewm train --data names it.")
    stored = [name for name in names if file.holds(name) and name not in (LENGTHS, OFFSETS)]
    pictured = [name for name in stored if file.is_pictures(name)]
    cameras = cameras_in(pictured)
    numeric = [name for name in stored if name not in pictured and file.is_numeric(name)]
    if not cameras:
        raise DataError(f"{file.path}: has no pictures, only {some(stored)}", "Record it with pictures.")
    table = Table(
        where=str(file.path),
        cameras=cameras,
        columns={name: _Column(file, name) for name in numeric},
        lengths=file.numbers(LENGTHS),
        offsets=file.numbers(OFFSETS),
        others=[name for name in stored if name not in cameras and name not in numeric],
    )
    return source(
        table,
        camera,
        file.picture_size,
        lambda name, _, begin, count: file.pictures(name, slice(begin, begin + count)),
        file.close,
    )
