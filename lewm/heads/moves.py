"""Moments of an episode with a later moment of it as the goal, and the block that was executed from the first on.

N frames, P moves, D latent width, A action-block width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm.episode_latents import EpisodeLatents
from lewm.heads.windows import blocks_after, draw_starts
from lewm.model.world_model import WorldModel


@dataclass(frozen=True, eq=False)
class Moves:
    """What a policy learns from, on the model's device.

    Attributes:
        latents: The latent of every frame.
        starts: The frame of each moment.
        goals: The frame of its goal.
        steps: Environment steps to the goal.
        blocks: The normalised block that was executed from the moment on.
    """

    latents: Float32[Tensor, "N D"]
    starts: Int64[Tensor, " P"]
    goals: Int64[Tensor, " P"]
    steps: Int64[Tensor, " P"]
    blocks: Float32[Tensor, "P A"]


def draw_moves(model: WorldModel, latents: EpisodeLatents, count: int, longest: int, rng: np.random.Generator) -> Moves:
    """Moves whose steps are drawn first, and then an episode that is long enough.

    There are more moves to near goals, which say more about the first block: the steps are the longest times the square
    of a uniform number.

    Args:
        model: The world model.
        latents: The episodes.
        count: P.
        longest: The most steps to a goal, less than the longest episode's frames.
        rng: The source of the draws.
    """
    frameskip, device = model.config.frameskip, latents.latents.device
    steps = np.ceil(longest * (1 - rng.random(count)) ** 2).astype(np.int64)  # from 1 to the longest
    starts = draw_starts(latents, np.maximum(steps, frameskip), rng)
    return Moves(
        latents=latents.latents,
        starts=torch.from_numpy(starts).to(device),
        goals=torch.from_numpy(starts + steps).to(device),
        steps=torch.from_numpy(steps).to(device),
        blocks=model.normalize_actions(blocks_after(latents, starts, 1, frameskip))[:, 0],
    )
