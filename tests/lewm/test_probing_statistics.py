"""Scores are what their definitions say, and intervals cover the truth as often as they claim."""

import numpy as np
import pytest

from lewm.measures.intervals import Estimate
from lewm.probing import statistics
from lewm.probing.report import Comparison
from lewm.probing.statistics import episode_sums, mse_difference, resample, score


def draw(rng, episodes, length=5, numbers=2):
    episode = np.repeat(np.arange(episodes), length)
    truth = rng.normal(size=(episodes * length, numbers))
    return truth, episode


def test_scores_equal_their_definitions():
    rng = np.random.default_rng(0)
    truth, episode = draw(rng, 8)
    predicted = 0.7 * truth + rng.normal(scale=0.4, size=truth.shape) + 0.2
    scores = score(episode_sums(truth, predicted, episode), resample(8, seed=0))
    error = ((truth - predicted) ** 2).mean()
    correlations = [np.corrcoef(truth[:, i], predicted[:, i])[0, 1] for i in range(2)]
    assert scores.mse.value == pytest.approx(error)
    assert scores.r.value == pytest.approx(np.mean(correlations))
    assert scores.r2.value == pytest.approx(1 - error / truth.var(axis=0).mean())
    for estimate in (scores.mse, scores.r, scores.r2):
        assert estimate.interval_95[0] < estimate.value < estimate.interval_95[1]


def test_episodes_of_unequal_length_are_drawn_whole():
    truth = np.array([[1.0], [2.0], [3.0], [10.0]])
    predicted = truth + np.array([[0.0], [0.0], [0.0], [2.0]])
    sums = episode_sums(truth, predicted, np.array([0, 0, 0, 1]))
    assert sums.shape == (2, 1, 7)
    both, first = score(sums, np.array([[1.0, 1.0]])), score(sums, np.array([[2.0, 0.0]]))
    assert both.mse.interval_95 == (1.0, 1.0)
    assert first.mse.interval_95 == (0.0, 0.0)
    assert first.r.interval_95 == pytest.approx((1.0, 1.0))


def test_a_perfect_prediction_and_a_constant_one():
    truth, episode = draw(np.random.default_rng(1), 6)
    draws = resample(6, seed=0)
    perfect = score(episode_sums(truth, truth.copy(), episode), draws)
    assert (perfect.mse.value, perfect.r.value, perfect.r2.value) == pytest.approx((0, 1, 1))
    constant = score(episode_sums(truth, np.zeros_like(truth), episode), draws)
    assert constant.r == Estimate(0.0, (0.0, 0.0))
    assert constant.r2.value <= 0


def test_noise_has_an_r_whose_interval_covers_zero():
    rng = np.random.default_rng(2)
    truth, episode = draw(rng, 40, length=10)
    scores = score(episode_sums(truth, rng.normal(size=truth.shape), episode), resample(40, seed=0))
    assert scores.r.interval_95[0] < 0 < scores.r.interval_95[1]
    assert abs(scores.r.value) < 0.15


def test_the_interval_covers_the_truth_about_as_often_as_it_claims():
    """Errors that an episode's frames share: intervals over frames would cover far too seldom."""
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        truth, episode = draw(rng, 40, numbers=1)
        errors = rng.normal(size=40)[episode][:, None]
        low, high = score(episode_sums(truth, truth + errors, episode), resample(40, seed=trial)).mse.interval_95
        covered += low <= 1 <= high  # the expected square of a standard normal
    assert 0.87 <= covered / 300 <= 0.98


def test_a_paired_comparison_sees_what_separate_intervals_hide():
    rng = np.random.default_rng(4)
    truth, episode = draw(rng, 20)
    hard = rng.uniform(0.1, 3, size=20)[episode][:, None]  # the difficulty of each episode for both
    noise = rng.normal(size=truth.shape) * hard
    draws = resample(20, seed=0)
    ours, theirs = (episode_sums(truth, truth + scale * noise, episode) for scale in (0.9, 1.0))
    first, second = score(ours, draws).mse.interval_95, score(theirs, draws).mse.interval_95
    assert first[1] > second[0], "the intervals overlap"
    difference = mse_difference(ours, theirs, draws)
    assert difference.interval_95[1] < 0
    assert Comparison.of("agent", "mlp", "pixel PCA", difference).verdict == "better"
    assert Comparison.of("agent", "mlp", "pixel PCA", mse_difference(theirs, ours, draws)).verdict == "worse"
    assert (
        Comparison.of("agent", "mlp", "pixel PCA", mse_difference(ours, ours, draws)).verdict == "no difference shown"
    )


def test_resamples_draw_as_many_episodes_as_there_are():
    draws = resample(7, seed=5)
    assert draws.shape == (statistics.RESAMPLES, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert np.array_equal(draws, resample(7, seed=5))
    assert not np.array_equal(draws, resample(7, seed=6))


def test_resamples_without_variation_are_left_out():
    """Two test episodes, each of one value: half of the resamples have no correlation."""
    truth = np.repeat([[0.0], [1.0]], 3, axis=0)
    predicted = truth + np.array([[0.1], [0.0], [-0.1]] * 2)
    scores = score(episode_sums(truth, predicted, np.repeat([0, 1], 3)), resample(2, seed=0))
    assert np.isfinite([*scores.r.interval_95, *scores.r2.interval_95]).all()
