"""The shape of a latent space: how many dimensions it uses, how normal they are, how straight time runs in it.

N frames, D feature width, E episodes, P pairs of frames, Q query frames, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.stats import kstest

from lewm.errors import missing
from lewm.measures.latents import agreement, effective_rank

PAIRS = 8192  # pairs of frames whose distances are compared
TSNE_FRAMES = 2000
MOVED = 1e-6  # share of the space's size; a frame that moves less repeats the one before, and has no direction


@dataclass(frozen=True)
class Space:
    """The shape of a space, measured on all frames of a sample.

    Attributes:
        features: The kind of features that the space has.
        effective_rank: exp of the entropy of the covariance's normalised eigenvalues, 1 to D.
        normality: For each dimension the Kolmogorov-Smirnov distance of its z-scores to the normal distribution: 0 for
            a normal one, 0.06 for a uniform one, 0.34 for two equally frequent values.
        straightness: Mean cosine of consecutive latent velocities, over model steps: 1 for a straight line, -1 for a
            zig-zag; None where no episode has three model steps in which the latent moves.
        distance_correlation: Spearman's rank correlation of latent distance and the shortest path in the world; None
            where the world knows no distances.
        near_correlation: This correlation over the nearer half of the pairs.
        curve: (path length, mean latent distance) of pairs binned by path length; empty where no distance is known.

    Source: straightness as in arXiv 2603.19312; effective rank by Roy and Vetterli, EUSIPCO 2007, on the covariance.
    """

    features: str
    effective_rank: float
    normality: tuple[float, ...]
    straightness: float | None
    distance_correlation: float | None
    near_correlation: float | None
    curve: tuple[tuple[float, float], ...]


Pairs = tuple[np.ndarray, np.ndarray, Float64[np.ndarray, " P"]]  # what `sample_pairs` returns


def measure_space(
    features: str,
    latents: Float[np.ndarray, "N D"],
    episode: Int64[np.ndarray, " N"],
    frameskip: int,
    pairs: Pairs | None,
) -> Space:
    """Measure one space."""
    tensor = torch.from_numpy(latents).float()
    follows = agreement(tensor, *pairs) if pairs else None
    return Space(
        features=features,
        effective_rank=effective_rank(tensor),
        normality=normality(latents),
        straightness=straightness(latents, episode, frameskip),
        distance_correlation=follows.distance_correlation if follows else None,
        near_correlation=follows.near_correlation if follows else None,
        curve=follows.curve if follows else (),
    )


def normality(latents: Float[np.ndarray, "N D"]) -> tuple[float, ...]:
    """The Kolmogorov-Smirnov distance of each dimension's z-scores to the normal distribution; 0.5 for a constant."""
    std = latents.std(axis=0, dtype=np.float64)
    z = (latents - latents.mean(axis=0, dtype=np.float64)) / np.where(std > 0, std, 1)
    return tuple(float(kstest(column, "norm", method="asymp").statistic) for column in z.T)


def straightness(latents: Float[np.ndarray, "N D"], episode: Int64[np.ndarray, " N"], frameskip: int) -> float | None:
    """Mean cosine between the velocities of consecutive model steps, from every frame of every episode."""
    begins = np.flatnonzero(episode[2 * frameskip :] == episode[: -2 * frameskip])
    here, there, beyond = (latents[begins + i * frameskip].astype(np.float64) for i in range(3))
    first, second = there - here, beyond - there
    lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    moves = np.minimum(*lengths) > MOVED * np.linalg.norm(latents.std(axis=0))
    if not moves.any():
        return None
    cosines = (first * second).sum(axis=1)[moves] / (lengths[0] * lengths[1])[moves]
    return float(cosines.mean())


def draw_queries(episode: Int64[np.ndarray, " N"], test: slice, count: int, seed: int) -> Int64[np.ndarray, " Q"]:
    """At most `count` test frames, each from a different episode."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(np.arange(test.start, test.stop))
    _, first = np.unique(episode[shuffled], return_index=True)  # the first frame of each episode
    return generator.permutation(shuffled[first])[:count]


def nearest_frames(
    latents: Float[np.ndarray, "N D"], episode: Int64[np.ndarray, " N"], queries: Int64[np.ndarray, " Q"], count: int
) -> tuple[Int64[np.ndarray, "Q K"], Float64[np.ndarray, "Q K"]]:
    """For each query the nearest frames of other episodes, one of each episode, nearest first, and their distances."""
    begins = np.flatnonzero(np.diff(episode, prepend=-1))
    found, distances = [], []
    for query in queries:
        apart = np.linalg.norm(latents.astype(np.float64) - latents[query], axis=1)
        apart[episode == episode[query]] = np.inf
        best = np.array(
            [begin + part.argmin() for begin, part in zip(begins, np.split(apart, begins[1:]), strict=True)]
        )
        nearest = best[apart[best].argsort(kind="stable")][: min(count, len(begins) - 1)]
        found.append(nearest)
        distances.append(apart[nearest])
    return np.stack(found), np.stack(distances)


def plane(latents: Float[np.ndarray, "N D"]) -> tuple[Float64[np.ndarray, "N 2"], Float64[np.ndarray, " D"]]:
    """Latents on their first two principal components, and the share of the variance along every component."""
    centred = latents - latents.mean(axis=0, dtype=np.float64)
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred)
    eigenvalues = np.maximum(eigenvalues[::-1], 0)
    points = centred @ vectors[:, ::-1][:, :2]
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a space of one dimension becomes a line
    return points, eigenvalues / max(eigenvalues.sum(), 1e-300)


def import_tsne() -> Any:  # noqa: ANN401
    """scikit-learn's TSNE. Call it before work that ends in a map.

    Raises:
        LewmError: scikit-learn is not installed; says what to install.
    """
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise missing("a t-SNE map needs scikit-learn", "tsne") from error
    return TSNE


def tsne(latents: Float[np.ndarray, "N D"], seed: int) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, "n 2"]]:
    """At most TSNE_FRAMES of the frames, and where t-SNE puts them."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(latents))[:TSNE_FRAMES])
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    state = seed % 2**32  # scikit-learn takes no larger seed
    return chosen, import_tsne()(perplexity=perplexity, random_state=state, init="pca").fit_transform(latents[chosen])
