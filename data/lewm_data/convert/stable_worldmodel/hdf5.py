"""The HDF5 file of stable-worldmodel, which is also the layout of the published datasets.

Source: HDF5Writer of stable-worldmodel 0.1.1 and of its repository.
"""

from __future__ import annotations

from pathlib import Path

from lewm_data.convert.hdf5 import Hdf5, looks_like, source_of
from lewm_data.convert.source import Source
from lewm_data.convert.stable_worldmodel.rows import LENGTHS, OFFSETS, Table, cameras_in, source
from lewm_data.convert.words import some
from lewm_data.errors import DataError
from lewm_data.store.schema import HASHES


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
        columns={name: file.numbers(name) for name in numeric},
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
