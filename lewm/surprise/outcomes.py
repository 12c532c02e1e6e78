"""The outcomes of a suite: perturbed episodes against untouched ones, and how often untouched frames are flagged.

E episodes, T frames of an episode, W frames watched around the onset, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import stats

from lewm.surprise.calibration import Calibration, windowed

BEFORE, AFTER = 15, 20  # how many frames are watched before the onset, and from the onset on
PEAK_STEPS = 2  # model steps after the onset in which the peak is looked for
RESAMPLES = 1000  # resamples of the bootstrap

Flags = Callable[[Float64[np.ndarray, " T"]], Bool[np.ndarray, " T"]]  # from surprise to what is flagged


@dataclass(frozen=True)
class Outcome:
    """One perturbation compared with the untouched twins, by the peak of surprise in two model steps after the onset.

    Attributes:
        perturbation: What happened.
        actions: "known" or "unknown".
        surprise, untouched: Mean peak of the perturbed episodes and of the untouched ones.
        p_value: p-value of the paired t-test, two-sided; None where no pair differs.
        effect_size: Cohen's d of the pairs: mean difference over its standard deviation; None where no pair differs.
        auroc: Chance that a perturbed peak is higher than an untouched one.
        detected: Share of the episodes in which one of the 20 frames from the onset on was flagged.
        delay: Frames from the onset to the first flag, median over the detected episodes; None where there are none.
    """

    perturbation: str
    actions: str
    surprise: float
    untouched: float
    p_value: float | None
    effect_size: float | None
    auroc: float
    detected: float
    delay: float | None


@dataclass(frozen=True)
class FalseAlarms:
    """How often frames of untouched episodes were flagged, with a 95 % bootstrap interval over episodes.

    The interval covers the randomness of the calibration as well: alpha lies in it, unless untouched episodes differ
    from the clean ones.
    """

    actions: str
    flagged: int
    frames: int
    rate: float
    interval_95: tuple[float, float]


@dataclass(frozen=True)
class Curves:
    """Surprise around the onset, one row for each episode."""

    perturbation: str
    actions: str
    untouched: Float64[np.ndarray, "E W"]
    perturbed: Float64[np.ndarray, "E W"]


def compare(
    perturbation: str,
    actions: str,
    untouched: Sequence[Float64[np.ndarray, " _"]],
    perturbed: Sequence[Float64[np.ndarray, " _"]],
    onsets: Int64[np.ndarray, " E"],
    frameskip: int,
    flags: Flags,
) -> tuple[Outcome, Curves]:
    """One perturbation's outcome, from the surprise of every frame of the untouched and the perturbed episodes."""
    curves = Curves(perturbation, actions, _around(untouched, onsets), _around(perturbed, onsets))
    looked_at = slice(BEFORE, BEFORE + PEAK_STEPS * frameskip)
    clean, changed = curves.untouched[:, looked_at].max(axis=1), curves.perturbed[:, looked_at].max(axis=1)
    difference = changed - clean
    spread = float(difference.std(ddof=1))
    flagged = [flags(scores)[onset : onset + AFTER] for scores, onset in zip(perturbed, onsets, strict=True)]
    delays = [int(one.argmax()) for one in flagged if one.any()]
    outcome = Outcome(
        perturbation=perturbation,
        actions=actions,
        surprise=float(changed.mean()),
        untouched=float(clean.mean()),
        p_value=float(stats.ttest_rel(changed, clean).pvalue) if spread else None,
        effect_size=float(difference.mean()) / spread if spread else None,
        auroc=float(stats.mannwhitneyu(changed, clean).statistic) / (len(changed) * len(clean)),
        detected=len(delays) / len(onsets),
        delay=float(np.median(delays)) if delays else None,
    )
    return outcome, curves


def false_alarms(
    actions: str,
    untouched: Sequence[Float64[np.ndarray, " _"]],
    calibration: Calibration,
    frameskip: int,
    alpha: float,
    seed: int,
) -> FalseAlarms:
    """How many of the frames that have a score are flagged.

    Frames of an episode are alike, so episodes are resampled for the interval, and so are the calibration's clean ones.
    """
    every = [calibration.combined(scores, windowed(scores, frameskip)) for scores in untouched]
    scored = [scores[~np.isnan(scores)] for scores in every]
    scores = np.concatenate(scored)
    episode = np.repeat(np.arange(len(scored)), [len(one) for one in scored])
    rng = np.random.default_rng([seed, 2])
    rates = []
    for clean_drawn, drawn in zip(
        _resampled(rng, int(calibration.episode.max()) + 1), _resampled(rng, len(scored)), strict=True
    ):
        counted = clean_drawn[calibration.episode] * calibration.weight
        above = np.cumsum(counted[::-1])  # clean frames at least as high, from the highest on
        allowed = np.searchsorted(above, alpha * (1 + above[-1]) - 1 + 1e-9, side="right")
        weights = drawn[episode]
        flagged = scores > calibration.clean[::-1][min(int(allowed), len(above) - 1)]
        rates.append(float((weights * flagged).sum() / weights.sum()))
    low, high = np.quantile(rates, (0.025, 0.975))
    count = int((scores > calibration.threshold(alpha)).sum())
    return FalseAlarms(actions, count, len(scores), count / len(scores), (float(low), float(high)))


def _resampled(rng: np.random.Generator, episodes: int) -> Int64[np.ndarray, "R E"]:
    """How often each episode is drawn, with replacement, in each resample."""
    return rng.multinomial(episodes, np.full(episodes, 1 / episodes), RESAMPLES)


def _around(
    episodes: Sequence[Float64[np.ndarray, " _"]], onsets: Int64[np.ndarray, " E"]
) -> Float64[np.ndarray, "E W"]:
    return np.stack([scores[o - BEFORE : o + AFTER] for scores, o in zip(episodes, onsets, strict=True)])
