"""Windows of episodes: their lengths are drawn first, then an episode that has room for each.

P windows, E episodes, N frames of all episodes, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm.episode_latents import EpisodeLatents


def draw_starts(
    latents: EpisodeLatents, reach: Int64[np.ndarray, " P"], rng: np.random.Generator
) -> Int64[np.ndarray, " P"]:
    """The frames from which windows begin; each window is uniform among the starts of a uniformly drawn episode.

    Args:
        latents: The episodes.
        reach: For each window the steps to its last frame, less than the longest episode's frames.
        rng: The source of the draws.
    """
    order = np.argsort(latents.lengths, kind="stable")
    shorter = np.searchsorted(latents.lengths[order], reach, side="right")  # episodes without room
    episodes = order[rng.integers(shorter, len(order))]
    return latents.starts[episodes] + rng.integers(latents.lengths[episodes] - reach)


def blocks_after(
    latents: EpisodeLatents, frames: Int64[np.ndarray, " P"], horizon: int, frameskip: int
) -> Float32[Tensor, "P H A"]:
    """The action blocks that were executed from some frames on, in environment units."""
    steps = torch.from_numpy(frames[:, None] + np.arange(horizon * frameskip)).to(latents.actions.device)
    steps = steps.clamp(max=len(latents.actions) - 1)  # what lies behind a window's end is not looked at
    return latents.actions[steps].reshape(len(frames), horizon, -1)
