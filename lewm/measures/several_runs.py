"""Success over several training runs, with an interval over runs and tasks.

The conventions are those of rliable. A score is the success rate of one run in one world; the scores of all runs and
worlds are summed up by their interquartile mean, and the interval is a percentile interval of a stratified bootstrap.

Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", arXiv 2108.13264,
section 4; resampling at two levels: Davison and Hinkley, "Bootstrap methods and their application" (1997), section 3.8.
Differs: the tasks on which a score was measured are resampled, too. What that paper calls a task is a world here.

N scores, S runs (training seeds) of a world, T tasks of a run, K kinds of outcome of a task, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.stats import trim_mean

from lewm.measures.intervals import Estimate, percentile_interval, wilson_interval

RESAMPLES = 20_000
TRIMMED = 0.25  # of the scores at each end, rounded down to whole scores

Counts = Sequence[tuple[int, int]]  # (solved, tasks) of each run of a world


def interquartile_mean(scores: Float64[np.ndarray, "*R N"]) -> Float64[np.ndarray, "*R"]:
    """The mean of the middle half of N scores; of three scores, the mean of all.

    Scores are success rates, not single tasks: the middle half of tasks that are solved or not is often all the same.
    """
    return np.asarray(trim_mean(scores, TRIMMED, axis=-1))


def success_over_runs(worlds: Sequence[Counts], seed: int = 0) -> Estimate:
    """Interquartile mean of the success rates of all runs in all worlds, with its 95 % interval.

    In each resample, as many runs as a world has are drawn from its runs with replacement; then, for each of them, as
    many tasks as it has are drawn from its tasks with replacement. Runs do not share tasks: `lewm plan` draws them from
    the episodes that a run's training did not see. The worlds are strata: each resample has all of them.

    What the interval covers: with one run, only its tasks; `wilson_interval` is the better one then. For S runs, let a
    be the variance of their true rates, and b that of a measured rate about its true one. The mean of the measured
    rates has the variance (a + b) / S. The bootstrap's variance is on average (1 - 1/S) (a + b) / S + b / S: too much
    where runs hardly differ, too little where they differ by more than their tasks explain. The interval of three runs
    then goes from the worst run to the best, since all draws are the worst run in 1 of 27 resamples; it contains the
    median of all runs that could be trained with the probability 1 - 2^(1 - S), which is 75 %. Where all tasks were
    solved, or none, resampling shows no spread at all: then the interval is Wilson's, of all tasks together.

    Args:
        worlds: For each world, the solved tasks and all tasks of each run.
        seed: Seed of the resamples.

    Raises:
        ValueError: There is no world, a world has no run, or a count is impossible.
    """
    impossible = [counts for counts in worlds if not counts or any(not 0 <= k <= n or n == 0 for k, n in counts)]
    if impossible or not worlds:
        raise ValueError(f"each world has runs with (solved, tasks), got {impossible or worlds}")
    generator = np.random.default_rng(seed)
    outcomes = [np.array([(solved, tasks - solved) for solved, tasks in counts]) for counts in worlds]
    drawn = [_resampled(world, generator) for world in outcomes]
    rates, resampled = (np.concatenate([_share(world, [0]) for world in some], axis=-1) for some in (outcomes, drawn))
    value = float(interquartile_mean(rates))
    solved, tasks = (sum(counts) for counts in zip(*(run for world in worlds for run in world), strict=True))
    if solved in (0, tasks):
        return Estimate(value, wilson_interval(solved, tasks))
    return Estimate(value, percentile_interval(interquartile_mean(resampled)))


def paired_difference(first: Bool[np.ndarray, "S T"], second: Bool[np.ndarray, "S T"], seed: int = 0) -> Estimate:
    """The second agent's interquartile mean less the first's, where both tried the same tasks with the same runs.

    Runs and tasks are resampled as in `success_over_runs`; each resample has the same runs and tasks for both agents,
    so that the interval is narrow where they solve the same tasks.

    Where one agent solved no task that the other did not, resampling takes it for certain that it never would. Then the
    interval is longer on that side: the share of such tasks may be as large as Wilson's upper bound of 0 of all tasks,
    and that bound is added in squares to the distance from the value to the interval's end. Where the agents agree in
    all tasks, the interval is the bound itself on both sides.

    Source: limits of a difference from those of its two parts: Zou and Donner, Stat. Med. 27 (2008).

    Args:
        first: For each run, which of its tasks the first agent solved.
        second: For the same runs, which of the same tasks the second agent solved.
        seed: Seed of the resamples.

    Raises:
        ValueError: There is no run or no task, or the agents' runs or tasks are not equal in number.
    """
    if first.shape != second.shape or first.size == 0:
        raise ValueError(f"both agents have the same tasks of each run, got {first.shape} and {second.shape}")
    outcomes = np.stack([first & second, first & ~second, ~first & second, ~first & ~second], axis=-1).sum(axis=1)
    value, resampled = (
        interquartile_mean(_share(some, [0, 2])) - interquartile_mean(_share(some, [0, 1]))
        for some in (outcomes, _resampled(outcomes, np.random.default_rng(seed)))
    )
    low, high = percentile_interval(resampled)
    _, unseen = wilson_interval(0, first.size)
    if not outcomes[:, 1].any():  # kinds as above: the first agent alone
        low = max(-1.0, float(value) - math.hypot(float(value) - low, unseen))
    if not outcomes[:, 2].any():
        high = min(1.0, float(value) + math.hypot(high - float(value), unseen))
    return Estimate(float(value), (low, high))


def _resampled(outcomes: Int64[np.ndarray, "S K"], generator: np.random.Generator) -> Int64[np.ndarray, "R S K"]:
    """How many tasks of each kind there are when runs, and then tasks of each, are drawn with replacement."""
    runs = generator.integers(len(outcomes), size=(RESAMPLES, len(outcomes)))
    tasks = outcomes.sum(axis=-1)
    return generator.multinomial(tasks[runs], (outcomes / tasks[:, None])[runs])


def _share(outcomes: Int64[np.ndarray, "*R S K"], kinds: list[int]) -> Float64[np.ndarray, "*R S"]:
    """The share of each run's tasks whose outcome is one of some kinds."""
    return np.asarray(outcomes[..., kinds].sum(axis=-1) / outcomes.sum(axis=-1))
