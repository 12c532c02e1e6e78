"""Latents of whole episodes, each computed once: what is learnt on a frozen encoder is trained on them.

N frames of all episodes, E episodes, D latent width, A action width of one environment step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from lewm.memory import FLOAT, check_memory
from lewm.model.world_model import WorldModel
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION

CHUNK = 4096  # frames that are read at once


@dataclass(frozen=True, eq=False)
class EpisodeLatents:
    """Latents and actions of every step of some episodes, one episode after the other, on the model's device.

    Attributes:
        latents: The latent of each frame.
        actions: The action from each frame on, in environment units; one that is absent is 0.
        lengths: How many steps each episode has.
        starts: The first step of each episode.
    """

    latents: Float32[Tensor, "N D"]
    actions: Float32[Tensor, "N A"]
    lengths: Int64[np.ndarray, " E"]
    starts: Int64[np.ndarray, " E"]


@torch.inference_mode()
def encode_episodes(
    model: WorldModel,
    dataset: Dataset,
    episodes: Int[np.ndarray, " E"],
    on_share: Callable[[float], None] = lambda share: None,
) -> EpisodeLatents:
    """Encode every frame of some episodes.

    Args:
        model: The world model, in eval mode.
        dataset: Where the episodes are.
        episodes: Their numbers.
        on_share: Called with the share of the frames that is done.

    Raises:
        LewmError: The latents need more memory than there is.
        DataError: There is no such episode, or frames cannot be read or were changed since the dataset was opened.
    """
    rows = dataset.rows(episodes)
    remedy = 'Use fewer or shorter episodes; "lewm train-policy --frames" takes some of them.'
    check_memory(FLOAT * len(rows) * model.config.latent, model.device, f"{len(rows)} latents", remedy)
    latents = torch.empty(len(rows), model.config.latent, device=model.device)
    for begin in range(0, len(rows), CHUNK):
        chunk = rows[begin : begin + CHUNK]
        frames = dataset.frames(chunk)
        dataset.check_frames(chunk[:1], frames[:1])
        latents[begin : begin + len(chunk)] = model.embed(torch.from_numpy(frames))
        on_share((begin + len(chunk)) / len(rows))
    actions = np.nan_to_num(dataset.column(ACTION, episodes).astype(np.float32), nan=0.0)
    lengths = dataset.lengths[episodes].astype(np.int64)
    return EpisodeLatents(
        latents=latents,
        actions=torch.from_numpy(actions).to(model.device),
        lengths=lengths,
        starts=np.cumsum(lengths) - lengths,
    )
