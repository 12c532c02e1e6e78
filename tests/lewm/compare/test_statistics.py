"""Statistics: values by hand and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from lewm.compare.statistics import improvement, paired_test, time_ratio

RATES = st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=1, max_size=5)


def outcomes(won, lost, both=3, neither=2):
    """One run in which the second method wins and loses so many tasks."""
    first = np.array([False] * won + [True] * lost + [True] * both + [False] * neither)
    second = np.array([True] * won + [False] * lost + [True] * both + [False] * neither)
    return first[None], second[None]


def test_the_paired_test_by_hand():
    """All of 5 discordant tasks are won: 2 / 2^5. Three of 4 are: 2 (4 + 1) / 2^4."""
    assert paired_test(*outcomes(5, 0)) == pytest.approx(2 / 32)
    assert paired_test(*outcomes(3, 1)) == pytest.approx(10 / 16)
    assert paired_test(*outcomes(2, 2)) == 1
    assert paired_test(*outcomes(0, 0)) == 1


def test_tasks_on_which_both_agree_say_nothing():
    assert paired_test(*outcomes(5, 1, both=0, neither=0)) == paired_test(*outcomes(5, 1, both=90, neither=80))


def test_discordant_tasks_are_added_up_over_the_seeds():
    parts = [outcomes(3, 1, both=2, neither=2), outcomes(4, 0, both=1, neither=3)]
    first, second = (np.concatenate([part[number] for part in parts]) for number in (0, 1))
    assert paired_test(first, second) == paired_test(*outcomes(7, 1))


def test_equally_good_methods_are_rarely_told_apart():
    """Each seed has another rate, and tasks of different difficulty: the test stays below its level."""
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        chance = rng.uniform(0, 1, (3, 40)) ** rng.uniform(0.2, 3, (3, 1))  # of each task, for both methods
        first, second = (rng.uniform(size=chance.shape) < chance for _ in range(2))
        rejected += paired_test(first, second) < 0.05
    assert 0 < rejected <= 0.05 * 400 + 3 * np.sqrt(400 * 0.05 * 0.95)


@given(RATES, RATES)
def test_the_probability_of_improvement_is_the_mann_whitney_statistic(method, reference):
    """As in the published definition: U divided by the number of pairs."""
    found = improvement(method, reference)
    statistic = mannwhitneyu(method, reference, method="asymptotic").statistic
    assert found.value == pytest.approx(statistic / (len(method) * len(reference)))
    low, high = found.interval_95
    assert 0 <= low <= high <= 1
    assert improvement(reference, method).value == pytest.approx(1 - found.value)


def test_the_interval_of_improvement_is_that_of_independent_draws():
    """X has the rates 0 and 1, Y has 0.5 alone: the mean of two draws of X above Y is 0, 1/2 or 1."""
    found = improvement([0.0, 1.0], [0.5])
    assert found.value == 0.5
    assert found.interval_95 == (0, 1)
    assert improvement([0.9], [0.5]).interval_95 == (1, 1)


def test_the_ratio_of_times():
    reference = np.linspace(1, 2, 11)
    assert time_ratio(3 * reference, reference).value == pytest.approx(3)
    assert time_ratio(3 * reference, reference).interval_95 == pytest.approx((3, 3)), "the same rounds for both"
    low, high = time_ratio(3 * reference[::-1], reference).interval_95
    assert low < 2.9 < 3.1 < high


@pytest.mark.parametrize(
    "call",
    [
        lambda: improvement([], [0.5]),
        lambda: time_ratio(np.zeros(0), np.zeros(0)),
    ],
)
def test_what_cannot_be_compared_is_refused(call):
    with pytest.raises(ValueError, match="need"):
        call()
