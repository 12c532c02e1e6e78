"""The instruments read known spaces rightly."""

import sys

import numpy as np
import pytest

from lewm.errors import LewmError
from lewm.measures.latents import sample_pairs
from lewm.probing.space import (
    draw_queries,
    import_tsne,
    measure_space,
    nearest_frames,
    normality,
    plane,
    straightness,
    tsne,
)

RNG = np.random.default_rng(0)


def test_straightness_of_a_line_a_zig_zag_and_a_square():
    steps = np.arange(40)[:, None]
    episode = np.zeros(40, int)
    assert straightness(steps * np.array([[1.0, 2.0]]), episode, 1) == pytest.approx(1)
    assert straightness(steps % 2 * np.array([[1.0, 2.0]]), episode, 1) == pytest.approx(-1)
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])[np.arange(40) % 4]
    assert straightness(square, episode, 1) == pytest.approx(0)


def test_straightness_is_over_model_steps_and_never_across_episodes():
    zig_zag = (np.arange(40) % 2 + np.arange(40) * 0.1)[:, None]
    assert straightness(zig_zag, np.zeros(40, int), 1) == pytest.approx(-1)
    assert straightness(zig_zag, np.zeros(40, int), 2) == pytest.approx(1)
    there_and_back = np.concatenate([np.arange(20.0), np.arange(20.0)[::-1]])[:, None]
    assert straightness(there_and_back, np.repeat([0, 1], 20), 3) == pytest.approx(1)
    assert straightness(there_and_back, np.arange(40) // 4, 2) is None, "no episode has three model steps"


def test_frames_that_stand_still_have_no_direction():
    waits = np.array([0.0, 1, 2, 2, 2, 3, 4])[:, None]
    assert straightness(waits, np.zeros(7, int), 1) == pytest.approx(1)
    assert straightness(np.ones((7, 2)), np.zeros(7, int), 1) is None


def test_normality_of_normal_uniform_two_valued_and_constant_dimensions():
    count = 20_000
    columns = [RNG.normal(5, 3, count), RNG.uniform(size=count), RNG.integers(2, size=count), np.ones(count)]
    normal, uniform, coin, constant = normality(np.stack(columns, axis=1).astype(np.float32))
    assert normal < 0.015
    assert uniform == pytest.approx(0.06, abs=0.01)
    assert coin == pytest.approx(0.34, abs=0.02)
    assert constant == 0.5


def test_neighbours_are_the_nearest_of_each_other_episode():
    episode = np.repeat(np.arange(6), 10)
    latents = RNG.normal(size=(60, 3)).astype(np.float32)
    queries = np.array([3, 25])
    found, distances = nearest_frames(latents, episode, queries, 4)
    for query, near, apart in zip(queries, found, distances, strict=True):
        assert episode[query] not in episode[near]
        assert len(set(episode[near].tolist())) == 4
        every = np.linalg.norm(latents - latents[query], axis=1)
        best = sorted(every[episode == e].min() for e in range(6) if e != episode[query])
        np.testing.assert_allclose(apart, best[:4], rtol=1e-5)
        np.testing.assert_allclose(every[near], apart, rtol=1e-5)
    few, _ = nearest_frames(latents, episode, queries, 99)
    assert few.shape == (2, 5)


def test_queries_are_test_frames_of_different_episodes():
    episode = np.repeat(np.arange(10), 7)
    queries = draw_queries(episode, slice(35, 70), 4, seed=0)
    assert len(set(episode[queries].tolist())) == 4
    assert queries.min() >= 35
    assert len(draw_queries(episode, slice(56, 70), 4, seed=0)) == 2
    assert not np.array_equal(queries, draw_queries(episode, slice(35, 70), 4, seed=1))


def test_the_plane_holds_the_two_widest_directions():
    wide = RNG.normal(size=(500, 2)) * [9, 4]
    axes = np.linalg.qr(RNG.normal(size=(5, 5))).Q
    latents = wide @ axes[:2] + 0.01 * RNG.normal(size=(500, 5)) + 7
    points, shares = plane(latents)
    assert abs(np.corrcoef(points[:, 0], wide[:, 0])[0, 1]) > 0.98
    assert abs(np.corrcoef(points[:, 1], wide[:, 1])[0, 1]) > 0.98
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == pytest.approx(81 / 97, abs=0.05)
    assert plane(latents[:, :1])[0].shape == (500, 2)


def test_a_faithful_space_follows_paths_and_a_world_without_paths_has_none():
    states = RNG.uniform(size=(300, 2))
    episode = np.repeat(np.arange(30), 10)
    pairs = sample_pairs(states, lambda a, b: np.linalg.norm(a - b, axis=1), 2000, seed=0)
    faithful = measure_space("trained encoder", states * 3, episode, 1, pairs)
    assert faithful.distance_correlation == pytest.approx(1)
    assert faithful.near_correlation == pytest.approx(1)
    assert faithful.effective_rank == pytest.approx(2, abs=0.05)
    lengths, distances = np.array(faithful.curve).T
    np.testing.assert_allclose(distances, 3 * lengths, rtol=1e-3)
    shuffled = measure_space("trained encoder", RNG.permutation(states), episode, 1, pairs)
    assert abs(shuffled.distance_correlation) < 0.15
    without = measure_space("trained encoder", states, episode, 1, None)
    assert (without.distance_correlation, without.near_correlation, without.curve) == (None, None, ())


def test_tsne_keeps_clusters_apart():
    clusters = np.repeat([[0.0] * 4, [50.0] * 4], 30, axis=0) + RNG.normal(size=(60, 4))
    chosen, points = tsne(clusters, seed=2**64 - 1)
    assert chosen.tolist() == list(range(60))
    own = np.linalg.norm(points[:30] - points[:30].mean(axis=0), axis=1).max()
    assert np.linalg.norm(points[:30].mean(axis=0) - points[30:].mean(axis=0)) > own


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(LewmError, match=r'pip install -e "\.\[tsne\]"'):
        import_tsne()
