"""What bench_reader.py measures besides clips in memory: the disk, the opening of a large file, training."""

import json
import mmap
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from _report import spread

from lewm.config import resolve
from lewm.recipes import small
from lewm.training.loop import train
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.places import chunk_places
from lewm_data.store.reader import READ_AHEAD, BatchReader
from lewm_data.store.writer import Writer

THREADS = 16  # reads in flight of the baseline of the disk
PAGE = 4096
EPISODE = 100  # frames of an episode of the files that are made here
SHARE = 8  # of which one part of the large file is read at a time


def large(path: Path, gigabytes: float, frame_size: int) -> Path:
    """A dataset of frames of noise: too large for caches that a disk, or what stands for one, may have."""
    random = np.random.default_rng(0)
    shape = (EPISODE, frame_size, frame_size, 3)
    with Writer.create(path) as writer:
        for _ in range(round(gigabytes * 1e9 / np.prod(shape))):
            frames = np.frombuffer(random.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
            writer.write_episode({"pixels": frames, "action": np.zeros((EPISODE, 2), np.float32)})
    return path


def cold(path: Path, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Megabytes of frames a second from the disk, in random order, and what the disk gives around the page cache.

    Each time other episodes are read, so that no cache has them from the time before.
    """
    with Dataset.open(path) as dataset, path.open("rb") as stream, h5py.File(path) as file:
        places = chunk_places(file["pixels"], dataset.num_steps, stream.fileno(), closed=True)
        size, starts = int(places["size"][0]), places["start"].astype(np.int64)
        seconds: dict[str, list[float]] = {"lewm": [], "the disk": [], "through the page cache": []}
        random = np.random.default_rng(0)
        for repeat in range(repeats):
            for name, found in seconds.items():
                episodes = np.sort(random.choice(dataset.num_episodes, dataset.num_episodes // SHARE, replace=False))
                _forget(stream.fileno())
                if name == "lewm":
                    found.append(_read_ahead(Clips(dataset, 1, 1, episodes), batch, repeat, stream.fileno()))
                else:
                    flags = os.O_DIRECT if name == "the disk" else 0
                    rows = random.permutation(dataset.rows(episodes))
                    found.append(_in_threads(path, starts[rows], size, flags) / len(rows))
    rates = {name: size / 1e6 / np.array(found) for name, found in seconds.items()}
    common = {"part": "cold", "file_bytes": path.stat().st_size}
    return [
        *({**common, "reader": name, "unit": "MB/s", **spread(rate, repeats)} for name, rate in rates.items()),
        *(
            {**common, "reader": "lewm", "of": name, "unit": "%", **spread(100 * rates["lewm"] / rate, repeats)}
            for name, rate in rates.items()
            if name != "lewm"
        ),
    ]


def _read_ahead(clips: Clips, batch: int, seed: int, handle: int) -> float:
    """Seconds a frame in the middle of an epoch, of which nothing was in memory when it began to be read."""
    ahead, batches = READ_AHEAD + 2, len(clips) // batch
    with BatchReader(clips, batch, seed, lambda read: read) as reader:
        for _ in range(ahead):  # after that, memory of batches is used again
            next(reader)
        _forget(handle)
        for _ in range(ahead):  # which were read before
            next(reader)
        began = time.perf_counter()
        for _ in range(batches - 2 * ahead):
            next(reader)
        return (time.perf_counter() - began) / ((batches - 2 * ahead) * batch)


def _forget(handle: int) -> None:
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _in_threads(path: Path, starts: np.ndarray, size: int, flags: int) -> float:
    """Seconds in which several threads read the pages of these places."""
    handle = os.open(path, os.O_RDONLY | flags)
    begins = (starts // PAGE * PAGE).tolist()
    length = -(-size // PAGE) * PAGE

    def read(number: int) -> None:
        with mmap.mmap(-1, length) as buffer:  # O_DIRECT wants whole pages
            for begin in begins[number::THREADS]:
                os.preadv(handle, [buffer], begin)

    with ThreadPoolExecutor(THREADS) as threads:
        began = time.perf_counter()
        list(threads.map(read, range(THREADS)))
        seconds = time.perf_counter() - began
    os.close(handle)
    return seconds


def many_frames(path: Path, frames: int, frame_size: int) -> Path:
    """A file of that many frames in chunks of one as our writer makes them. They have places, but take no room."""
    frames -= frames % EPISODE
    frame = (frame_size, frame_size, 3)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((1, *frame))
        made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((frames, *frame), (h5py.h5s.UNLIMITED, *frame))
        h5py.h5d.create(file.id, b"pixels", h5py.h5t.NATIVE_UINT8, space, made)
        lengths = np.full(frames // EPISODE, EPISODE)
        columns = {"action": np.zeros((frames, 2), np.float32), "ep_len": lengths.astype(np.int32)}
        columns["ep_offset"] = np.cumsum(lengths) - lengths
        for name, values in columns.items():
            file.create_dataset(name, data=values, chunks=(1024, *values.shape[1:]), maxshape=(None, *values.shape[1:]))
    return path


def opening(path: Path, frames: int, frame_size: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds until a batch could be read: the first time, again, and what h5py alone takes to tell all places."""
    many_frames(path, frames, frame_size)
    seconds: dict[str, list[float]] = {"first time": [], "again": [], "h5py's places alone": []}
    for _ in range(max(repeats // 3, 1)):
        with path.open("rb") as stream:
            _forget(stream.fileno())
        for name in ("first time", "again"):
            began = time.perf_counter()
            with Dataset.open(path) as dataset:
                clips = Clips(dataset, 4, 5)
                dataset.frames(clips.steps(np.array([len(clips) // 2]))[0])
                seconds[name].append(time.perf_counter() - began)
        with h5py.File(path) as file:
            began = time.perf_counter()
            file["pixels"].id.chunk_iter(lambda chunk: None)
            seconds["h5py's places alone"].append(time.perf_counter() - began)
    common = {"part": "opening", "frames": frames, "file_bytes": path.stat().st_size}
    return [
        {**common, "reader": name, "unit": "s", **spread(np.array(found), len(found))}
        for name, found in seconds.items()
    ]


def training(paths: Mapping[str, Path], steps: int) -> list[dict[str, Any]]:
    """The share of the time in which training on a CPU waits for data, at each logged step but the first."""
    results = []
    config = resolve(small("two-room", 2), None, {"training.steps": steps, "training.log_every": max(steps // 12, 1)})
    for storage, path in paths.items():
        run = path.with_name(f"run-{storage}")
        train(config, path, run, torch.device("cpu"), cache="off")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
        shares = 100 * np.array([line["waiting_for_data"] for line in lines])
        row = {"part": "training", "storage": storage, "reader": "lewm", "unit": "%", **spread(shares, len(shares))}
        results.append({**row, "clips_a_second": round(float(np.median([x["clips_per_second"] for x in lines])), 1)})
    return results
