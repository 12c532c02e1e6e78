"""The mean of cos(s u₁) over unit vectors u of D dimensions: against Bessel functions, and as an integral."""

import math

import numpy as np
import pytest
import scipy.special
import torch

from lewm_kernels.sigreg_exact.sphere import gauss_rule, mean_cosine


@pytest.mark.parametrize("D", [1, 2, 3, 4, 5, 64, 65, 192])
def test_the_mean_cosine_is_the_bessel_function(D):
    s = torch.linspace(0.3, 900, 2001, dtype=torch.float64)
    order = D / 2 - 1
    scale = scipy.special.gammaln(D / 2) + order * np.log(2 / s.numpy())
    with np.errstate(invalid="ignore", over="ignore"):
        expected = np.exp(scale) * scipy.special.jv(order, s.numpy())
    there = np.isfinite(expected) & (s.numpy() > order / 8)  # below, the factors leave the range of float64
    assert there.mean() > 0.95
    np.testing.assert_allclose(mean_cosine(D, s).numpy()[there], expected[there], rtol=0, atol=2e-13)


@pytest.mark.parametrize("D", [2, 3, 6, 192])
@pytest.mark.parametrize("s", [0.0, 0.5, 20.0, 300.0])
def test_the_mean_cosine_is_the_integral_over_the_sphere(D, s):
    u = torch.sin((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * math.pi / 2)
    density = (1 - u.square()) ** ((D - 2) / 2)  # (1 − u²)^((D − 3)/2) du, with u = sin θ
    expected = (torch.cos(s * u) * density).sum() / density.sum()
    nodes, weights = gauss_rule(D, 300.0)
    torch.testing.assert_close(mean_cosine(D, torch.tensor([s], dtype=torch.float64))[0], expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.cos(s * nodes) @ weights, expected, rtol=0, atol=1e-10)
