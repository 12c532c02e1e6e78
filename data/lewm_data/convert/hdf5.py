"""HDF5 files of other projects: what is in them is checked when it is read, because they may hold 100,000 episodes.

Letters: R rows of a dataset, Y and X the sides of a picture.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from jaxtyping import Shaped, UInt8

from lewm_data.convert.source import Source
from lewm_data.errors import DataError
from lewm_data.store.contents import ATTRIBUTE_TEXT, MAX_DEPTH, MAX_OBJECTS, check_storage, memory_limit
from lewm_data.store.opening import COPY_AGAIN, OpenFile, open_file, reading
from lewm_data.store.rows import StoredRows
from lewm_data.store.schema import MAX_FRAME, NUMBERS, is_numbers
from lewm_data.video.pictures import MOST_BYTES, decode_image, displayed_size
from lewm_data.video.video import import_av

if TYPE_CHECKING:
    import av

    Picture = av.VideoFrame | UInt8[np.ndarray, "Y X 3"]

ENDINGS = (".h5", ".hdf5", ".hdf")
READERS = 32  # datasets whose chunks are known at a time: those of one episode, or the columns of all
READ_TOGETHER = 16  # pictures: 14 MB at 640 x 480
UNPACKED = 64 << 20  # bytes of a chunk up to which its pictures are read together, so that it is unpacked once
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG"  # the first bytes of such a picture


@dataclass(frozen=True)
class Hdf5:
    """An open file; `Hdf5.open` makes it. Links are not followed, so that nothing outside the file is read.

    Attributes:
        path: The file.
    """

    path: Path
    _open: OpenFile
    _readers: dict[str, StoredRows] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Hdf5:
        """Opens a file.

        Raises:
            DataError: It is no HDF5 file, damaged, or being written.
        """
        return cls(path, open_file(path))

    def close(self) -> None:
        """Ends all reading."""
        self._open.close()

    def names(self, group: str = "") -> list[str]:
        """The names in a group; none where there is no such group."""
        with reading(self.path):
            found = self._find(group)
            return [name for name in found if isinstance(name, str)] if isinstance(found, h5py.Group) else []

    def holds(self, name: str) -> bool:
        """Whether there is a dataset of this name."""
        with reading(self.path):
            return isinstance(self._find(name), h5py.Dataset)

    def within(self, group: str) -> list[str]:
        """The names of all datasets in a group and the groups in it, as paths from the file's root, in their order.

        Raises:
            DataError: A group lies in two places or in itself, which gives its datasets any number of names; or there
                are too many, or too deep.
        """
        found, waiting = list[str](), [group]
        seen = set[h5py.Group]()
        while waiting:
            where = waiting.pop()
            with reading(self.path):
                item = self._find(where)
            if isinstance(item, h5py.Dataset):
                found.append(where)
            elif isinstance(item, h5py.Group):
                if item in seen:
                    raise DataError(f"{self.path}: has the group '{where[:80]}' in two places", COPY_AGAIN)
                seen.add(item)
                waiting += [f"{where}/{name}" for name in reversed(self.names(where))]
            if len(seen) + len(found) + len(waiting) > MAX_OBJECTS or where.count("/") > MAX_DEPTH:
                most = f"more than {MAX_OBJECTS:,} objects in '{group[:80]}', or groups more than {MAX_DEPTH} deep"
                raise DataError(f"{self.path}: has {most}", COPY_AGAIN)
        return found

    def text(self, name: str, attribute: str) -> str | None:
        """An attribute that is text; None where there is none."""
        with reading(self.path):
            item = self._find(name)
            if item is None or attribute not in item.attrs:
                return None
            stored = item.attrs.get_id(attribute)
            if h5py.check_string_dtype(stored.dtype) is None or stored.shape not in ((), (1,)):
                return None
            value = np.asarray(item.attrs[attribute]).reshape(-1)[0]
            said = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            return said if len(said) <= ATTRIBUTE_TEXT else None

    def dataset(self, name: str) -> h5py.Dataset:
        """A dataset, whose values lie in this file and can be unpacked.

        Raises:
            DataError: There is none.
        """
        with reading(self.path):
            found = self._find(name)
            if not isinstance(found, h5py.Dataset):
                raise DataError(f"{self.path}: has no dataset '{name}'", "Copy or record it again.")
            check_storage(self.path, name, found)
            return found

    def is_numeric(self, name: str) -> bool:
        """Whether a dataset is of numbers, and of no pictures or maps."""
        stored = self.dataset(name)
        return stored.ndim > 0 and is_numbers(stored.dtype, stored.shape[1:])

    def numbers(self, name: str, rows: slice = slice(None)) -> Shaped[np.ndarray, "R ..."]:
        """Rows of a dataset of numbers.

        Raises:
            DataError: It is none, or takes too much memory.
        """
        stored = self.dataset(name)
        if stored.dtype.kind not in NUMBERS or stored.ndim < 1:
            raise DataError(f"{self.path}: '{name}' is {stored.dtype} {stored.shape}, expected numbers", COPY_AGAIN)
        count = len(range(*rows.indices(len(stored))))
        size = count * math.prod(stored.shape[1:]) * stored.dtype.itemsize
        if size > memory_limit():
            raise DataError(
                f"{self.path}: '{name}' takes {size:,} bytes, at most {memory_limit():,} fit here",
                "Convert it on a machine with more memory, or in parts.",
            )
        first, end, _ = rows.indices(len(stored))
        with reading(self.path):
            return self._rows(stored).between(first, end)

    def is_pictures(self, name: str) -> bool:
        """Whether a dataset holds pictures: uint8 (R, Y, X, 3), or a JPEG or PNG a row."""
        stored = self.dataset(name)
        if stored.dtype == np.uint8 and stored.ndim == 4:
            return stored.shape[-1] == 3
        return _is_packed(stored) and len(stored) > 0 and self._packed(stored, 0).startswith((JPEG, PNG))

    def count(self, name: str) -> int:
        """The rows of a dataset."""
        return len(self.dataset(name))

    def pictures(self, name: str, rows: slice = slice(None)) -> Iterator[Picture]:
        """The pictures of some rows, read a few at a time.

        Raises:
            DataError: They are no pictures, or damaged.
        """
        stored = self.dataset(name)
        numbers = range(*rows.indices(len(stored)))
        if _is_packed(stored):
            yield from (decode_image(self._packed(stored, row), self._place(stored, row)) for row in numbers)
            return
        if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[-1] != 3:
            raise DataError(
                f"{self.path}: '{name}' is {stored.dtype} {stored.shape}, expected pictures, uint8 (R, Y, X, 3)",
                "Name another camera with --camera.",
            )
        if math.prod(stored.shape[1:]) > MAX_FRAME:
            raise DataError(
                f"{self.path}: '{name}' has pictures of {stored.shape[2]} x {stored.shape[1]} pixels",
                "Make them smaller.",
            )
        read = self._rows(stored)
        for first in range(numbers.start, numbers.stop, _together(stored)):
            with reading(self.path):
                block = read.between(first, min(first + _together(stored), numbers.stop))
            yield from block

    def picture_size(self, name: str) -> tuple[int, int]:
        """Y and X of the first picture.

        Raises:
            DataError: There is none, or it is damaged.
        """
        for first in self.pictures(name, slice(0, 1)):
            return (first.shape[0], first.shape[1]) if isinstance(first, np.ndarray) else displayed_size(first)
        raise DataError(f"{self.path}: '{name}' has no rows", "Leave this episode out.")

    def _rows(self, stored: h5py.Dataset) -> StoredRows:
        """A reader of a dataset's rows, which refuses chunks that unpack to more than they may hold."""
        if stored.name not in self._readers:
            if len(self._readers) == READERS:
                self._readers.clear()
            size = 0 if self._open.interrupted else os.fstat(self._open.handle).st_size
            with reading(self.path):
                self._readers[stored.name] = StoredRows(self.path, stored, len(stored), self._open.handle, size)
        return self._readers[stored.name]

    def _packed(self, stored: h5py.Dataset, row: int) -> bytes:
        """The bytes of a picture that is stored as a file, without the type that h5py gives them."""
        size = stored.dtype.itemsize * math.prod(stored.shape[1:])  # of any length: 8, for a pointer
        if size <= MOST_BYTES:
            with reading(self.path):
                (value,) = self._rows(stored).between(row, row + 1)
            content = value if isinstance(value, bytes) else np.asarray(value, np.uint8).tobytes()
            size = len(content)
        if size > MOST_BYTES:
            raise DataError(f"{self._place(stored, row)}: is a picture of {size:,} bytes", COPY_AGAIN)
        return content

    def _place(self, stored: h5py.Dataset, row: int) -> str:
        return f"{self.path}: row {row} of '{stored.name[1:]}'"

    def _find(self, name: str) -> h5py.Group | h5py.Dataset | None:
        """What has a name, found step by step: links to elsewhere lead nowhere."""
        item: h5py.Group | h5py.Dataset | None = self._open.file
        for part in filter(None, name.split("/")):
            # h5py's own "in" and "get" would open the file that an external link names, which may be a pipe.
            if not isinstance(item, h5py.Group) or not item.id.links.exists(part.encode()):
                return None
            if item.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
                raise DataError(
                    f"{self.path}: '{name}' is a link, which is not followed", "Copy what it leads to into its place."
                )
            item = item[part]
        return item


