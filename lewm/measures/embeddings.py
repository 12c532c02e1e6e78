"""The distribution of a model's embeddings: moments, spectrum, normality, and how much of N(0, I) they cover.

N frames, D latent width, E episodes, G of the frames, one of each episode, K eigenvalues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.stats import normaltest

from lewm.measures.intervals import Estimate, percentile_interval
from lewm.measures.latents import rank_of_spectrum

NEIGHBOURS = 5  # k of coverage and density: the value of their authors
DRAWS = 20  # samples of N(0, I) that coverage and density are averaged over
LEAST_TESTED = 20  # embeddings that a test of normality needs: its kurtosis is not approximately normal before
LEVEL = 0.05  # of the tests of all dimensions together
WIDEST = 2048  # dimensions; wider embeddings, which are maps of patches, are neither listed nor compared with N(0, I)
CONSTANT = 1e-6  # standard deviation of a constant dimension, as a share of its mean: what rounding leaves in float32
NUMBERS_AT_ONCE = 2**22  # of the embeddings that are held in double precision


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


@dataclass(frozen=True)
class Normality:
    """Tests of each dimension's normality, of its shape alone: mean and variance do not matter.

    A dimension may pass because there are few embeddings, so that it passes says less than that it is rejected.

    Attributes:
        p_values: Of D'Agostino and Pearson's test; None for a constant dimension, which is not tested.
        rejected: Dimensions that are not normal at the level 0.05 of all tests together, after Holm's correction.

    Source: D'Agostino and Pearson, Biometrika 60 (1973); Holm, Scand. J. Stat. 6 (1979).
    """

    p_values: tuple[float | None, ...]
    rejected: int


@dataclass(frozen=True)
class Embeddings:
    """The distribution of embeddings. The aim of SIGReg is N(0, I), so variances of 1, in all directions.

    Moments and spectrum are of all N frames. Frames of one episode are alike, and tests and coverage take their samples
    to be independent: these use G frames, one of each episode.

    Attributes:
        frames, episodes, dimensions: N, E and D.
        independent: G.
        means, variances: Of each dimension, in order; empty where there are more than `WIDEST`.
        mean_size: Euclidean length of the mean, divided by the root of D.
        least_variance, mean_variance, greatest_variance: Of the dimensions.
        constant: Number of dimensions that do not vary.
        eigenvalues: Of the covariance, descending. The other D - K are 0, as there are at most N - 1 others.
        effective_rank: exp of the entropy of the eigenvalues divided by their sum.
        eigenvalues_of_normal, effective_rank_of_normal: Those of N samples of N(0, I): a perfect model's spectrum is
            not flat either, as it is estimated from N frames. None where D exceeds `WIDEST`.
        normality, cover: None where there are fewer than `LEAST_TESTED` episodes, or D exceeds `WIDEST`.
        left_out: Sentences that say what was not measured, and why.

    Source: effective rank by Roy and Vetterli, EUSIPCO 2007, on the covariance.
    """

    frames: int
    episodes: int
    dimensions: int
    independent: int
    means: tuple[float, ...]
    variances: tuple[float, ...]
    mean_size: float
    least_variance: float
    mean_variance: float
    greatest_variance: float
    constant: int
    eigenvalues: tuple[float, ...]
    effective_rank: float
    eigenvalues_of_normal: tuple[float, ...] | None
    effective_rank_of_normal: float | None
    normality: Normality | None
    cover: NormalCover | None
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_embeddings(latents: Float[np.ndarray, "N D"], episodes: Int64[np.ndarray, " N"], seed: int) -> Embeddings:
    """Measure the distribution of embeddings. It holds no more than N² numbers and a few columns beside them.

    Args:
        latents: Embeddings of at least two frames that training did not see.
        episodes: The episode of each frame.
        seed: Seed of the frame that stands for each episode, and of the samples of N(0, I).
    """
    (frames, dimensions), generator = latents.shape, np.random.default_rng([seed, *latents.shape])
    order = generator.permutation(frames)
    _, first = np.unique(episodes[order], return_index=True)
    independent = np.sort(order[first])  # (G,)
    means, variances, constant = _moments(latents)
    eigenvalues = _spectrum(latents)
    wide, few = dimensions > WIDEST, len(independent) < LEAST_TESTED
    normal = None if wide else _spectrum(generator.standard_normal(latents.shape, np.float32))
    chosen = None if wide or few else latents[independent]
    left_out = []
    if wide:
        left_out.append(
            f"Embeddings of more than {WIDEST:,} numbers are not compared with N(0, I), and their dimensions are not "
            "listed."
        )
    if few:
        left_out.append(f"Normality and coverage need {LEAST_TESTED} held-out episodes, and there are {len(first)}.")
    return Embeddings(
        frames=frames,
        episodes=len(first),
        dimensions=dimensions,
        independent=len(independent),
        means=() if wide else tuple(means.tolist()),
        variances=() if wide else tuple(variances.tolist()),
        mean_size=float(np.sqrt(np.mean(means**2))),
        least_variance=float(variances.min()),
        mean_variance=float(variances.mean()),
        greatest_variance=float(variances.max()),
        constant=int(constant.sum()),
        eigenvalues=tuple(eigenvalues.tolist()),
        effective_rank=rank_of_spectrum(eigenvalues),
        eigenvalues_of_normal=None if normal is None else tuple(normal.tolist()),
        effective_rank_of_normal=None if normal is None else rank_of_spectrum(normal),
        normality=None if chosen is None else _normality(chosen, _moments(chosen)[2]),
        cover=None if chosen is None else _cover(chosen.astype(np.float64), generator),
        left_out=tuple(left_out),
    )


def holm_rejections(p_values: Float64[np.ndarray, " T"]) -> int:
    """How many of T hypotheses are rejected, at the level 0.05 of all together: Holm's step-down procedure."""
    steps = LEVEL / np.arange(len(p_values), 0, -1)
    passed = np.sort(p_values) > steps
    return int(passed.argmax()) if passed.any() else len(p_values)


