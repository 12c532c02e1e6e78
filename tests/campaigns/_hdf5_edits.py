"""Mutations of a dataset by the HDF5 library itself: types, shapes, links, filters and attributes that no writer of
this project makes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import h5py
import numpy as np

NAMES = ("pixels", "action", "state", "reward", "ep_len", "ep_offset", "row_hash")
TYPES = ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8", ">f4", "c8", "S5", "?", "V3")
SIZES = (0, 1, 2, 3, 27, 28, 2**20, 2**31, 2**40)
NUMBERS = (np.nan, np.inf, -np.inf, -1, 0, 1e300, 2**31, 2**62, -(2**62))

Edit = Callable[[h5py.File, Random], None]


def edit(path: Path, rng: Random) -> None:
    """One to three edits of a file."""
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            with contextlib.suppress(
                OSError, ValueError, TypeError, KeyError, RuntimeError
            ):  # HDF5 refuses some itself
                rng.choice(EDITS)(file, rng)


def _name(file: h5py.File, rng: Random) -> str:
    there = [name for name in NAMES if isinstance(file.get(name), h5py.Dataset)]
    return rng.choice(there or ["pixels"])


def _replace(file: h5py.File, name: str) -> None:
    if name in file:
        del file[name]


def _retype(file: h5py.File, rng: Random) -> None:
    name = _name(file, rng)
    shape = file[name].shape if name in file else (27,)
    _replace(file, name)
    file.create_dataset(name, shape, dtype=rng.choice(TYPES))


def _special_type(file: h5py.File, rng: Random) -> None:
    name = _name(file, rng)
    kinds = (
        h5py.string_dtype(),
        h5py.vlen_dtype(np.uint8),
        h5py.enum_dtype({"A": 0, "B": 1}),
        h5py.ref_dtype,
        np.dtype([("a", "f4"), ("b", "i8")]),
        np.dtype(("f4", (3,))),
    )
    _replace(file, name)
    file.create_dataset(name, (27,), dtype=rng.choice(kinds))


def _reshape(file: h5py.File, rng: Random) -> None:
    """Add a column whose shape may be far larger than the file: nothing of it is stored."""
    name = _name(file, rng)
    shape = tuple(rng.choice(SIZES) for _ in range(rng.randrange(6)))
    kind = file[name].dtype if name in file else np.dtype("u1")
    _replace(file, name)
    chunks = tuple(min(max(1, size), 16) for size in shape) or None
    file.create_dataset(name, shape, dtype=kind, chunks=chunks)


def _longer(file: h5py.File, rng: Random) -> None:
    """Rows that are not stored."""
    name = _name(file, rng)
    if name in file and file[name].chunks and file[name].ndim:
        file[name].resize(rng.choice(SIZES), axis=0)


def _values(file: h5py.File, rng: Random) -> None:
    name = _name(file, rng)
    item = file.get(name)
    if item is not None and item.size and item.size < 1 << 20 and item.dtype.kind in "iuf":
        values = item[()]
        number = rng.choice(NUMBERS)
        if item.dtype.kind == "f" or np.isfinite(number):
            with np.errstate(all="ignore"):
                values.reshape(-1)[rng.randrange(values.size)] = np.array(number).astype(item.dtype)
            item[...] = values


def _link(file: h5py.File, rng: Random) -> None:
    name = _name(file, rng)
    link = rng.choice(
        (
            h5py.SoftLink("/nowhere"),
            h5py.SoftLink(f"/{name}"),
            h5py.ExternalLink("other.h5", "/pixels"),
            h5py.ExternalLink("/etc/passwd", "/"),
        )
    )
    _replace(file, name)
    file[name] = link


def _external(file: h5py.File, rng: Random) -> None:
    """Numbers that lie in another file."""
    name = _name(file, rng)
    shape, kind = (file[name].shape, file[name].dtype) if name in file else ((27,), np.dtype("u1"))
    _replace(file, name)
    elsewhere = rng.choice((b"/etc/passwd", b"/dev/zero", b"nothing.raw", b"other.h5"))
    file.create_dataset(name, shape, dtype=kind, external=[(elsewhere, 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File, rng: Random) -> None:
    name = _name(file, rng)
    shape, kind = (file[name].shape, file[name].dtype) if name in file else ((27,), np.dtype("u1"))
    _replace(file, name)
    layout = h5py.VirtualLayout(shape, dtype=kind)
    layout[...] = h5py.VirtualSource(rng.choice(("nothing.h5", "other.h5", ".")), name, shape, dtype=kind)
    file.create_virtual_dataset(name, layout)


def _filter(file: h5py.File, rng: Random) -> None:
    """A compression that h5py has, or one that is not installed."""
    name = _name(file, rng)
    if name not in file or not file[name].ndim or file[name].size > 1 << 20 or file[name].dtype.kind not in "iuf":
        return
    values = file[name][()]
    _replace(file, name)
    if rng.random() < 0.5:
        file.create_dataset(name, data=values, chunks=True, compression=rng.choice(("gzip", "lzf")), shuffle=True)
        return
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk(tuple(min(4, max(1, size)) for size in values.shape))
    settings.set_filter(rng.choice((4000, 32001, 32015)), h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(values.shape)
    made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(values.dtype), space, settings)
    if values.size:
        made.write_direct_chunk((0,) * values.ndim, b"\x07" * rng.choice((1, 64, 4096)))


def _group(file: h5py.File, rng: Random) -> None:
    name = _name(file, rng)
    _replace(file, name)
    if rng.random() < 0.7:
        file.create_group(name)


def _attribute(file: h5py.File, rng: Random) -> None:
    values = (
        "two-room", "", "\x1b[31mred", "a\nb", "x" * 60_000, b"\xff\xfe", np.bytes_(b"\xff"), np.nan, np.arange(7000),
        h5py.Empty("f4"), np.array([b"a", b"\xff"]), np.zeros((0, 3)), np.array((1, 2.0), [("a", "i4"), ("b", "f8")]),
        "os:abort", "../../x", "push-t", 2**63,
    )  # fmt: skip
    key = rng.choice(("env", "env_id", "seed", "policy", "format", "version", "\x1b[1m", "é", "vary", "frame_size"))
    owner = rng.choice((file, file.get(_name(file, rng)) or file))
    owner.attrs[key] = rng.choice(values)
    if rng.random() < 0.2:
        owner.attrs[key] = file.ref


def _column(file: h5py.File, rng: Random) -> None:
    """One column more, of a name that no writer gives."""
    name = rng.choice(("[red]", ":x:", "\x1b[1m", "é", "a" * 300, "state2", "__class__", "_pixels"))
    _replace(file, name)
    file.create_dataset(name, (rng.choice((0, 26, 27, 28)), *rng.choice(((), (1,), (2**16,)))), "f4", chunks=True)


EDITS: tuple[Edit, ...] = (
    *(_retype, _special_type, _reshape, _reshape, _longer, _values, _values, _link, _external, _virtual, _filter),
    *(_group, _attribute, _attribute, _column),
)
