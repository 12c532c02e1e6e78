"""Readers of recordings: datasets, videos, pictures, actions, and how these are named."""

from __future__ import annotations

import itertools
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import _hdf5_edits
import h5py
import numpy as np
from _batch import Reader, command
from _mutate import INTEGERS, TOKENS, mutate_bytes, mutate_text
from _seeds import Seeds

from lewm_data.store.schema import HASHES

FRAMES = 200  # frames of a video that are read
HEADER = 4096  # bytes that say what the others are

ARRAY_HEADERS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 2), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (20, 2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (20, 2, 0), }",
    "{'descr': [('a', '<f8'), ('b', '<f8')], 'fortran_order': True, 'shape': (20,), }",
    "{'descr': '<U100000', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 5000 + ", 2), }",
    "(" * 300 + ")" * 300,
    "{'descr': '<c16', 'shape': (10, 2)}",
    "{1: 2}",
)


def readers(seeds: Seeds) -> list[Reader]:
    """All of them."""
    return [
        Reader("dataset, bytes", 1500, _spoilt_dataset(seeds), read_dataset),
        Reader("dataset, HDF5", 1200, _edited_dataset(seeds), read_dataset),
        Reader("verify, bytes", 400, _spoilt_dataset(seeds), verify),
        Reader("verify, HDF5", 400, _edited_dataset(seeds), verify),
        *(Reader(f"video, {ending}", 400, _spoilt(path, HEADER), read_source) for ending, path in seeds.videos.items()),
        Reader("images", 500, _folder_of_images(seeds), read_source),
        Reader("actions", 900, _spoilt_actions(seeds), read_actions),
        Reader("source, named", 400, _named_source(seeds), read_source),
    ]


def read_dataset(path: Path) -> None:
    """Everything that is done with a dataset."""
    from lewm_data.store.clips import Clips, action_statistics
    from lewm_data.store.dataset import Dataset

    with Dataset.open(path) as dataset:
        dataset.episode(dataset.num_episodes - 1)
        dataset.fingerprint()
        for name in dataset.columns:
            if name != "pixels":
                dataset.column(name)
        clips = Clips(dataset, 2, 2)
        clips.read(np.arange(min(4, len(clips))))
        action_statistics(dataset, np.arange(dataset.num_episodes))


def verify(path: Path) -> None:
    """Verifies it with the command, as a user does."""
    command(["data", "verify", str(path)])


def read_source(spec: object) -> None:
    """A video, a folder or an episode, its first frames at their own times and at a rate."""
    from lewm_data.video.sources import open_source

    with open_source(str(spec)) as source:
        for rate in (None, 7.0):
            for _ in itertools.islice(source.frames(rate, (16, 16)), FRAMES):
                pass


def read_actions(path: Path) -> None:
    """A file of two-dimensional actions."""
    from lewm_data.video.action_files import read_actions as read

    read(path, 2)


def _spoilt(path: Path, hot: int) -> Callable[[Random, Path], Path]:
    data = path.read_bytes()

    def make(rng: Random, folder: Path) -> Path:
        spoilt = folder / path.name
        end = (max(0, len(data) - hot), len(data))
        spoilt.write_bytes(mutate_bytes(data, rng, rng.choice(((0, hot), end))))
        return spoilt

    return make


def _spoilt_dataset(seeds: Seeds) -> Callable[[Random, Path], Path]:
    each = [_spoilt(path, HEADER) for path in seeds.datasets]
    return lambda rng, folder: rng.choice(each)(rng, folder)


def _edited_dataset(seeds: Seeds) -> Callable[[Random, Path], Path]:
    def make(rng: Random, folder: Path) -> Path:
        path = folder / "a.h5"
        shutil.copy(seeds.datasets[0], path)
        shutil.copy(seeds.datasets[0], folder / "other.h5")
        if rng.random() < 0.5:
            with h5py.File(path, "r+") as file:
                del file[HASHES]  # as in data of others, which have no hashes
        _hdf5_edits.edit(path, rng)
        return path

    return make


def _folder_of_images(seeds: Seeds) -> Callable[[Random, Path], Path]:
    def make(rng: Random, folder: Path) -> Path:
        images = folder / "images"
        images.mkdir()
        for number in range(3):
            source = rng.choice(seeds.images)
            data = source.read_bytes()
            if number == 1 or rng.random() < 0.2:
                data = _png_of_any_size(data, rng) if source.suffix == ".png" and rng.random() < 0.3 else data
                data = mutate_bytes(data, rng, (0, 200))
            (images / f"{number}{source.suffix}").write_bytes(data)
        return images

    return make


def _png_of_any_size(data: bytes, rng: Random) -> bytes:
    """A PNG whose header states other sides, with the checksum that goes with them."""
    sides = struct.pack(">II", rng.choice(INTEGERS) % 2**31, rng.choice(INTEGERS) % 2**31)
    header = b"IHDR" + sides + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _spoilt_actions(seeds: Seeds) -> Callable[[Random, Path], Path]:
    def make(rng: Random, folder: Path) -> Path:
        ending = rng.choice(("npy", "npy", "npz", "csv", "csv"))
        source = seeds.actions[ending]
        path = folder / source.name
        if ending == "csv":
            path.write_text(mutate_text(source.read_text(), rng), errors="replace")
        elif ending == "npy" and rng.random() < 0.3:
            header = rng.choice(ARRAY_HEADERS).encode().ljust(118) + b"\n"
            path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) % 2**16) + header + bytes(320))
        else:
            path.write_bytes(mutate_bytes(source.read_bytes(), rng, (0, 160)))
        return path

    return make


def _named_source(seeds: Seeds) -> Callable[[Random, Path], str]:
    def make(rng: Random, folder: Path) -> str:
        path = str(rng.choice((*seeds.datasets, *seeds.videos.values(), *seeds.images)))
        spec = path + rng.choice(("", "#0", "#1", "#2", "#3", "#-1", "#1e3", "##", "#0#0", "#" + rng.choice(TOKENS)))
        return mutate_text(spec, rng) if rng.random() < 0.5 else spec

    return make
