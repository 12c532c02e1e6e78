"""Exact SIGReg on a GPU: error, and embeddings beyond the tables.

Shapes: T time steps, N embeddings, D latent width, K knots.
"""

import pytest
import torch

from lewm_kernels import sigreg_exact
from lewm_kernels.sigreg_exact import reference

pytestmark = pytest.mark.gpu
KNOTS = torch.linspace(0, 3, 17)


def value_and_gradient(function, z, knots):
    z = z.detach().requires_grad_()
    value = function(z, knots)
    value.sum().backward()
    return value.detach().cpu(), z.grad.cpu()


@pytest.mark.parametrize("farthest", [1, 60], ids=["within the tables", "beyond them"])
@pytest.mark.parametrize("D", [6, 24, 192])
def test_it_is_the_definition(D, farthest):
    z = torch.randn(2, 37, D, generator=torch.Generator().manual_seed(0)) + 0.3
    z[1, 5] *= farthest
    expected = value_and_gradient(reference.sigreg_exact, z.double(), KNOTS.double())
    for got, exact in zip(value_and_gradient(sigreg_exact, z.cuda(), KNOTS), expected, strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).norm() < 3e-6 * exact.norm()
