"""How sure it is that one method is better than another.

S runs (training seeds), T tasks of a run, X and Y runs of two methods, R rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import binomtest

from lewm.measures.intervals import Estimate, percentile_interval

RESAMPLES = 10_000


def paired_test(first: Bool[np.ndarray, "S T"], second: Bool[np.ndarray, "S T"]) -> float:
    """Two-sided p-value for two methods that tried the same tasks with each seed.

    A task that both methods solve, or neither, says nothing about which is better. The others are the discordant ones.
    Each of them is as likely to be won by either method if the methods are equally good with every seed. So the number
    that the second method wins, added up over the seeds, is Binomial(n, 1/2) given that n are discordant: McNemar's
    exact test, with the seeds as strata. It needs no assumption about how hard the tasks of a seed are, nor about how
    much the seeds differ in the share of tasks that is solved.

    What it says: whether these runs differ on tasks such as these. All tasks of a seed are tried with the same two
    runs, so a run that was lucky in its training is lucky in all of them: a small p-value does not say that runs that
    were not trained would differ, too. The spread over seeds is in the intervals of `lewm.measures.several_runs`.

    Source: McNemar, Psychometrika 12 (1947); exact, and for several strata, as the conditional test of Cox, Biometrika
    45 (1958).

    Args:
        first: For each run, which of its tasks the first method solved.
        second: For the runs of the same seeds, which of the same tasks the second method solved.
    """
    won, lost = int((second & ~first).sum()), int((first & ~second).sum())
    return 1.0 if won + lost == 0 else float(binomtest(won, won + lost).pvalue)


def improvement(method: Sequence[float], reference: Sequence[float], seed: int = 0) -> Estimate:
    """Probability that a run of a method solves more than a run of the reference; equal rates count one half.

    The interval is a percentile interval of a bootstrap that draws the runs of either method with replacement, each
    independently of the other's. With few runs it is wide, and with one run of each it has no width at all.

    Source: Agarwal et al., arXiv 2108.13264, section 4.3; this is their definition in one world.

    Args:
        method: Success rates of the method's X runs.
        reference: Success rates of the reference's Y runs.
        seed: Seed of the resamples.

    Raises:
        ValueError: A method has no run.
    """
    if not method or not reference:
        raise ValueError("both methods need a run")
    generator = np.random.default_rng(seed)
    x, y = np.asarray(method, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # (X, Y)
    rows = generator.integers(len(x), size=(RESAMPLES, len(x)))
    columns = generator.integers(len(y), size=(RESAMPLES, len(y)))
    resampled = wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    return Estimate(float(wins.mean()), percentile_interval(resampled))


def time_ratio(method: Float64[np.ndarray, " R"], reference: Float64[np.ndarray, " R"], seed: int = 0) -> Estimate:
    """How many times as long a decision of the method takes: the ratio of the medians over the rounds.

    In each round both were timed, one after the other, so that what slows the machine for a while slows both. The
    interval is a percentile interval of a bootstrap over rounds.

    Args:
        method: Seconds of the method.
        reference: Seconds of the reference in the same rounds.
        seed: Seed of the resamples.

    Raises:
        ValueError: There is no round.
    """
    if not len(method):
        raise ValueError("the ratio needs a round")
    rounds = np.random.default_rng(seed).integers(len(method), size=(RESAMPLES, len(method)))
    resampled = np.median(method[rounds], axis=1) / np.median(reference[rounds], axis=1)
    return Estimate(float(np.median(method) / np.median(reference)), percentile_interval(resampled))
