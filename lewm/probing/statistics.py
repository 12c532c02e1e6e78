"""Scores that say how good predictions are, with bootstrap intervals over episodes.

N test frames, E test episodes, C numbers of a quantity, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from lewm.measures.intervals import Estimate, percentile_interval

RESAMPLES = 1000
FLAT = 1e-12  # a smaller variance of values on the scale of z-scores is only rounding


@dataclass(frozen=True)
class Scores:
    """How well a quantity was predicted; each of its numbers is z-scored with the train episodes' mean and deviation.

    Attributes:
        mse: Squared error, the mean over frames and numbers.
        r: Pearson's correlation of truth and prediction over frames, averaged over numbers; 0 for constant predictions.
        r2: 1 - mse / variance, averaged over numbers; the variance is that of the truth about its mean over the test
            frames. Predicting that mean would give 0; a probe can fall below.
    """

    mse: Estimate
    r: Estimate
    r2: Estimate


def episode_sums(
    truth: Float64[np.ndarray, "N C"], predicted: Float64[np.ndarray, "N C"], episode: Int64[np.ndarray, " N"]
) -> Float64[np.ndarray, "E C 7"]:
    """The sums over each episode from which the scores are computed; the frames of an episode follow each other."""
    terms = [np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted, (truth - predicted) ** 2]
    begins = np.flatnonzero(np.diff(episode, prepend=-1))
    return np.add.reduceat(np.stack(terms, axis=-1), begins, axis=0)


def resample(episodes: int, seed: int) -> Float64[np.ndarray, "R E"]:
    """How often each episode is drawn, with replacement, in each resample."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(episodes, np.full(episodes, 1 / episodes), size=RESAMPLES).astype(np.float64)


def score(sums: Float64[np.ndarray, "E C 7"], draws: Float64[np.ndarray, "R E"]) -> Scores:
    """Scores with percentile intervals over resamples of the episodes.

    The probe stays as it was fitted: the intervals say how scores vary with the episodes tested on, not with training.
    """
    whole = _scores(sums.sum(axis=0))
    drawn = _scores(np.tensordot(draws, sums, axes=1))
    pairs = zip(whole, drawn, strict=True)
    return Scores(*(Estimate(float(value), percentile_interval(values)) for value, values in pairs))


def mse_difference(
    ours: Float64[np.ndarray, "E C 7"], theirs: Float64[np.ndarray, "E C 7"], draws: Float64[np.ndarray, "R E"]
) -> Estimate:
    """Our mean squared error less theirs, on the same episodes in every resample; below 0 where ours is better."""
    whole = _scores(ours.sum(axis=0))[0] - _scores(theirs.sum(axis=0))[0]
    drawn = _scores(np.tensordot(draws, ours, axes=1))[0] - _scores(np.tensordot(draws, theirs, axes=1))[0]
    return Estimate(float(whole), percentile_interval(drawn))


def _scores(
    sums: Float64[np.ndarray, "*draws C 7"],
) -> tuple[Float[np.ndarray, "*draws"], Float[np.ndarray, "*draws"], Float[np.ndarray, "*draws"]]:
    """mse, r and r2; the last two are NaN where the truth is constant."""
    count, *totals = np.moveaxis(sums, -1, 0)  # (*draws, C) each
    y, p, yy, pp, yp, error = (total / count for total in totals)
    variance, spread, covariance = yy - y**2, pp - p**2, yp - y * p
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(spread > FLAT, covariance / np.sqrt(variance * spread), 0.0)
        r = np.where(variance > FLAT, r, np.nan).mean(axis=-1)
        mse, level = error.mean(axis=-1), variance.mean(axis=-1)
        r2 = np.where(level > FLAT, 1 - mse / level, np.nan)
    return np.asarray(mse), np.asarray(r), r2
