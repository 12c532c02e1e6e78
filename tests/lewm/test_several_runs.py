"""Success over several runs: values by hand, and how often intervals cover the truth."""

import numpy as np
import pytest
from scipy.stats import binom

from lewm.measures import several_runs
from lewm.measures.intervals import wilson_interval
from lewm.measures.several_runs import interquartile_mean, paired_difference, success_over_runs

RATE = 0.8  # the mean success rate of simulated runs


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    scores = np.array([0.9, 0.1, 0.5, 0.4, 0.8, 0.0, 0.7, 1.0])
    assert interquartile_mean(scores) == pytest.approx((0.4 + 0.5 + 0.7 + 0.8) / 4)
    assert interquartile_mean(np.array([0.0, 0.6, 0.9])) == pytest.approx(0.5), "a quarter of three is no whole score"


def test_one_run_has_the_quantiles_of_the_binomial_distribution():
    low, high = success_over_runs([[(150, 200)]]).interval_95
    assert (low, high) == pytest.approx(tuple(binom.ppf([0.025, 0.975], 200, 0.75) / 200), abs=0.0051)


def test_five_runs_without_noise_of_tasks():
    """How many of five draws are the one good run is Binomial(5, 1/5): more than 2 with 5.8 %, more than 3 with 0.7 %.

    The interquartile mean leaves out one draw at each end; the 97.5 % quantile of 3 good draws is (0 + 1 + 1) / 3.
    """
    found = success_over_runs([[(0, 50)] * 4 + [(50, 50)]])
    assert found.value == 0
    assert found.interval_95 == pytest.approx((0, 2 / 3))


def test_three_runs_without_noise_of_tasks_go_from_the_worst_to_the_best():
    found = success_over_runs([[(10, 10), (0, 10), (10, 10)]])
    assert found.value == pytest.approx(2 / 3)
    assert found.interval_95 == (0, 1)


@pytest.mark.parametrize("solved", [0, 200])
def test_where_all_tasks_or_none_are_solved_the_interval_is_still_one(solved):
    found = success_over_runs([[(solved, 200)] * 3])
    assert found.value == solved / 200
    assert found.interval_95 == wilson_interval(3 * solved, 600)
    assert 0.006 < found.interval_95[1] - found.interval_95[0] < 0.007


def test_worlds_are_strata_of_which_every_resample_has_all():
    """With worlds drawn, too, the interval would reach 0 and 1."""
    found = success_over_runs([[(0, 10), (0, 10)], [(10, 10), (10, 10)]])
    assert found.value == 0.5
    assert found.interval_95 == (0.5, 0.5)


def test_the_difference_on_the_same_tasks_by_hand():
    """The second agent solves 5 of 10 tasks that the first does not: Binomial(10, 1/2) has the quantiles 2 and 8.

    None is the other way round, of which the share may be z² / (10 + z²) = 0.2775: 0.5 - √(0.3² + 0.2775²) = 0.0913.
    """
    first = np.array([[True] * 3 + [False] * 7])
    second = np.array([[True] * 8 + [False] * 2])
    found = paired_difference(first, second)
    assert found.value == pytest.approx(0.5)
    assert found.interval_95 == pytest.approx((0.0913, 0.8), abs=1e-4)
    mirrored = paired_difference(second, first)
    assert mirrored.value == -found.value
    assert mirrored.interval_95 == pytest.approx((-0.8, -0.0913), abs=1e-4)


def test_the_interval_is_that_of_the_resamples_where_each_agent_solves_a_task_that_the_other_does_not():
    """One of 10 tasks is lost and one is won: 97.5 % of the differences of two such counts are at most 3."""
    first = np.array([[True, False] + [True] * 8])
    second = np.array([[False, True] + [True] * 8])
    assert paired_difference(first, second).interval_95 == pytest.approx((-0.3, 0.3))


@pytest.mark.parametrize(("shape", "most"), [((1, 4), 0.4899), ((3, 200), 0.0064)])
def test_agents_that_agree_in_all_tasks_may_still_differ_in_others(shape, most):
    """They may differ on z² / (n + z²) of n tasks."""
    same = np.arange(np.prod(shape)).reshape(shape) % 2 == 0
    assert paired_difference(same, same).value == 0
    assert paired_difference(same, same).interval_95 == pytest.approx((-most, most), abs=1e-4)


