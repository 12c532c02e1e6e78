"""Statistics of embeddings read known distributions rightly, whatever their shape, and cost little."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import kstest

from lewm.measures import embeddings as measures
from lewm.measures.embeddings import measure_embeddings
from lewm.training.embeddings import FRAMES, MOST_FRAMES, draw_frames


def of(latents, each=1, seed=0):
    """The statistics of these frames, of which `each` successive ones are of one episode."""
    return measure_embeddings(latents.astype(np.float32), np.arange(len(latents)) // each, seed)


def normal(frames, dimensions, seed=0):
    return np.random.default_rng([9, seed]).standard_normal((frames, dimensions))


def test_a_normal_distribution_is_told_as_one():
    found = of(normal(600, 16))
    assert (found.frames, found.episodes, found.dimensions) == (600, 600, 16)
    assert found.effective_rank == pytest.approx(found.effective_rank_of_normal, rel=0.01)
    assert found.mean_variance == pytest.approx(1, abs=0.05)
    assert found.mean_size < 0.1
    assert found.normality.rejected == 0
    assert found.cover.coverage.value == pytest.approx(found.cover.coverage_of_normal.value, abs=0.03)
    assert found.cover.density.value == pytest.approx(1, abs=0.06)
    assert found.left_out == ()


def test_samples_of_the_normal_distribution_have_the_coverage_that_theory_says():
    found = of(normal(500, 8)).cover
    places, k = 500, found.neighbours
    missed = np.prod([(places - i) / (2 * places - i) for i in range(1, k + 1)])  # all k neighbours are its own
    assert found.coverage_of_normal.value == pytest.approx(1 - missed, abs=0.01)
    assert found.reverse_coverage_of_normal.value == pytest.approx(1 - missed, abs=0.01)
    assert found.density_of_normal.value == pytest.approx(1, abs=0.02)


def test_moments_and_spectrum_are_those_of_numpy():
    latents = normal(300, 5) * [1, 2, 3, 4, 0.5] + [0, 1, 2, 3, 4]
    found = of(latents)
    latents = latents.astype(np.float32).astype(float)
    assert found.means == pytest.approx(latents.mean(axis=0))
    assert found.variances == pytest.approx(latents.var(axis=0, ddof=1))
    assert found.mean_size == pytest.approx(np.sqrt((latents.mean(axis=0) ** 2).mean()))
    assert found.eigenvalues == pytest.approx(np.linalg.eigvalsh(np.cov(latents.T))[::-1])
    assert (found.least_variance, found.greatest_variance) == (min(found.variances), max(found.variances))


def test_more_dimensions_than_frames_have_the_same_spectrum():
    latents = normal(40, 90)
    expected = np.linalg.eigvalsh(np.cov(latents.astype(np.float32).astype(float).T))[::-1]
    found = of(latents)
    assert len(found.eigenvalues) == 39
    assert found.eigenvalues == pytest.approx(expected[:39])


@pytest.mark.parametrize(
    ("change", "lower"),
    [
        (lambda z: z * 0.3, "reverse_coverage"),
        (lambda z: np.abs(z), "coverage"),  # one corner of the space
        (lambda z: np.abs(z), "reverse_coverage"),
        (lambda z: z * 3, "density"),
        (lambda z: z * 3, "coverage"),
        (lambda z: z + 4, "density"),
    ],
)
def test_a_distribution_that_differs_from_the_normal_one_covers_less(change, lower):
    cover = of(change(normal(400, 12))).cover
    for name in (lower, "mutual_coverage"):
        assert getattr(cover, name).interval_95[1] < getattr(cover, f"{name}_of_normal").interval_95[0]


@pytest.mark.parametrize("keep", [0, 24, 96])
def test_in_many_dimensions_collapsed_embeddings_cover_all_and_are_covered_by_nothing(keep):
    latents = normal(100, 192)
    latents[:, keep:] *= 1e-3
    cover = of(latents).cover
    assert cover.coverage.value == pytest.approx(1, abs=0.01), "which is why it is not enough"
    assert cover.density.value > 10
    assert cover.reverse_coverage.value == cover.mutual_coverage.value == 0


def test_directions_that_are_used_are_looked_at_by_themselves():
    turn = np.linalg.qr(normal(24, 24, 3))[0]
    scaled = normal(400, 24) * np.where(np.arange(24) < 6, 2.0, 1e-3)
    found = of(scaled @ turn)
    assert found.used == 6
    assert found.cover.mutual_coverage.value < 0.02
    cover = found.cover_used
    assert cover.mutual_coverage.value == pytest.approx(cover.mutual_coverage_of_normal.value, abs=0.04)
    assert cover.density.value == pytest.approx(1, abs=0.08)


def test_two_heaps_do_not_fill_the_direction_that_they_use():
    heaps = np.sign(normal(300, 1)) + 0.01 * normal(300, 1, 1)
    found = of(np.concatenate([heaps, np.zeros((300, 5))], axis=1))
    assert found.used == 1
    assert found.cover_used.mutual_coverage.value < 0.4 < 0.9 < found.cover_used.mutual_coverage_of_normal.value


def test_mutual_coverage_is_the_lesser_of_the_two():
    cover = of(normal(100, 24) * 0.9).cover
    assert 0 < cover.mutual_coverage.value <= min(cover.coverage.value, cover.reverse_coverage.value)


def test_frames_that_crowd_together_have_a_greater_density_than_normal_ones():
    cover = of(normal(400, 6) * 0.3).cover
    assert cover.density.value > 1.5 * cover.density_of_normal.value


def test_dimensions_that_are_not_normal_are_counted_and_constant_ones_are_not_tested():
    latents = normal(500, 6)
    latents[:, 1] = np.sign(latents[:, 1])
    latents[:, 4] = latents[:, 4] ** 2
    latents[:, 5] = 7
    found = of(latents)
    assert found.constant == 1
    assert found.normality.rejected == 2
    assert found.normality.p_values[5] is None
    assert max(found.normality.p_values[1], found.normality.p_values[4]) < 1e-10 < found.normality.p_values[0]


def test_p_values_of_normal_dimensions_are_uniform():
    p_values = of(normal(400, 200)).normality.p_values
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_frames_of_one_episode_count_once_where_samples_must_be_independent():
    few = normal(50, 4)
    latents = np.repeat(few, 12, axis=0) + 1e-3 * normal(600, 4, 1)
    found = of(latents, each=12)
    assert (found.frames, found.episodes) == (600, 50)
    assert found.normality.rejected == 0
    assert found.cover.coverage.value == pytest.approx(found.cover.coverage_of_normal.value, abs=0.12)


def test_collapsed_embeddings_are_measured_without_complaint():
    found = of(np.ones((64, 8)))
    assert (found.constant, found.mean_variance, found.effective_rank) == (8, 0, 1)
    assert found.normality.rejected == 0
    assert set(found.normality.p_values) == {None}
    assert found.cover.mutual_coverage.value == 0


def test_few_episodes_leave_out_what_needs_more():
    found = of(normal(60, 4), each=20)
    assert found.normality is None is found.cover
    assert found.left_out == ("Normality and coverage need 20 held-out episodes, and there are 3.",)


def test_maps_of_patches_take_little_memory_and_are_not_listed():
    latents = np.random.default_rng(0).standard_normal((64, 98_304), np.float32)
    tracemalloc.start()
    found = measure_embeddings(latents, np.arange(64), 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * latents.nbytes
    assert (found.means, found.variances, found.normality, found.cover) == ((), (), None, None)
    assert found.effective_rank_of_normal is None
    assert found.effective_rank == pytest.approx(63, rel=0.01)  # as many directions as 64 frames can show
    (said,) = found.left_out
    assert said.startswith("Embeddings of more than 2,048 numbers")


def test_columns_at_once_change_nothing(monkeypatch):
    latents = normal(50, 33)
    whole = of(latents)
    monkeypatch.setattr(measures, "NUMBERS_AT_ONCE", 100)
    pieces = of(latents)
    assert pieces.eigenvalues == pytest.approx(whole.eigenvalues)
    assert pieces.means == whole.means


def test_the_same_seed_gives_the_same_statistics_and_another_one_others():
    latents = normal(100, 4)
    assert of(latents) == of(latents)
    assert of(latents).cover != of(latents, seed=1).cover


@pytest.mark.parametrize(("count", "each"), [(1, FRAMES), (100, 6), (FRAMES, 1), (700, 1)])
def test_every_episode_gives_as_many_frames_as_it_takes(count, each):
    lengths = np.full(2000, 1000)
    offsets = 1000 * np.arange(2000)
    episodes = np.random.default_rng(0).permutation(2000)[:count]
    rows, of_rows = draw_frames(offsets, lengths, episodes, MOST_FRAMES, 0)
    assert (np.diff(rows) > 0).all()
    assert (rows // 1000 == of_rows).all()
    assert np.unique(of_rows, return_counts=True)[1].tolist() == [each] * count
    assert set(of_rows) == set(episodes)


def test_of_very_many_episodes_some_give_a_frame_and_short_ones_give_what_they_have():
    lengths = np.full(5000, 3)
    rows, of_rows = draw_frames(3 * np.arange(5000), lengths, np.arange(5000), MOST_FRAMES, 0)
    assert len(rows) == len(set(of_rows)) == MOST_FRAMES
    rows, _ = draw_frames(3 * np.arange(5000), lengths, np.arange(7), MOST_FRAMES, 0)
    assert rows.tolist() == list(range(21))
