"""Clips a second out of a dataset on disk, by how its frames are stored, and frames a second of collection.

    python benchmarks/bench_reader.py --json benchmarks/results/reader-cpu.json

Each case reads the same Two-Room episodes at 64 pixels, as batches of 128 clips of 4 frames in random order, from the
page cache, on one core. The cases are the file of `lewm`, read from where the frames lie in it; the same file through
HDF5, which is the baseline; and a compressed file. The batches must be equal. Collection is timed with the writing of
the file.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _report import write_report

from lewm_data.collection.collect import CollectReport, collect
from lewm_data.envs.registry import world
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.frames import StoredRows
from lewm_data.store.reader import ClipOrder

BATCH, FRAMES, FRAMESKIP = 128, 4, 5


def collected(path: Path, episodes: int) -> CollectReport:
    """A new Two-Room dataset."""
    settings: dict[str, Any] = {"policy": "expert", "noise": 2.0, "frame_size": 64, "seed": 0}
    return collect(world("two-room"), path, episodes, **settings, mode="overwrite")


def compressed(path: Path) -> Path:
    """A copy of a dataset with its frames compressed."""
    copy = path.with_name("compressed.h5")
    with h5py.File(path) as source, h5py.File(copy, "w") as target:
        for name in source:
            options: dict[str, Any] = {}
            if name == "pixels":
                options = {"chunks": source[name].chunks, "compression": "gzip", "compression_opts": 4}
            target.create_dataset(name, data=source[name][:], **options)
    return copy


def measure(datasets: dict[str, Dataset], repeats: int) -> dict[str, list[float]]:
    """Seconds a batch of each, interleaved; refuses batches that differ."""
    clips = {name: Clips(dataset, FRAMES, FRAMESKIP) for name, dataset in datasets.items()}
    order = ClipOrder(len(next(iter(clips.values()))), BATCH, seed=0)
    seconds: dict[str, list[float]] = {name: [] for name in clips}
    for step in range(-2, repeats):  # the first two look up where the frames are
        batches = []
        for name, source in clips.items():
            began = time.perf_counter()
            batches.append(source.read(order(max(step, 0))))
            if step >= 0:
                seconds[name].append(time.perf_counter() - began)
        for batch in batches[1:]:
            np.testing.assert_array_equal(batch.frames, batches[0].frames)
            np.testing.assert_array_equal(batch.actions, batches[0].actions)
    return seconds


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--episodes", type=int, default=200)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "two-room.h5"
        reports = [collected(path, arguments.episodes) for _ in range(5)]
        with Dataset.open(path) as plain, Dataset.open(path) as stored, Dataset.open(compressed(path)) as gzip:
            handle = stored._opened.handle
            stored._frames = StoredRows(path, stored._file["pixels"], stored.num_steps, handle, stored._size)
            seconds = measure({"plain": plain, "HDF5": stored, "gzip": gzip}, arguments.repeats)
        for name, found in seconds.items():
            rates = BATCH / np.percentile(found, [50, 80, 20])
            results.append({"case": f"read, {name}", "unit": "clips/s", "repeats": len(found), **_row(rates)})
    rates = np.percentile([report.frames_per_second for report in reports], [50, 20, 80])
    results.append({"case": "collect, Two-Room", "unit": "frames/s", "repeats": len(reports), **_row(rates)})
    for part in ("stepping", "acting", "writing"):
        shares = np.percentile([getattr(one, f"{part}_seconds") / one.seconds for one in reports], [50, 20, 80])
        results.append({"case": f"collect, {part}", "unit": "%", "repeats": len(reports), **_row(100 * shares)})
    for row in results:
        print(f"{row['case']:18s} {row['median']:9,.0f} {row['unit']:8s} ({row['p20']:,.0f} to {row['p80']:,.0f})")
    if arguments.json:
        write_report(arguments.json, "reader", results)


def _row(percentiles: np.ndarray) -> dict[str, float]:
    return dict(zip(("median", "p20", "p80"), (round(float(value), 1) for value in percentiles), strict=True))


if __name__ == "__main__":
    main()
