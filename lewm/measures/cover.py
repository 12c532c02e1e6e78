"""How far points and a standard normal distribution cover each other.

G points, H others, D numbers of a point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lewm.measures.intervals import Estimate, percentile_interval

NEIGHBOURS = 5  # k of coverage and density: the value of their authors
DRAWS = 20  # samples of N(0, I) that coverage and density are averaged over


@dataclass(frozen=True)
class NormalCover:
    """How far embeddings and a standard normal distribution cover each other, beside what samples of it reach.

    Around each of G samples of N(0, I) lies a ball that reaches to its k-th nearest neighbour among them. `coverage`
    is the share of the balls with an embedding inside, `density` in how many balls an embedding lies, divided by k.
    `reverse_coverage` is that share with the two exchanged: of the balls around embeddings, with a sample inside.

    Either direction alone misses much in many dimensions. Samples of N(0, I) lie about sqrt(D) from the mean and
    sqrt(2 D) from each other, so that all their balls hold the mean: embeddings that have collapsed onto it have a
    coverage of 1, and a density of G / k. Their own balls are small, and hold no sample: their reverse coverage is 0.
    With embeddings that are spread too far it is the other way round. `mutual_coverage` is the lesser of the two.

    Each value is a mean over `DRAWS` samples of N(0, I), and its interval is where 95 % of these lie. What ends in
    `_of_normal` is the same of as many samples of N(0, I) in place of the embeddings, which is what a perfect model
    gets; coverage in either direction is then about 1 - 2^-k, and density about 1, in any number of dimensions.

    Attributes:
        neighbours: k.

    Source: Naeem et al., arXiv 2002.09797, with N(0, I) as the real distribution and embeddings as the generated one.
    """

    neighbours: int
    coverage: Estimate
    reverse_coverage: Estimate
    mutual_coverage: Estimate
    density: Estimate
    coverage_of_normal: Estimate
    reverse_coverage_of_normal: Estimate
    mutual_coverage_of_normal: Estimate
    density_of_normal: Estimate


def normal_cover(latents: Float64[np.ndarray, "G D"], generator: np.random.Generator) -> NormalCover:
    """Measure the cover of at least `NEIGHBOURS` + 1 embeddings, which are independent of each other."""
    measured = np.empty((DRAWS, 2, 4))
    own = _reach(latents)
    for draw in measured:
        samples, others = generator.standard_normal((2, *latents.shape))
        reach = _reach(samples)
        for values, points, of_points in zip(draw, (latents, others), (own, _reach(others)), strict=True):
            apart = _distances(samples, points)  # (G, G), a row for each sample
            inside = apart <= reach[:, None]
            both = inside.any(axis=1).mean(), (apart <= of_points).any(axis=0).mean()
            values[:] = *both, min(both), inside.sum() / (NEIGHBOURS * len(points))
    estimates = [Estimate(float(column.mean()), percentile_interval(column)) for column in measured.reshape(DRAWS, 8).T]
    return NormalCover(NEIGHBOURS, *estimates)


def _reach(points: Float64[np.ndarray, "G D"]) -> Float64[np.ndarray, " G"]:
    """Squared distance of each point from its k-th nearest neighbour; the nearest of all is the point itself."""
    return np.partition(_distances(points, points), NEIGHBOURS, axis=1)[:, NEIGHBOURS]


def _distances(a: Float64[np.ndarray, "G D"], b: Float64[np.ndarray, "H D"]) -> Float64[np.ndarray, "G H"]:
    """Squared Euclidean distances."""
    squared: Float64[np.ndarray, "G H"] = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return squared