def looks_like(path: Path, test: Callable[[Hdf5], bool]) -> bool:
    """Whether a path is an HDF5 file for which `test` is true; raises nothing."""
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    try:
        file = Hdf5.open(path)
    except DataError:
        return False
    try:
        return test(file)
    except DataError:
        return False
    finally:
        file.close()


def source_of(path: Path, opened: Callable[[Hdf5], Source]) -> Source:
    """The source that `opened` makes of an HDF5 file with pictures. The file is closed again where it makes none.

    Raises:
        DataError: It is no HDF5 file, or PyAV is not installed.
    """
    import_av("reading pictures")
    file = Hdf5.open(path)
    try:
        return opened(file)
    except BaseException:
        file.close()
        raise


def numbered(names: list[str], prefix: str) -> list[str]:
    """Those of the names that are a prefix and a number, in the order of the numbers."""
    found = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    return [found[number] for number in sorted(filter(str.isdecimal, found), key=int)]


def _is_packed(stored: h5py.Dataset) -> bool:
    """Whether every row may be the bytes of a file: of one length, padded, or of any length."""
    if h5py.check_vlen_dtype(stored.dtype) == np.uint8 or stored.dtype.kind == "S":
        return stored.ndim == 1
    return stored.dtype == np.uint8 and stored.ndim == 2


def _together(stored: h5py.Dataset) -> int:
    """How many pictures are read at a time; all of a chunk, where it is not too large."""
    chunk = stored.chunks[0] if stored.chunks else 1
    most = max(UNPACKED // max(math.prod(stored.shape[1:]), 1), 1)
    return max(min(math.ceil(READ_TOGETHER / chunk) * chunk, most), 1)
