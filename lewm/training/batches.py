"""Clips on their way from the dataset to the device.

B clips, T frames a clip, Y and X the sides of a frame, A action-block width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from lewm_data.store.clips import ClipBatch


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips as tensors, in environment units.

    Attributes:
        frames: The frames of the clips, see `ClipBatch`, or their latents.
        actions: The action blocks of the clips, see `ClipBatch`.
        copied: On a CUDA device, an event of the stream that copies: it is reached when both have arrived. Else None.
    """

    frames: Shaped[Tensor, "B T ..."]
    actions: Float32[Tensor, "B T A"]
    copied: torch.cuda.Event | None = None

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Frames and actions on `device`, for the work that the current stream is given from now on.

        Where another stream copies them, that work waits for the copies; the host does not.
        """
        if self.copied is None:
            return self.frames.to(device), self.actions.to(device)
        stream = torch.cuda.current_stream(device)
        stream.wait_event(self.copied)
        for tensor in (self.frames, self.actions):
            tensor.record_stream(stream)  # or the copying stream could overwrite it once Python frees it
        return self.frames, self.actions


@runtime_checkable
class Batches(Protocol):
    """An endless iterator of batches, which are a function of the seed and the step.

    Attributes:
        wait_seconds: The total time that `next` has waited for data.
    """

    wait_seconds: float

    def __next__(self) -> Batch:
        """The batch of the next step."""


def copier(device: torch.device) -> Callable[[ClipBatch], Batch]:
    """A function that makes tensors of clips; the thread of `BatchReader` calls it.

    For a CUDA device it begins to copy them there, out of pinned memory and on a stream of its own, so that copies run
    during the computation.
    """
    if device.type != "cuda":
        return lambda clips: Batch(torch.from_numpy(clips.frames), torch.from_numpy(clips.actions))
    stream = torch.cuda.Stream(device)

    def copy(clips: ClipBatch) -> Batch:
        with torch.cuda.stream(stream):
            pinned = [torch.from_numpy(array).pin_memory() for array in (clips.frames, clips.actions)]
            frames, actions = (tensor.to(device, non_blocking=True) for tensor in pinned)
            return Batch(frames, actions, stream.record_event())

    return copy
