"""Every block of some episodes, with the rest of its episode, and goals that are drawn for them.

N frames, P transitions, D latent width, A action-block width, K rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm.episode_latents import EpisodeLatents
from lewm.heads.windows import blocks_after
from lewm.model.world_model import WorldModel


@dataclass(frozen=True, eq=False)
class Transitions:
    """Every moment of some episodes from which a whole block was executed, on the model's device.

    Attributes:
        latents: The latent of every frame of the episodes, also of those from which no block was executed.
        starts: The frame of each moment; the next frame of the world model is `frameskip` later.
        lasts: The last frame of its episode.
        blocks: The normalised block that was executed from the moment on.
        frameskip: Environment steps of a block.
    """

    latents: Float32[Tensor, "N D"]
    starts: Int64[Tensor, " P"]
    lasts: Int64[Tensor, " P"]
    blocks: Float32[Tensor, "P A"]
    frameskip: int


def transitions_of(model: WorldModel, latents: EpisodeLatents) -> Transitions:
    """The transitions of these episodes; one at least is longer than a block."""
    frameskip, device = model.config.frameskip, latents.latents.device
    counts = np.maximum(latents.lengths - frameskip, 0)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(latents.starts, counts) + within
    lasts = np.repeat(latents.starts + latents.lengths - 1, counts)
    return Transitions(
        latents=latents.latents,
        starts=torch.from_numpy(starts).to(device),
        lasts=torch.from_numpy(lasts).to(device),
        blocks=model.normalize_actions(blocks_after(latents, starts, 1, frameskip))[:, 0],
        frameskip=frameskip,
    )


def later_goals(
    starts: Int64[Tensor, " K"], lasts: Int64[Tensor, " K"], shares: Float32[Tensor, " K"]
) -> Int64[Tensor, " K"]:
    """A goal among the later frames of each episode, all equally likely where the shares are uniform in [0, 1)."""
    return starts + 1 + (shares * (lasts - starts)).long()  # the product of the largest share is rounded down


def near_goals(
    starts: Int64[Tensor, " K"], lasts: Int64[Tensor, " K"], shares: Float32[Tensor, " K"], discount: float
) -> Int64[Tensor, " K"]:
    """A goal whose steps have a geometric distribution, each `discount` times as likely as the one before.

    Those beyond the end of the episode are at its end.
    """
    steps = 1 + ((1 - shares).log() / np.log(discount)).long()
    return torch.minimum(starts + steps, lasts)
