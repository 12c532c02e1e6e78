"""Checks of an HDF5 file's contents, before any are read: anybody may have made the file.

Links to other files and data in them are refused. There are limits for everything that is read: objects, depth,
attributes, compressed chunks, and the memory that a column takes.
"""

import importlib
import importlib.util
import logging
import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lewm_data.errors import DataError
from lewm_data.machine import physical_memory
from lewm_data.store.schema import NUMBERS
from lewm_data.store.source_names import MOST_SOURCES, SOURCES

logger = logging.getLogger(__name__)

MAX_OBJECTS, MAX_DEPTH = 10_000, 32  # limits of a file; a dataset has a dozen columns, side by side
MAX_ATTRIBUTES, ATTRIBUTE_TEXT, ATTRIBUTE_NUMBERS = 1000, 65_536, 1024  # attributes; characters and numbers of one
FILTERED_CHUNK = 256 << 20  # bytes; a compressed chunk is always unpacked whole
MEMORY_SHARE = 8  # a column that is read whole takes at most this part of the machine's memory, and is copied once
PLUGINS = {  # filters of the package hdf5plugin. Source: the registry of HDF5 filters
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
    32033: "htj2k",
}


def check_contents(path: Path, file: h5py.File) -> None:
    """Raises if anything in the file lies in another file or cannot be read here, even if nobody asks for it.

    Raises:
        DataError: There is an external link, a link that leads nowhere, external storage, a virtual dataset, or a
            compression that is not installed; or the contents exceed the limits above.
    """
    soft: list[str] = []
    groups, waiting, count = {file}, [(file, "", 0)], 0
    while waiting:
        group, prefix, depth = waiting.pop()
        for name in group:
            if isinstance(name, bytes):  # h5py gives bytes for a name that is not UTF-8
                stored = prefix.encode() + name
                raise DataError(
                    f"{path}: the name of '{stored.decode(errors='replace')}' is not UTF-8",
                    f"Delete it: del file[{stored!r}] with h5py.",
                )
            where, count = prefix + name, count + 1
            if count > MAX_OBJECTS or depth > MAX_DEPTH:
                raise DataError(
                    f"{path}: holds more than {MAX_OBJECTS} objects, or groups more than {MAX_DEPTH} deep",
                    "Keep the columns of the dataset in a file of their own.",
                )
            if _is_soft(path, group, name, where):
                soft.append(where)
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset):
                check_storage(path, where, item)
            elif isinstance(item, h5py.Group) and item not in groups:  # a group may hold itself
                groups.add(item)
                waiting.append((item, f"{where}/", depth + 1))
    for where in soft:  # checked last: now no external link is left through which a soft link could lead
        try:
            file[where]
        except (KeyError, RuntimeError) as error:
            raise DataError(
                f"{path}: '{where}' is a link that leads nowhere", f"Delete it: del file['{where}'] with h5py."
            ) from error


def check_storage(path: Path, name: str, item: h5py.Dataset) -> None:
    """Raises unless a dataset's values lie in the file itself and can be unpacked here.

    Raises:
        DataError: It has external storage, is virtual, or its compression is not installed or has too large chunks.
    """
    made = item.id.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL:
        sources = sorted({made.get_virtual_filename(index) for index in range(min(made.get_virtual_count(), 3))})
        raise DataError(
            f"{path}: '{name}' is a virtual dataset: its data lie in {', '.join(sources) or 'no file'}",
            "Only data in the file itself are read: copy them into it.",
        )
    if made.get_external_count():
        raise DataError(
            f"{path}: '{name}' has external storage: its data lie in {os.fsdecode(made.get_external(0)[0])}",
            "Only data in the file itself are read: copy them into it.",
        )
    filters = [made.get_filter(index)[0] for index in range(made.get_nfilters())]
    for code in filters:
        if not h5py.h5z.filter_avail(code) and not _load_plugin(code):
            known = code in PLUGINS
            raise DataError(
                f"{path}: '{name}' is compressed with {PLUGINS.get(code, 'a filter that is not known here')} "
                f"(HDF5 filter {code}), which is not installed",
                "Install it: pip install --upgrade hdf5plugin"
                if known
                else "Install the plugin of HDF5 that it was written with, or compress the file anew with gzip.",
            )
    if filters and item.chunks and math.prod(item.chunks) * item.dtype.itemsize > FILTERED_CHUNK:
        raise DataError(
            f"{path}: '{name}' has compressed chunks of {math.prod(item.chunks) * item.dtype.itemsize} bytes, "
            f"expected at most {FILTERED_CHUNK}",
            f"Write it in smaller chunks, for example {(1, *item.shape[1:])}.",
        )


def attributes_of(path: Path, file: h5py.File) -> dict[str, Any]:
    """The file's attributes that are text or numbers, in Python's own types; other attributes are left out."""
    found: dict[str, Any] = {}
    for name in list(file.attrs)[:MAX_ATTRIBUTES]:
        try:
            value = _plain(file, name)
        except (OSError, RuntimeError, TypeError, ValueError):  # NumPy has no such type
            value = None
        if value is None:
            logger.info("%s: attribute '%s' is not text or a few numbers; it is left out", path, name)
        else:
            found[name] = value
    if not isinstance(found.get("env", ""), str):
        del found["env"]
    return found


def memory_limit() -> int:
    """The most bytes of a column that is read whole."""
    return physical_memory() // MEMORY_SHARE


def _is_soft(path: Path, group: h5py.Group, name: str, where: str) -> bool:
    try:
        link = group.get(name, getlink=True)
    except TypeError:  # a kind of link that h5py does not know
        link = None
    if isinstance(link, h5py.HardLink):
        return False
    if isinstance(link, h5py.SoftLink):
        return True
    target = f" of {link.filename}" if isinstance(link, h5py.ExternalLink) else ""
    raise DataError(
        f"{path}: '{where}' is an external link: its data are those{target}, outside the file",
        "Only data in the file itself are read: copy them into it.",
    )


def _load_plugin(code: int) -> bool:
    """Whether the package of filters is installed and has this filter; importing it registers its filters."""
    if code not in PLUGINS or importlib.util.find_spec("hdf5plugin") is None:
        return False
    importlib.import_module("hdf5plugin")
    return bool(h5py.h5z.filter_avail(code))


def _plain(file: h5py.File, name: str) -> Any:  # noqa: ANN401  # an attribute may be anything
    """An attribute in Python's own type; None if it is neither text nor a few numbers."""
    stored = file.attrs.get_id(name)
    if stored.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return None
    if h5py.check_string_dtype(stored.dtype) is not None:
        if stored.shape not in ((), (1,)) or stored.dtype.itemsize > ATTRIBUTE_TEXT:
            return None
        value = file.attrs[name]
        if stored.shape:  # some programs write every attribute as an array
            (value,) = value
        text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        most = MOST_SOURCES if name == SOURCES else ATTRIBUTE_TEXT
        return text.decode("utf-8", "replace") if len(text) <= most else None
    if stored.dtype.kind in NUMBERS and math.prod(stored.shape) <= ATTRIBUTE_NUMBERS:
        return np.asarray(file.attrs[name]).tolist()
    return None
