"""Reading of datasets: clips a second by how frames are stored, from memory and from the disk, and what opening takes.

    python benchmarks/bench_reader.py --json benchmarks/results/reader-cpu.json

**Warm.** Copies of one Two-Room file at 224 pixels, compressed in different ways, are read as batches of random clips,
from the page cache. The baselines are h5py reading each frame of a clip by itself, h5py reading all rows of a clip to
keep every fifth frame, and, where the package is installed, the HDF5 reader of stable-worldmodel, which does that too.
It loads frames and actions alone, and keeps the actions in memory. All read the same batches in turns; batches that
differ are refused.

**Cold.** Frames of a large file are read once in random order, as in an epoch of training, after the system was told to
forget the file (POSIX_FADV_DONTNEED). The baselines read such places 16 at a time, around the page cache (O_DIRECT),
which takes hardly any time of the processor, and through it, as all programs do that want a second epoch from memory.

**Opening.** A file of 2.3 million frames whose chunks have places but no data: the time until a clip has been read.

**Training.** How long `lewm train` waits for data: the small recipe on Two-Room at 64 pixels, frames kept nowhere.
"""

import argparse
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import _stable_worldmodel
import h5py
import hdf5plugin
import numpy as np
import torch
from _measure import in_turns
from _reader_parts import cold, large, opening, training
from _report import spread, write_report

from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.machine import cores
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.reader import ClipOrder

FRAMES, FRAMESKIP = 4, 5
STORAGES: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "blosc2": dict(hdf5plugin.Blosc2()),
    "blosc": dict(hdf5plugin.Blosc()),
}

Read = Callable[[np.ndarray], np.ndarray]


def two_room(path: Path, episodes: int, frame_size: int) -> Path:
    """A new Two-Room dataset."""
    settings: dict[str, Any] = {"policy": "expert", "noise": 2.0, "frame_size": frame_size, "seed": 0}
    collect(world("two-room"), path, episodes, **settings, mode="overwrite")
    return path


def stored(path: Path, name: str) -> Path:
    """A copy of a dataset whose frames are stored in one of `STORAGES`, one frame a chunk as in the original."""
    copy = path.with_name(f"{name}.h5")
    with h5py.File(path) as source, h5py.File(copy, "w", libver="latest") as target:
        for column, item in source.items():
            options = {"chunks": item.chunks, **STORAGES[name]} if column == "pixels" else {}
            target.create_dataset(column, data=item[:], **options)
    return copy


def readers(clips: Clips, path: Path, file: h5py.File) -> dict[str, Read]:
    """Functions that return the frames (B, T, Y, X, 3) of the clips with these numbers."""
    pixels = file["pixels"]

    def frames(numbers: np.ndarray) -> np.ndarray:
        shown = clips.steps(numbers)[:, ::FRAMESKIP]
        return np.stack([[pixels[row] for row in rows] for rows in shown.tolist()])

    def slices(numbers: np.ndarray) -> np.ndarray:
        begins = clips.steps(numbers)[:, 0].tolist()
        return np.stack([pixels[row : row + FRAMES * FRAMESKIP][::FRAMESKIP] for row in begins])

    found: dict[str, Read] = {
        "lewm": lambda numbers: clips.read(numbers).frames,
        "h5py, frames": frames,
        "h5py, slices": slices,
    }
    if _stable_worldmodel.installed():
        from stable_worldmodel.data.formats.hdf5 import HDF5Dataset

        theirs = HDF5Dataset(
            path=shutil.copy(path, path.with_name(f"theirs-{path.name}")),  # HDF5 opens no file in two modes at once
            frameskip=FRAMESKIP,
            num_steps=FRAMES,
            keys_to_load=["pixels", "action"],
            keys_to_cache=["action"],
        )

        def batch(numbers: np.ndarray) -> np.ndarray:
            read = torch.stack([theirs[number]["pixels"] for number in numbers.tolist()])  # (B, T, 3, Y, X)
            return read.permute(0, 1, 3, 4, 2).numpy()

        found[_stable_worldmodel.version()] = batch
    return found


def warm(path: Path, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Clips a second of each reader on each copy of the file; refuses frames that differ."""
    results = []
    for storage in STORAGES:
        copy = stored(path, storage)
        with Dataset.open(copy) as dataset, h5py.File(copy) as file:
            clips = Clips(dataset, FRAMES, FRAMESKIP)
            order = ClipOrder(len(clips), batch, seed=0)
            reading = readers(clips, copy, file)
            first, *others = (read(order(0)) for read in reading.values())
            for other in others:
                np.testing.assert_array_equal(other, first)
            numbers = (order(step) for step in itertools.count())  # each call takes the next batch
            turns = {name: partial(_read_next, read, numbers) for name, read in reading.items()}
            seconds = in_turns(turns, torch.device("cpu"), repeats, 1)
            bytes_a_clip = first[0].nbytes
        medians = {name: float(np.median(found)) for name, found in seconds.items()}
        for name, found in seconds.items():
            row = {"part": "warm", "storage": storage, "reader": name, "unit": "clips/s"}
            row |= spread(batch / np.array(found), len(found))
            row |= {"gb_a_second": round(row["median"] * bytes_a_clip / 1e9, 2)}
            row |= {"times_as_long": round(medians[name] / medians["lewm"], 2)}
            results.append(row)
    return results


def _read_next(read: Read, numbers: Iterator[np.ndarray]) -> np.ndarray:
    return read(next(numbers))


def main() -> None:
    """Measures, and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--frame-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64, help="clips")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of the file that is read cold")
    parser.add_argument("--frames", type=int, default=2_300_000, help="of the file that is opened")
    parser.add_argument("--steps", type=int, default=60, help="of training")
    parser.add_argument("--folder", type=Path, help="where the files are written: on the disk to measure")
    arguments = parser.parse_args()

    others = round(os.getloadavg()[0], 1)  # what else runs: all paths take turns, but a disk needs a core that is free
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = two_room(Path(folder) / "two-room.h5", arguments.episodes, arguments.frame_size)
        results = warm(path, arguments.batch, arguments.repeats)
        large_file = large(Path(folder) / "large.h5", arguments.gigabytes, arguments.frame_size)
        results += cold(large_file, arguments.batch * 2, arguments.repeats)
        large_file.unlink()
        results += opening(Path(folder) / "many.h5", arguments.frames, arguments.frame_size, arguments.repeats)
        small = two_room(Path(folder) / "small.h5", arguments.episodes, 64)
        results += training({"uncompressed": small, "gzip": stored(small, "gzip")}, arguments.steps)
    for row in results:
        said = ", ".join(str(value) for key, value in row.items() if key not in ("unit", "median", "p20", "p80"))
        print(f"{row['median']:12,.3f} {row['unit']:8s} ({row['p20']:,.3f} to {row['p80']:,.3f}): {said}")
    if arguments.json:
        write_report(
            arguments.json, "reader", [{"cores_used": cores(), "load_before": others, **row} for row in results]
        )


if __name__ == "__main__":
    main()