@pytest.mark.parametrize("won", [0.0, 0.005, 0.02])
def test_a_difference_without_a_loss_is_covered(monkeypatch, won):
    """The second agent fails in 1 of 200 tasks that the first solves, which 200 tasks often do not show."""
    monkeypatch.setattr(several_runs, "RESAMPLES", 1000)
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        kinds = rng.choice(3, size=(1, 200), p=[1 - won - 0.005, won, 0.005])
        low, high = paired_difference(kinds == 2, kinds == 1, seed=trial).interval_95
        covered += low <= won - 0.005 <= high
    assert covered / 300 >= 0.9


def test_the_same_tasks_show_what_separate_intervals_hide():
    rng = np.random.default_rng(1)
    first = rng.random((3, 200)) < np.array([[0.4], [0.5], [0.6]])
    second = first | (rng.random((3, 200)) < 0.2)
    apart = [success_over_runs([[(int(run.sum()), 200) for run in agent]]).interval_95 for agent in (first, second)]
    assert apart[0][1] > apart[1][0], "the intervals overlap"
    assert paired_difference(first, second).interval_95[0] > 0


def test_a_seed_repeats_the_interval():
    worlds = [[(150, 200), (140, 200), (170, 200)]]
    assert success_over_runs(worlds) == success_over_runs(worlds)
    assert success_over_runs(worlds, seed=1).value == success_over_runs(worlds).value
    assert success_over_runs(worlds, seed=1).interval_95 != success_over_runs(worlds).interval_95


@pytest.mark.parametrize(
    ("runs", "spread", "least", "most"),
    [
        (3, 0.0, 0.96, 1.0),  # wider than needed: by (1 - 1/S) + 1 of the variance
        (3, 0.15, 0.65, 0.85),  # as the docstring says: about 75 %
        (10, 0.15, 0.85, 0.95),
        (10, 0.0, 0.96, 1.0),
    ],
)
def test_how_often_the_interval_covers_the_mean_of_all_runs(monkeypatch, runs, spread, least, most):
    """Runs whose true rates are RATE ± spread times a uniform number, with 200 tasks each."""
    monkeypatch.setattr(several_runs, "RESAMPLES", 1000)
    rng = np.random.default_rng(runs)
    covered = 0
    for trial in range(400):
        solved = rng.binomial(200, RATE + spread * rng.uniform(-1, 1, runs))
        low, high = success_over_runs([[(int(one), 200) for one in solved]], seed=trial).interval_95
        covered += low <= RATE <= high
    assert least <= covered / 400 <= most


def test_the_variance_of_resamples_is_the_one_that_the_docstring_gives(monkeypatch):
    runs, tasks, spread = 3, 200, 0.05
    drawn = []

    def interval(resampled):
        drawn.append(resampled.var())
        return 0.0, 1.0

    monkeypatch.setattr(several_runs, "percentile_interval", interval)
    monkeypatch.setattr(several_runs, "RESAMPLES", 1000)
    rng = np.random.default_rng(2)
    for trial in range(1000):
        solved = rng.binomial(tasks, RATE + rng.uniform(-spread, spread, runs))
        success_over_runs([[(int(one), tasks) for one in solved]], seed=trial)
    a = spread**2 / 3
    b = (RATE * (1 - RATE) - a) / tasks
    assert np.mean(drawn) == pytest.approx((1 - 1 / runs) * (a + b) / runs + b / runs, rel=0.05)


@pytest.mark.parametrize("worlds", [[], [[]], [[(1, 2)], []], [[(3, 2)]], [[(-1, 2)]], [[(0, 0)]]])
def test_refuses_impossible_counts(worlds):
    with pytest.raises(ValueError, match=r"runs with \(solved, tasks\)"):
        success_over_runs(worlds)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_refuses_no_run_and_no_task(shape):
    with pytest.raises(ValueError, match="same tasks of each run"):
        paired_difference(np.zeros(shape, bool), np.zeros(shape, bool))
