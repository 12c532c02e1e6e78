"""Measures during training whether the latent space is alive, and whether its distances mean distances in the world.

Health is measured on held-out data, in the same way whatever the objective is. N frames, P pairs of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from lewm.measures.latents import agreement, effective_rank
from lewm.model.world_model import WorldModel
from lewm_kernels import RandomDirections, sigreg

# SIGReg of the paper and the released code: a number that can be compared between objectives, and between forms of
# SIGReg.
DIRECTIONS = 1024
KNOTS = 17
KNOT_MAX = 3.0

# The latents of a healthy model never fall below these: objectives pull each dimension to standard deviation 1, and the
# effective rank to the latent's width. A collapsed model is orders of magnitude below the first.
COLLAPSED_STD = 0.05
COLLAPSED_RANK = 1.5


@dataclass(frozen=True)
class HeldOut:
    """The data that health is measured on: frames and, where the environment knows them, distances between pairs."""

    frames: UInt8[np.ndarray, "N Y X 3"]
    first: np.ndarray | None = None  # (P,) indices into frames
    second: np.ndarray | None = None
    distance: Float64[np.ndarray, " P"] | None = None  # length of the shortest path, in the world's own unit


@dataclass(frozen=True)
class Health:
    """State of the latent space on held-out frames.

    Attributes:
        std_min, std_mean: Least and mean standard deviation over the D dimensions; 1 is what objectives aim at.
        effective_rank: exp of the entropy of the covariance's normalised eigenvalues, 1 to D.
        sigreg: The statistic, averaged over directions.
        distance_correlation, near_correlation, curve: See `Agreement`; None or empty where no distance is known.
    """

    std_min: float
    std_mean: float
    effective_rank: float
    sigreg: float
    distance_correlation: float | None
    near_correlation: float | None
    curve: tuple[tuple[float, float], ...]

    @property
    def collapsed(self) -> bool:
        """Whether frames have become indistinguishable or vary along a single line."""
        return is_collapsed(self.std_mean, self.effective_rank)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.jsonl."""
        return asdict(self)


def is_collapsed(std_mean: float, effective_rank: float) -> bool:
    """Whether latents of this spread have collapsed, see `Health`."""
    return std_mean < COLLAPSED_STD or effective_rank < COLLAPSED_RANK


def collapsed_from(checks: Sequence[tuple[int, float, float]]) -> int | None:
    """The first step from which on latents stayed collapsed; None where they are not at the end.

    Latents that have hardly been trained are as flat as collapsed ones, and are no exception here: those that never
    spread out were collapsed from the first check on.

    Args:
        checks: Step, mean standard deviation and effective rank of each check, in order.
    """
    found = None
    for step, std_mean, rank in reversed(checks):
        if not is_collapsed(std_mean, rank):
            break
        found = step
    return found


@torch.inference_mode()
def measure(model: WorldModel, data: HeldOut, seed: int, step: int) -> Health:
    """Encode the held-out frames in eval mode and measure; the model's mode is left as it was.

    Args:
        model: The world model that encodes the frames.
        data: The held-out frames.
        seed: Seed of the directions of SIGReg, together with the step.
        step: Number of steps that are done.
    """
    was_training = model.training
    model.eval()
    latents = model.embed(torch.from_numpy(data.frames)).float()
    model.train(was_training)
    std = latents.std(dim=0)
    knots = torch.linspace(0, KNOT_MAX, KNOTS)
    follows = None
    if data.first is not None and data.second is not None and data.distance is not None:
        follows = agreement(latents, data.first, data.second, data.distance)
    return Health(
        std_min=float(std.min()),
        std_mean=float(std.mean()),
        effective_rank=effective_rank(latents),
        sigreg=float(sigreg(latents, RandomDirections(seed, step, DIRECTIONS), knots)),
        distance_correlation=follows.distance_correlation if follows else None,
        near_correlation=follows.near_correlation if follows else None,
        curve=follows.curve if follows else (),
    )
