"""The distribution of a model's embeddings: moments, spectrum, normality, and how much of N(0, I) they cover.

N frames, D latent width, E episodes, G frames, one of each episode, K eigenvalues.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.stats import normaltest

from lewm.measures.cover import NormalCover, normal_cover
from lewm.measures.latents import rank_of_spectrum
from lewm.measures.several_tests import holm

LEAST_TESTED = 20  # embeddings that a test of normality needs: its kurtosis is not approximately normal before
LEVEL = 0.05  # of the tests of all dimensions together
WIDEST = 2048  # dimensions; wider embeddings, which are maps of patches, are neither listed nor compared with N(0, I)
CONSTANT = 1e-6  # standard deviation of a constant dimension, as a share of its mean: what rounding leaves in float32
ROUNDING = 1e-9  # by which an effective rank may exceed a whole number
NUMBERS_AT_ONCE = 2**22  # of the embeddings that are held in double precision


@dataclass(frozen=True)
class Normality:
    """Tests of each dimension's normality, of its shape alone: mean and variance do not matter.

    With few embeddings a dimension may pass although it is not normal; a rejection is surer.

    Attributes:
        p_values: Those of D'Agostino and Pearson's test; None for a constant dimension, which is not tested.
        rejected: Dimensions that are not normal at the level 0.05 of all tests together, after Holm's correction.

    Source: D'Agostino and Pearson, Biometrika 60 (1973); Holm, Scand. J. Stat. 6 (1979).
    """

    p_values: tuple[float | None, ...]
    rejected: int


@dataclass(frozen=True)
class Embeddings:
    """The distribution of embeddings. The aim of SIGReg is N(0, I), so variances of 1, in all directions.

    Moments and spectrum are of all N frames. Frames of one episode are alike, and tests and coverage take their samples
    to be independent: these use as many frames as there are episodes, one of each.

    Attributes:
        frames, episodes, dimensions: N, E and D.
        means, variances: The mean and the variance of each dimension, in order; empty where there are more than
            `WIDEST`.
        mean_size: Euclidean length of the mean, divided by the root of D.
        least_variance, mean_variance, greatest_variance: The least, mean and greatest variance of a dimension.
        constant: Number of dimensions that do not vary.
        eigenvalues: The K eigenvalues of the covariance that can differ from 0, at most N - 1, descending.
        effective_rank: exp of the entropy of the eigenvalues divided by their sum.
        eigenvalues_of_normal, effective_rank_of_normal: Those of N samples of N(0, I): a perfect model's spectrum is
            not flat either, as it is estimated from N frames. None where D exceeds `WIDEST`.
        cover: How far embeddings and N(0, I) cover each other.
        used: Effective rank, rounded up: so many leading principal directions are looked at by themselves.
        cover_used: The cover in these directions, each scaled to variance 1: whether the embeddings fill the space that
            they use. Where they leave a direction out, `cover` is near 0, however they are distributed in the others.
        normality, cover, cover_used: None where there are fewer than `LEAST_TESTED` episodes, or D exceeds `WIDEST`.
        left_out: Sentences that say what was not measured, and why.

    Source: effective rank by Roy and Vetterli, EUSIPCO 2007, on the covariance.
    """

    frames: int
    episodes: int
    dimensions: int
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
    used: int
    cover_used: NormalCover | None
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_embeddings(latents: Float[np.ndarray, "N D"], episodes: Int64[np.ndarray, " N"], seed: int) -> Embeddings:
    """Measure the distribution of embeddings.

    It holds some copies of `latents` in double precision and some matrices of E² numbers. Where D exceeds `WIDEST`, it
    holds matrices of N² numbers, and copies of some columns at a time.

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
    rank = rank_of_spectrum(eigenvalues)
    used = math.ceil(rank - ROUNDING)
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
        means=() if wide else tuple(means.tolist()),
        variances=() if wide else tuple(variances.tolist()),
        mean_size=float(np.sqrt(np.mean(means**2))),
        least_variance=float(variances.min()),
        mean_variance=float(variances.mean()),
        greatest_variance=float(variances.max()),
        constant=int(constant.sum()),
        eigenvalues=tuple(eigenvalues.tolist()),
        effective_rank=rank,
        eigenvalues_of_normal=None if normal is None else tuple(normal.tolist()),
        effective_rank_of_normal=None if normal is None else rank_of_spectrum(normal),
        normality=None if chosen is None else _normality(chosen, _moments(chosen)[2]),
        cover=None if chosen is None else normal_cover(chosen.astype(np.float64), generator),
        used=used,
        cover_used=None if chosen is None else normal_cover(_whitened(latents, used)[independent], generator),
        left_out=tuple(left_out),
    )


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


def _whitened(latents: Float[np.ndarray, "N D"], directions: int) -> Float64[np.ndarray, "N d"]:
    """Latents along their leading principal directions, each scaled to variance 1; 0 along one without variance."""
    centred = np.concatenate(list(_columns(latents)), axis=1)
    centred -= centred.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    whitened: Float64[np.ndarray, "N d"] = left[:, :directions] * (sizes[:directions] > 0) * np.sqrt(len(latents) - 1)
    return whitened


def _normality(latents: Float[np.ndarray, "G D"], constant: Bool[np.ndarray, " D"]) -> Normality:
    varies = np.flatnonzero(~constant)
    p_values: list[float | None] = [None] * latents.shape[1]
    if len(varies):
        tested = normaltest(latents[:, varies].astype(np.float64)).pvalue
        for dimension, p in zip(varies.tolist(), tested.tolist(), strict=True):
            p_values[dimension] = p
    corrected = holm([p for p in p_values if p is not None])
    return Normality(tuple(p_values), sum(p <= LEVEL for p in corrected))
