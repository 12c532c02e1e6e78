"""The instruments read known latent spaces rightly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm.measures.latents import effective_rank, rank_correlation, sample_pairs
from lewm.model.world_model import WorldModel
from lewm.training.health import HeldOut, measure


def test_effective_rank_of_a_sphere_a_plane_and_a_line():
    generator = torch.Generator().manual_seed(0)
    sphere = torch.randn(20_000, 6, generator=generator)
    assert effective_rank(sphere) == pytest.approx(6, abs=0.05)
    basis = torch.linalg.qr(torch.randn(6, 2, generator=generator)).Q
    assert effective_rank(sphere[:, :2] @ basis.T) == pytest.approx(2, abs=0.05)
    assert effective_rank(sphere[:, :1] @ basis.T[:1] + 5) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.ones(10, 6)) == pytest.approx(1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=40, unique=True))
def test_rank_correlation_sees_order_alone(values):
    x = np.array(values)
    ranks = x.argsort().argsort().astype(float)
    assert rank_correlation(x, ranks**3) == pytest.approx(1)
    assert rank_correlation(x, -ranks) == pytest.approx(-1)


def test_rank_correlation_with_ties_and_constants():
    # by hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert rank_correlation(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(0.9486833)
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0


class Eye(WorldModel):
    """A model whose embedding is the first pixel's three channels, stretched by `scale`."""

    def __init__(self, scale):
        torch.nn.Module.__init__(self)
        self.scale = scale
        self.register_buffer("action_mean", torch.zeros(2))  # its device stands for the model's

    def encode(self, frames):
        return frames[:, :, 0, 0].float() / 255 * self.scale


def held_out(count=200):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    states = frames[:, 0, 0].astype(np.float64)
    return HeldOut(frames, *sample_pairs(states, lambda a, b: np.linalg.norm(a - b, axis=1), 2000, seed=0))


def test_a_faithful_space_is_healthy_and_a_flat_one_is_collapsed():
    faithful = measure(Eye(3.0), held_out(), seed=0, step=0)
    assert faithful.distance_correlation == pytest.approx(1)
    assert faithful.near_correlation == pytest.approx(1)
    assert faithful.effective_rank == pytest.approx(3, abs=0.05)
    assert faithful.std_mean == pytest.approx(3 / 12**0.5, rel=0.1)
    assert not faithful.collapsed
    lengths, distances = zip(*faithful.curve, strict=True)
    assert list(lengths) == sorted(lengths)
    np.testing.assert_allclose(distances, np.array(lengths) * 3 / 255, rtol=1e-5)
    assert measure(Eye(1e-3), held_out(), seed=0, step=0).collapsed


def test_a_world_without_distances_is_measured_without_them():
    health = measure(Eye(3.0), HeldOut(held_out().frames), seed=0, step=0)
    assert health.distance_correlation is None
    assert health.curve == ()