def _columns(latents: Float[np.ndarray, "N D"]) -> Iterator[Float64[np.ndarray, "N d"]]:
    """The columns, some at a time, in double precision."""
    width = max(1, NUMBERS_AT_ONCE // len(latents))
    for begin in range(0, latents.shape[1], width):
        yield latents[:, begin : begin + width].astype(np.float64)


def _moments(
    latents: Float[np.ndarray, "N D"],
) -> tuple[Float64[np.ndarray, " D"], Float64[np.ndarray, " D"], Bool[np.ndarray, " D"]]:
    """Mean and unbiased variance of each dimension, and whether it is constant."""
    means = np.concatenate([part.mean(axis=0) for part in _columns(latents)])
    variances = np.concatenate([part.var(axis=0, ddof=1) for part in _columns(latents)])
    return means, variances, np.sqrt(variances) <= CONSTANT * np.abs(means)


def _spectrum(latents: Float[np.ndarray, "N D"]) -> Float64[np.ndarray, " K"]:
    """Eigenvalues of the unbiased covariance, descending, from the smaller of the matrices X Xᵀ and Xᵀ X."""
    frames, dimensions = latents.shape
    centred = (part - part.mean(axis=0) for part in _columns(latents))
    if dimensions > frames:
        products = np.zeros((frames, frames))
        for part in centred:
            products += part @ part.T
    else:
        whole = np.concatenate(list(centred), axis=1)
        products = whole.T @ whole
    values = np.linalg.eigvalsh(products)[::-1] / (frames - 1)
    # One of N centred rows follows from the others.
    spectrum: Float64[np.ndarray, " K"] = np.maximum(values[: min(dimensions, frames - 1)], 0)
    return spectrum


def _normality(latents: Float[np.ndarray, "G D"], constant: Bool[np.ndarray, " D"]) -> Normality:
    varies = np.flatnonzero(~constant)
    p_values: list[float | None] = [None] * latents.shape[1]
    if len(varies):
        tested = normaltest(latents[:, varies].astype(np.float64)).pvalue
        for dimension, p in zip(varies.tolist(), tested.tolist(), strict=True):
            p_values[dimension] = p
    known = np.array([p for p in p_values if p is not None])
    return Normality(tuple(p_values), holm_rejections(known))


def _cover(latents: Float64[np.ndarray, "G D"], generator: np.random.Generator) -> NormalCover:
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
