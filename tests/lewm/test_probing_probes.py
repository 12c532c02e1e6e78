"""Probes find what is there, the ridge exactly as its normal equations say, and nothing where nothing is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from lewm.probing import probes
from lewm.probing.probes import Scale, linear_probe, mlp_probe
from lewm.probing.sample import Sample

CPU = torch.device("cpu")
FRAMES, EPISODES = 600, 30
EPISODE = np.repeat(np.arange(EPISODES), FRAMES // EPISODES)
SAMPLE = Sample(np.arange(FRAMES), EPISODE, slice(0, 360), slice(360, 480), slice(480, 600))


def z(values):
    return Scale.of(values[SAMPLE.train]).z(values)


def correlation(fit, y):
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(fit.predicted.T, y[SAMPLE.test].T, strict=True)])


def mlp(x, y, seed=0):
    return mlp_probe(x, y, SAMPLE, seed, CPU, lambda share: None)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(32, 32), steps=400, validate_every=50))


@pytest.fixture
def x():
    return z(np.random.default_rng(0).normal(size=(FRAMES, 6)))


@pytest.mark.parametrize("strength", [1e-4, 1.0, 50.0])
def test_ridge_equals_its_normal_equations_and_scikit_learn(x, strength, monkeypatch):
    monkeypatch.setattr(probes, "RIDGE_STRENGTHS", (strength,))
    rng = np.random.default_rng(1)
    y = z(x @ rng.normal(size=(6, 3)) + rng.normal(size=(FRAMES, 3)))
    fit = linear_probe(x, y, SAMPLE)
    train = x[SAMPLE.train]
    weights = np.linalg.solve(train.T @ train + len(train) * strength * np.eye(6), train.T @ y[SAMPLE.train])
    np.testing.assert_allclose(fit.predicted, x[SAMPLE.test] @ weights, rtol=1e-9, atol=1e-11)
    peer = Ridge(alpha=len(train) * strength).fit(train, y[SAMPLE.train])
    np.testing.assert_allclose(fit.predicted, peer.predict(x[SAMPLE.test]), rtol=1e-6, atol=1e-9)


def test_the_strength_is_the_one_that_validates_best():
    """Few frames and many noisy features: weak and strong regularisation are both bad."""
    rng = np.random.default_rng(2)
    x = z(rng.normal(size=(FRAMES, 300)))
    y = z(x @ rng.normal(size=(300, 1)) + 30 * rng.normal(size=(FRAMES, 1)))
    chosen = linear_probe(x, y, SAMPLE).chosen
    assert probes.RIDGE_STRENGTHS[0] < chosen < probes.RIDGE_STRENGTHS[-1]

    def validation_error(strength):
        train = x[SAMPLE.train]
        weights = np.linalg.solve(train.T @ train / len(train) + strength * np.eye(300), train.T @ y[SAMPLE.train])
        return np.square(x[SAMPLE.validation] @ weights / len(train) - y[SAMPLE.validation]).mean()

    assert validation_error(chosen) == min(validation_error(a) for a in probes.RIDGE_STRENGTHS)


def test_a_linear_quantity_is_found_by_both_and_a_curved_one_by_the_mlp(x, short):
    linear = z(x @ np.random.default_rng(3).normal(size=(6, 2)) + 4)
    assert correlation(linear_probe(x, linear, SAMPLE), linear) == pytest.approx(1)
    assert correlation(mlp(x, linear), linear) > 0.99
    curved = z(np.abs(x[:, :1]))
    assert abs(correlation(linear_probe(x, curved, SAMPLE), curved)) < 0.4
    assert correlation(mlp(x, curved), curved) > 0.95


def test_nothing_is_found_in_noise(x, short):
    noise = z(np.random.default_rng(4).normal(size=(FRAMES, 1)))
    assert abs(correlation(linear_probe(x, noise, SAMPLE), noise)) < 0.25
    fit = mlp(x, noise)
    assert np.square(fit.predicted - noise[SAMPLE.test]).mean() < 1.4, "stopped before it had learnt the noise"
    assert fit.chosen < probes.MLP.steps


def test_test_frames_do_not_reach_the_fit(x, short):
    y = z(x[:, :2].copy())
    spoiled = y.copy()
    spoiled[SAMPLE.test] *= -1
    for probe in (lambda a, b: linear_probe(a, b, SAMPLE), mlp):
        assert np.array_equal(probe(x, y).predicted, probe(x, spoiled).predicted)


def test_the_mlp_is_a_function_of_its_seed_and_leaves_the_global_generator_alone(x, short):
    y = z(x[:, :1] ** 2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = mlp(x, y)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(first.predicted, mlp(x, y).predicted)
    assert not np.array_equal(first.predicted, mlp(x, y, seed=1).predicted)


def test_constant_features_are_zero_and_harm_nothing(short):
    rng = np.random.default_rng(5)
    raw = np.concatenate([rng.normal(size=(FRAMES, 1)), np.full((FRAMES, 1), 0.1)], axis=1).astype(np.float32)
    x = z(raw)
    assert (x[:, 1] == 0).all()
    y = z(raw[:, :1].astype(np.float64))
    assert correlation(linear_probe(x, y, SAMPLE), y) == pytest.approx(1)
    collapsed = np.zeros_like(x)
    assert (linear_probe(collapsed, y, SAMPLE).predicted == 0).all()
    assert np.ptp(mlp(collapsed, y).predicted) == 0


def test_z_scores_come_from_train_frames_and_can_be_undone():
    values = np.random.default_rng(6).normal(3, 2, size=(FRAMES, 2))
    scale = Scale.of(values[SAMPLE.train])
    scores = scale.z(values)
    np.testing.assert_allclose(scores[SAMPLE.train].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scores[SAMPLE.train].std(axis=0), 1)
    assert np.abs(scores[SAMPLE.test].mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose(scale.undo(scores), values)
