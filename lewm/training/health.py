"""Is the latent space alive, and does distance in it mean distance in the world?

Measured on held-out data while training. N frames, D latent width, P pairs of frames.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from scipy.stats import rankdata
from torch import Tensor

from lewm.model.world_model import WorldModel
from lewm.world_states import PathDistance
from lewm_kernels import RandomDirections, sigreg

CURVE_BINS = 24

# Below these the latents of a healthy model never fall (SIGReg pulls each dimension to standard deviation 1, and the
# effective rank to the latent's width); a collapsed one is orders of magnitude below the first.
COLLAPSED_STD = 0.05
COLLAPSED_RANK = 1.5


@dataclass(frozen=True)
class HeldOut:
    """What health is measured on: frames and, where the environment knows them, distances between pairs of them."""

    frames: UInt8[np.ndarray, "N Y X 3"]
    first: np.ndarray | None = None  # (P,) indices into frames
    second: np.ndarray | None = None
    distance: Float64[np.ndarray, " P"] | None = None  # length of the shortest path, in the world's own unit


@dataclass(frozen=True)
class Agreement:
    """How latent distance follows distance in the world.

    Attributes:
        distance_correlation: Spearman's rank correlation between latent distance and the shortest path in the world.
        near_correlation: The same over the nearer half of the pairs: whether a planner near its goal sees a slope.
        curve: (path length, mean latent distance) of pairs binned by path length.
    """

    distance_correlation: float
    near_correlation: float
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Health:
    """State of the latent space on held-out frames.

    Attributes:
        std_min, std_mean: Least and mean standard deviation over the D dimensions; 1 is SIGReg's target.
        effective_rank: exp of the entropy of the covariance's normalised eigenvalues, 1 to D.
        sigreg: The statistic, averaged over directions.
        distance_correlation, near_correlation, curve: As in `Agreement`; None or empty where no distance is known.
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
        return self.std_mean < COLLAPSED_STD or self.effective_rank < COLLAPSED_RANK

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.jsonl."""
        return asdict(self)


def sample_pairs(
    states: Float64[np.ndarray, "N S"], path_distance: PathDistance, pairs: int, seed: int
) -> tuple[np.ndarray, np.ndarray, Float64[np.ndarray, " P"]]:
    """Random pairs of states and the length of the shortest path between them."""
    generator = np.random.default_rng([seed, len(states)])
    first, second = generator.integers(len(states), size=(2, pairs))
    return first, second, path_distance(states[first], states[second])


def agreement(
    latents: Float[Tensor, "N D"],
    first: Int64[np.ndarray, " P"],
    second: Int64[np.ndarray, " P"],
    distance: Float64[np.ndarray, " P"],
) -> Agreement:
    """Compare the distances between the latents of pairs of frames with the shortest paths between their states."""
    apart = (latents[first] - latents[second]).norm(dim=-1).cpu().double().numpy()
    nearer = distance <= np.median(distance)
    return Agreement(
        distance_correlation=rank_correlation(distance, apart),
        near_correlation=rank_correlation(distance[nearer], apart[nearer]),
        curve=_binned(distance, apart),
    )


@torch.inference_mode()
def measure(model: WorldModel, data: HeldOut, directions: RandomDirections, knots: Float[Tensor, " K"]) -> Health:
    """Encode the held-out frames in eval mode and measure; the model's mode is left as it was."""
    was_training = model.training
    model.eval()
    latents = model.embed(torch.from_numpy(data.frames)).float()
    model.train(was_training)
    std = latents.std(dim=0)
    follows = None
    if data.first is not None and data.second is not None and data.distance is not None:
        follows = agreement(latents, data.first, data.second, data.distance)
    return Health(
        std_min=float(std.min()),
        std_mean=float(std.mean()),
        effective_rank=effective_rank(latents),
        sigreg=float(sigreg(latents, directions, knots)),
        distance_correlation=follows.distance_correlation if follows else None,
        near_correlation=follows.near_correlation if follows else None,
        curve=follows.curve if follows else (),
    )


def effective_rank(latents: Float[Tensor, "N D"]) -> float:
    """exp(entropy) of the eigenvalues of the covariance, as shares: 1 for a line, D for a sphere.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007, on the covariance.
    """
    centred = latents.cpu().double()  # not every device has doubles
    centred -= centred.mean(dim=0)
    eigenvalues = torch.linalg.svdvals(centred).square()
    shares = eigenvalues / eigenvalues.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.exp(-torch.xlogy(shares, shares).sum()))


def rank_correlation(a: Float64[np.ndarray, " P"], b: Float64[np.ndarray, " P"]) -> float:
    """Spearman's coefficient, ties sharing their mean rank; 0 where either side is constant."""
    ranks = rankdata(np.stack([a, b]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / scale) if scale else 0.0


def _binned(x: Float64[np.ndarray, " P"], y: Float64[np.ndarray, " P"]) -> tuple[tuple[float, float], ...]:
    edges = np.linspace(0, np.quantile(x, 0.99), CURVE_BINS + 1)
    bins = np.digitize(x, edges) - 1
    members = [bins == i for i in range(CURVE_BINS)]
    return tuple((float(x[inside].mean()), float(y[inside].mean())) for inside in members if inside.any())
