"""Pairs of moments of an episode, with the steps between them.

P pairs, D latent width, H horizon in blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from lewm.episode_latents import EpisodeLatents
from lewm.heads.windows import blocks_after, draw_starts
from lewm.model.world_model import WorldModel
from lewm.planning.dynamics import dynamics_of

CHUNK = 2400  # rollouts that are computed together


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of moments, on the model's device.

    Attributes:
        earlier: The latent of the earlier moment, real or imagined.
        later: The latent of the later moment, real.
        steps: Environment steps between them.
        imagined: Whether the earlier latent is imagined.
    """

    earlier: Float32[Tensor, "P D"]
    later: Float32[Tensor, "P D"]
    steps: Float32[Tensor, " P"]
    imagined: Bool[Tensor, " P"]


def draw_pairs(
    model: WorldModel,
    latents: EpisodeLatents,
    count: int,
    longest: int,
    imagined: float,
    horizon: int,
    rng: np.random.Generator,
) -> Pairs:
    """Pairs whose steps are uniform: they are drawn first, then an episode that is long enough.

    An imagined latent is predicted from the latent of a moment some blocks before, and from the actions executed since.

    Args:
        model: The world model, in eval mode.
        latents: The episodes.
        count: P.
        longest: The most steps between two moments, less than the longest episode's frames.
        imagined: The share of the pairs whose earlier latent is imagined; where no episode is long enough for it, the
            latent is real.
        horizon: The most blocks that are imagined.
        rng: The source of the draws.
    """
    frameskip = model.config.frameskip
    steps = rng.integers(longest + 1, size=count)
    blocks = np.where(rng.random(count) < imagined, rng.integers(1, horizon + 1, size=count), 0)
    blocks = np.minimum(blocks, (latents.lengths.max() - 1 - steps) // frameskip)
    starts = draw_starts(latents, steps + blocks * frameskip, rng)
    moments = starts + blocks * frameskip
    device = latents.latents.device
    earlier = latents.latents[torch.from_numpy(moments).to(device)]
    for number in range(1, horizon + 1):
        some = np.flatnonzero(blocks == number)
        earlier[torch.from_numpy(some).to(device)] = _imagine(model, latents, starts[some], number)
    return Pairs(
        earlier=earlier,
        later=latents.latents[torch.from_numpy(moments + steps).to(device)],
        steps=torch.from_numpy(steps).to(device, torch.float32),
        imagined=torch.from_numpy(blocks > 0).to(device),
    )


@torch.inference_mode()
def _imagine(
    model: WorldModel, latents: EpisodeLatents, starts: Int64[np.ndarray, " P"], blocks: int
) -> Float32[Tensor, "P D"]:
    """What the model expects so many blocks after each start."""
    if not len(starts):
        return latents.latents[:0]
    dynamics = dynamics_of(model)
    actions = model.normalize_actions(blocks_after(latents, starts, blocks, model.config.frameskip))
    begins = latents.latents[torch.from_numpy(starts).to(latents.latents.device)]
    parts = zip(begins.split(CHUNK), actions.split(CHUNK), strict=True)
    return torch.cat([dynamics(begin[:, None], action[:, None])[:, 0, -1] for begin, action in parts])
