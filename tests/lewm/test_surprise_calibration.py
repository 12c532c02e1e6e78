"""p-values, thresholds and events."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm.checkpoints.origin import Origin
from lewm.checkpoints.run import DatasetIdentity
from lewm.errors import LewmError
from lewm.opened_run import Run
from lewm.surprise.basis import basis_of
from lewm.surprise.calibration import Calibration, of_scores, windowed
from lewm.surprise.clean_data import CleanData
from lewm.surprise.trace import EventMerger, SurpriseTrace

NAN = np.nan
OWN = DatasetIdentity("data.h5", "0", (16, 16), 2, None)  # the dataset of the runs here


def ranked(clean):
    return Calibration(1.0, 1.0, clean, np.zeros(len(clean), np.int64))


def test_the_window_is_the_mean_over_three_model_steps_of_what_has_a_score():
    surprise = np.array([NAN, NAN, 1.0, 10.0, 3.0, 20.0, 5.0, 60.0])
    assert windowed(surprise, 2).tolist()[2:] == [1, 10, 2, 15, 3, 30]
    assert np.isnan(windowed(surprise, 2)[:2]).all()
    assert windowed(surprise[:1], 5).shape == (1,)
    for short in (1, 2, 3, 4):  # the window begins before the first frame, by more than there are frames
        assert windowed(np.arange(1.0, short + 1), 2).tolist() == [1, 2, 2, 3][:short]
        assert windowed(np.arange(1.0, short + 1), 17).tolist() == [1, 2, 3, 4][:short]


def test_the_window_takes_frames_in_pieces_as_the_whole():
    surprise = np.random.default_rng(0).gamma(1, size=30)
    for cut in (10, 15, 29):
        pieces = np.concatenate([windowed(surprise[:cut], 5), windowed(surprise[cut - 10 :], 5)[10:]])
        assert np.allclose(pieces, windowed(surprise, 5))


@given(st.lists(st.floats(0, 10), min_size=20, max_size=60), st.floats(0.05, 0.9), st.floats(0, 10))
def test_a_frame_is_flagged_exactly_above_the_threshold(clean, alpha, score):
    calibration = ranked(np.sort(np.array(clean)))
    p_value = calibration.p_value(np.array([score]))[0]
    assert (p_value <= alpha) == (score > calibration.threshold(alpha))
    assert p_value == (1 + sum(other >= score for other in clean)) / (1 + len(clean))


def test_frames_without_a_score_have_no_p_value():
    calibration = ranked(np.arange(5.0))
    assert np.isnan(calibration.p_value(np.array([NAN, 2.0]))).tolist() == [True, False]


def episodes(rng, count, frames=20):
    """Scores that are alike within an episode, as those of real ones are."""
    return [rng.gamma(2, rng.uniform(0.5, 2), frames) for _ in range(count)]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_the_false_alarm_rate_is_alpha_for_both_scores_together(alpha):
    """Over many calibrations, each with its own clean episodes: the guarantee of split-conformal ranking."""
    rates = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        calibration = of_scores(episodes(rng, 40), 2)
        flags = [calibration.flags(one, 2, alpha) for one in episodes(rng, 20)]
        rates.append(np.mean(flags))
    error = np.std(rates) / len(rates) ** 0.5
    assert abs(np.mean(rates) - alpha) < 4 * error + 1 / 400  # at most one of 400 clean frames is a rank
    assert np.mean(rates) > alpha / 2


@pytest.mark.parametrize(("count", "alpha"), [(2, 0.01), (20, 0.05), (99, 0.01)])
def test_false_alarms_reach_the_limit_where_the_frames_of_an_episode_are_all_alike_and_do_not_exceed_it(count, alpha):
    """The worst case: one number an episode, so that a new one is flagged as a whole where it is the strangest."""
    rates = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        each = rng.gamma(2, size=count + 50)
        every = [strangeness + rng.uniform(0, 1e-6, 60) for strangeness in each]
        calibration = of_scores(every[:count], 2)
        assert calibration.episodes == count
        rates.append(np.mean([calibration.flags(one, 2, alpha) for one in every[count:]]))
    limit, error = (1 + alpha * count) / (1 + count), np.std(rates) / len(rates) ** 0.5
    assert np.mean(rates) < limit + 4 * error
    assert np.mean(rates) > limit - 4 * error - alpha
    assert error < limit / 8, "otherwise the test says nothing"


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_the_limit_of_false_alarms_holds_where_short_episodes_are_the_strange_ones(alpha):
    """Long episodes have nearly all the frames, so that ranks among frames would say little of the short ones."""

    def drawn(rng):
        return 11 + rng.gamma(2, 0.1, 10) if rng.random() < 0.5 else rng.gamma(2, 0.1, 200)

    rates, count = [], 150
    for seed in range(60):
        rng = np.random.default_rng(seed)
        calibration = of_scores([drawn(rng) for _ in range(count)], 1)
        rates.append(np.mean([calibration.flags(drawn(rng), 1, alpha).mean() for _ in range(40)]))
    limit, error = (1 + alpha * count) / (1 + count), np.std(rates) / len(rates) ** 0.5
    assert np.mean(rates) < limit + 4 * error
    assert np.mean(rates) > alpha / 2
    assert error < limit / 4, "otherwise the test says nothing"


def test_every_clean_episode_counts_the_same_in_a_p_value():
    calibration = Calibration(1.0, 1.0, np.array([1.0, 2, 3, 4, 5]), np.array([0, 0, 1, 0, 0]))
    weights = 5 / 2 * np.array([1 / 4, 1 / 4, 1, 1 / 4, 1 / 4])
    above = np.array([weights[rank:].sum() for rank in range(6)])
    assert calibration.p_value(np.arange(0.5, 6)) == pytest.approx((1 + above) / 6)
    for alpha in (0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9):
        scores = np.arange(0.5, 6, 0.5)
        assert ((calibration.p_value(scores) <= alpha) == (scores > calibration.threshold(alpha))).all()


@pytest.mark.parametrize(
    ("count", "alpha", "needed", "most", "other_alpha"),
    [(2, 0.01, 99, "34.0%", "0.334"), (98, 0.01, 99, "2.0%", "0.011"), (20, 0.001, 999, "4.9%", "0.048")],
)
@pytest.mark.parametrize("room", [True, False])
def test_too_few_clean_episodes_are_warned_of(tiny, caplog, count, alpha, needed, most, other_alpha, room):
    run = Run(Path("run"), tiny, OWN, torch.device("cpu"))
    calibration = of_scores([np.random.default_rng(i).gamma(2, size=600) for i in range(count)], 2)
    basis = basis_of(run, CleanData("the run's held-out episodes", True, room), calibration, alpha)
    assert (basis.clean_episodes, basis.episodes_needed, basis.held_out) == (count, needed, True)
    assert f"{basis.false_alarms_at_most:.1%}" == most
    (said,) = caplog.messages
    assert f"calibrated on {count} clean episodes, and alpha {alpha:g} needs {needed}" in said
    assert f"up to {most} of the frames of a clean video" in said
    assert f"--alpha {other_alpha}." in said
    assert ("--calibrate a dataset with more" in said, "More would not be used" in said) == (room, not room)
    caplog.clear()
    assert basis_of(run, CleanData("a.h5", None, True), calibration, float(other_alpha)).enough
    assert not caplog.messages


def test_an_imported_run_promises_no_rate_of_false_alarms(tiny, caplog):
    origin = Origin("folder", "weights.pt", "0", "transformers5")
    run = Run(Path("run"), tiny, OWN, torch.device("cpu"), origin)
    calibration = of_scores([np.random.default_rng(i).gamma(2, size=40) for i in range(100)], 2)
    basis = basis_of(run, CleanData("episodes", False, True), calibration, 0.01)
    assert (basis.held_out, basis.false_alarms_at_most) == (False, None)
    (said,) = caplog.messages
    assert "its training may have seen the clean episodes" in said
    caplog.clear()
    assert basis_of(run, CleanData("new.h5", None, True), calibration, 0.01).false_alarms_at_most == pytest.approx(
        2 / 101
    )
    assert not caplog.messages


def test_a_slow_wrongness_is_flagged_by_the_window():
    """Frames that are all just below the highest clean ones: none alone is striking, three steps in a row are."""
    rng = np.random.default_rng(0)
    clean = [rng.uniform(0, 1, 50) for _ in range(200)]
    calibration = of_scores(clean, 1)
    slow = np.full(20, 0.97)
    assert calibration.flags(slow, 1, 0.01)[5:].all()
    alone = calibration.p_value(calibration.combined(slow, np.zeros(20)))
    assert (alone > 0.01).all()


def test_bad_alpha_and_too_little_to_calibrate_with_are_said():
    calibration = ranked(np.arange(98.0))
    with pytest.raises(LewmError, match=r"98 clean frames .* alpha 0.01 needs 99\n.*--calibrate"):
        calibration.threshold(0.01)
    assert ranked(np.arange(99.0)).threshold(0.01) == 98
    with pytest.raises(LewmError, match=r"99 clean frames .* alpha 1e-310 needs inf\nGive a larger --alpha: 30,000 "):
        ranked(np.arange(99.0)).threshold(1e-310)
    assert ranked(np.arange(99.0)).threshold(1 - 1e-12) == 0
    for alpha in (0.0, 1.0, -1.0, 2.0, NAN):
        with pytest.raises(LewmError, match="alpha"):
            calibration.threshold(alpha)
    with pytest.raises(LewmError, match="long enough to be scored: 1; calibration needs 2"):
        of_scores([np.ones(5), np.full(3, NAN)], 5)


def trace(p_values, alpha=0.1, first=0):
    p = np.array(p_values, dtype=float)
    frame = first + np.arange(len(p))
    return SurpriseTrace(frame, frame / 10, 1 / p, 1 / p, 1 / p, p, p <= alpha)


def test_flags_merge_into_events_with_begin_peak_and_end():
    p = np.ones(40)
    p[[5, 6, 8]] = 0.1, 0.01, 0.1  # one event: the gap is shorter than a step
    p[[20]] = 0.05
    whole = EventMerger(3)
    events = whole.push(trace(p)) + whole.finish()
    assert [(e.begin, e.peak, e.end) for e in events] == [(5, 6, 8), (20, 20, 20)]
    assert (events[0].begin_time, events[0].peak_time, events[0].end_time) == (0.5, 0.6, 0.8)
    assert events[0].p_value == 0.01
    assert events[0].score == events[0].surprise == 100


@given(st.lists(st.integers(0, 39), max_size=12), st.lists(st.integers(0, 40), max_size=5))
def test_events_do_not_depend_on_how_the_trace_is_cut(flagged, cuts):
    p = np.ones(40)
    p[flagged] = 0.1 / (1 + np.arange(len(flagged)))
    whole = EventMerger(3)
    expected = whole.push(trace(p)) + whole.finish()
    pieces, found = EventMerger(3), []
    edges = [0, *sorted(cuts), 40]
    for a, b in itertools.pairwise(edges):
        found += pieces.push(trace(p[a:b], first=a))
    assert found + pieces.finish() == expected
    assert len(expected) == len({e.begin for e in expected})
    assert {f for e in expected for f in range(e.begin, e.end + 1)} >= set(flagged)
