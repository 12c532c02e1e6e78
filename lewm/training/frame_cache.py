"""Where the frames of a training stay between its steps: in the file, in memory, or on the device.

B clips, T frames a clip, F frameskip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from lewm.errors import unknown
from lewm.memory import check_memory
from lewm.runtime import physical_memory
from lewm.training.batches import Batch
from lewm_data.store.clips import Clips
from lewm_data.store.reader import ClipOrder

Setting = Literal["auto", "off", "ram", "device"]

MEMORY_SHARE = 4  # with "auto", frames may fill a quarter of the memory
BLOCK = 64 << 20  # bytes that are copied to the device at once


@dataclass(frozen=True)
class FrameCache:
    """Where frames are kept, and why."""

    kind: Literal["off", "ram", "device"]
    reason: str

    def __str__(self) -> str:
        kept = {"off": "read from the file", "ram": "kept in memory once read", "device": "all on the device"}
        return f"frames are {kept[self.kind]}: {self.reason}"


def check_setting(setting: str) -> Setting:
    """The value of --cache.

    Raises:
        LewmError: There is no such value.
    """
    for one in get_args(Setting):
        if setting == one:
            return one
    raise unknown("--cache", setting, get_args(Setting))


def choose_cache(setting: Setting, clips: Clips, device: torch.device, reads: int) -> FrameCache:
    """Where to keep the frames of the clips' episodes.

    "auto" keeps them on a CUDA device if they fit and are read more than once. Else it keeps in memory those that
    would have to be unpacked each time; the others are copied as fast from the memory that the system keeps files in.

    Args:
        setting: Where the user wants them.
        clips: The clips to train on.
        device: Where to train.
        reads: How many frames all batches together have.

    Raises:
        LewmError: They do not fit where the user wants them.
    """
    count = int(clips.dataset.lengths[clips.episodes].sum())
    size = count * clips.dataset.frame_size[0] * clips.dataset.frame_size[1] * 3
    if setting != "auto":
        if setting != "off":
            memory = device if setting == "device" else torch.device("cpu")
            check_memory(size, memory, f"all {count:,} frames", "Use --cache off, which reads them from the file.")
        return FrameCache(setting, f"--cache {setting}")
    told = f"{size / 2**30:.1f} GiB"
    if device.type == "cuda" and reads > count and size <= physical_memory(device) // MEMORY_SHARE:
        return FrameCache("device", f"{told} fit")
    if not clips.dataset.frames_are_packed:
        return FrameCache("off", "they are not compressed")
    if size > physical_memory(torch.device("cpu")) // MEMORY_SHARE:
        return FrameCache("off", f"{told} are more than a quarter of the memory")
    return FrameCache("ram", f"{told} fit, and are compressed in the file")


class FramesOnDevice:
    """Batches of frames that lie on the device: batch `step` has the clips that `BatchReader` would read.

    Args:
        clips: The clips; all frames of their episodes are read here.
        device: Where the frames are put.
        batch_size: B.
        seed: Seed of the order.
        start_step: The first batch, counted from 0 at the beginning of training.
        on_share: Called with the share of the frames that are there.

    Attributes:
        wait_seconds: 0, as nothing is read later.

    Raises:
        DataError: Frames cannot be read, or were changed since the dataset was opened.
    """

    def __init__(
        self,
        clips: Clips,
        device: torch.device,
        batch_size: int,
        seed: int,
        start_step: int,
        on_share: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.wait_seconds = 0.0
        self._clips, self._step = clips, start_step
        self._order = ClipOrder(len(clips), batch_size, seed)
        dataset = clips.dataset
        rows = dataset.rows(clips.episodes)
        self._places = np.full(dataset.num_steps, -1, np.int64)  # of each row among the frames that are kept
        self._places[rows] = np.arange(len(rows))
        self._frames = torch.empty((len(rows), *dataset.frame_size, 3), dtype=torch.uint8, device=device)
        step = max(1, BLOCK // self._frames[0].nbytes)
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            frames = dataset.frames(block)
            dataset.check_frames(block[:1], frames[:1])
            self._frames[begin : begin + len(block)] = torch.from_numpy(frames)
            on_share((begin + len(block)) / len(rows))

    def __next__(self) -> Batch:
        steps = self._clips.steps(self._order(self._step))  # (B, T F)
        self._step += 1
        shown = torch.from_numpy(self._places[steps[:, :: self._clips.frameskip]])  # (B, T)
        actions = torch.from_numpy(self._clips.blocks(steps))
        device = self._frames.device
        return Batch(self._frames[shown.to(device)], actions.to(device))
