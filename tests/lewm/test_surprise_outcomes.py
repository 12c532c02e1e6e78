"""What a suite says of scores: separation, tests, delays, and false alarms with an honest interval."""

import numpy as np

from lewm.surprise.calibration import of_scores
from lewm.surprise.outcomes import AFTER, BEFORE, compare, false_alarms


def cases(seed, count=30, frames=60):
    rng = np.random.default_rng(seed)
    onsets = rng.integers(BEFORE, frames - AFTER, count)
    return rng.uniform(1, 2, (count, frames)), onsets


def test_a_clear_event_separates_perfectly_and_its_delay_is_found():
    clean, onsets = cases(0)
    perturbed = clean.copy()
    for scores, onset in zip(perturbed, onsets, strict=True):
        scores[onset + 3] = 50
    outcome, curves = compare("jump", "known", list(clean), list(perturbed), onsets, 5, lambda scores: scores > 10)
    assert outcome.auroc == 1
    assert outcome.detected == 1
    assert outcome.delay == 3
    assert outcome.p_value is not None
    assert outcome.p_value < 1e-20
    assert outcome.effect_size is not None
    assert outcome.effect_size > 10
    assert outcome.surprise == 50
    assert (curves.perturbed[:, BEFORE + 3] == 50).all()
    assert (curves.untouched < 2).all()


def test_nothing_happening_is_chance_and_has_no_test():
    clean, onsets = cases(1)
    outcome, _ = compare("nothing", "known", list(clean), list(clean), onsets, 5, lambda scores: scores > 10)
    assert outcome.auroc == 0.5
    assert (outcome.p_value, outcome.effect_size, outcome.delay, outcome.detected) == (None, None, None, 0)


def test_the_paired_test_sees_small_differences_that_episodes_hide():
    clean, onsets = cases(2, count=40)
    clean *= np.linspace(1, 20, 40)[:, None]
    noise = np.random.default_rng(3).normal(0.1, 0.1, clean.shape)
    outcome, _ = compare("small", "known", list(clean), list(clean + noise), onsets, 5, lambda scores: scores > 1e9)
    assert outcome.p_value is not None
    assert outcome.p_value < 1e-3
    assert 0.45 < outcome.auroc < 0.6


def clean_episodes(rng, count):
    """Scores that are alike within an episode, and differ much between them."""
    return [np.concatenate([np.full(5, np.nan), rng.gamma(2, rng.gamma(2), 25)]) for _ in range(count)]


def test_false_alarms_are_those_above_the_threshold_of_frames_with_a_score():
    rng = np.random.default_rng(0)
    calibration, fresh = of_scores(clean_episodes(rng, 100), 5), clean_episodes(rng, 50)
    alarms = false_alarms("known", fresh, calibration, 5, 0.05, seed=0)
    assert alarms.frames == 50 * 25
    assert alarms.flagged == sum(calibration.flags(one, 5, 0.05).sum() for one in fresh)
    assert alarms.rate == alarms.flagged / alarms.frames
    low, high = alarms.interval_95
    assert low < alarms.rate < high
    assert alarms == false_alarms("known", fresh, calibration, 5, 0.05, seed=0)


def test_the_interval_of_false_alarms_holds_alpha_as_often_as_it_says():
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        calibration = of_scores(clean_episodes(rng, 60), 5)
        low, high = false_alarms("known", clean_episodes(rng, 60), calibration, 5, 0.05, seed).interval_95
        held.append(low <= 0.05 <= high)
    assert np.mean(held) >= 0.85


def test_episodes_that_differ_from_the_clean_ones_show():
    rng = np.random.default_rng(0)
    calibration = of_scores(clean_episodes(rng, 100), 5)
    strange = [3 * one for one in clean_episodes(rng, 50)]
    assert false_alarms("known", strange, calibration, 5, 0.05, seed=0).interval_95[0] > 0.05
