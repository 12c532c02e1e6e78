"""Clips of latents that were computed before, in the order in which clips of frames would be read.

B clips, T frames a clip, F frameskip, K episodes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lewm.episode_latents import encode_episodes
from lewm.memory import FLOAT
from lewm.model.world_model import WorldModel
from lewm.runtime import physical_memory
from lewm.training.batches import Batch
from lewm_data.store.clips import Clips
from lewm_data.store.reader import ClipOrder

MEMORY_SHARE = 4  # the latents may fill a quarter of the device's memory


def latents_fit(clips: Clips, latent: int, device: torch.device) -> bool:
    """Whether the latents of all frames of the clips' episodes have room on the device."""
    needed = FLOAT * latent * int(clips.dataset.lengths[clips.episodes].sum())
    return needed <= physical_memory(device) // MEMORY_SHARE


class LatentBatches:
    """Batches whose frames are latents: batch `step` has the clips that it would have if `BatchReader` read frames.

    Args:
        clips: The clips; their episodes are in ascending order, and are encoded here.
        model: The world model, whose encoder is not trained.
        batch_size: B.
        seed: Seed of the order.
        start_step: The first batch, counted from 0 at the beginning of training.
        on_share: Called with the share of the frames that is encoded.

    Attributes:
        wait_seconds: 0, as nothing is read.

    Raises:
        DataError: frames cannot be read, or were changed since the dataset was opened.
    """

    def __init__(
        self,
        clips: Clips,
        model: WorldModel,
        batch_size: int,
        seed: int,
        start_step: int,
        on_share: Callable[[float], None],
    ) -> None:
        self.wait_seconds = 0.0
        self._clips, self._step = clips, start_step
        self._order = ClipOrder(len(clips), batch_size, seed)
        self._encoded = encode_episodes(model.eval(), clips.dataset, clips.episodes, on_share)

    def __next__(self) -> Batch:
        episodes, starts = self._clips.locate(self._order(self._step))
        self._step += 1
        first = self._encoded.starts[np.searchsorted(self._clips.episodes, episodes)] + starts  # (B,)
        steps = first[:, None] + np.arange(self._clips.num_frames * self._clips.frameskip)  # (B, T F)
        rows = torch.from_numpy(steps).to(self._encoded.latents.device)
        blocks = self._encoded.actions[rows].unflatten(1, (self._clips.num_frames, -1)).flatten(2)  # (B, T, A)
        return Batch(self._encoded.latents[rows[:, :: self._clips.frameskip]], blocks)
