"""What distances between latents mean in the world, and how many directions latents use.

N frames, D latent width, S numbers of a state, P pairs of frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.special import entr
from scipy.stats import rankdata
from torch import Tensor

from lewm.world_states import PathDistance

CURVE_BINS = 24


@dataclass(frozen=True)
class Agreement:
    """How latent distance follows distance in the world.

    Attributes:
        distance_correlation: Spearman's rank correlation between latent distance and the shortest path in the world.
        near_correlation: This correlation over the nearer half of the pairs: whether a planner near its goal sees a
            slope.
        curve: (path length, mean latent distance) of pairs binned by path length.
    """

    distance_correlation: float
    near_correlation: float
    curve: tuple[tuple[float, float], ...]


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


def effective_rank(latents: Float[Tensor, "N D"]) -> float:
    """exp(entropy) of the covariance's eigenvalues divided by their sum: 1 for a line, D for a sphere.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007, on the covariance.
    """
    centred = latents.cpu().double()  # not every device has doubles
    centred -= centred.mean(dim=0)
    eigenvalues = torch.linalg.svdvals(centred).square()
    shares = eigenvalues / eigenvalues.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.exp(-torch.xlogy(shares, shares).sum()))


def rank_of_spectrum(eigenvalues: Float64[np.ndarray, " K"]) -> float:
    """The effective rank, see `effective_rank`, of eigenvalues that are known; 1 where all are 0."""
    shares = eigenvalues / max(eigenvalues.sum(), np.finfo(np.float64).tiny)
    return float(np.exp(entr(shares).sum()))


def rank_correlation(a: Float64[np.ndarray, " P"], b: Float64[np.ndarray, " P"]) -> float:
    """Spearman's coefficient, in which ties share their mean rank; 0 where either side is constant."""
    ranks = rankdata(np.stack([a, b]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / scale) if scale else 0.0


def _binned(x: Float64[np.ndarray, " P"], y: Float64[np.ndarray, " P"]) -> tuple[tuple[float, float], ...]:
    edges = np.linspace(0, np.quantile(x, 0.99), CURVE_BINS + 1)
    bins = np.digitize(x, edges) - 1
    members = [bins == i for i in range(CURVE_BINS)]
    return tuple((float(x[inside].mean()), float(y[inside].mean())) for inside in members if inside.any())
