"""SIGReg through torch.compile, against the definition."""

import importlib
import shutil

import pytest
import torch

from lewm_kernels import RandomDirections, directions, sigreg
from lewm_kernels.sigreg import reference

compiled = importlib.import_module("lewm_kernels.sigreg.compiled")

pytestmark = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
K = 7  # two anchors, the second of them with one power after it


def inputs(T, N, D, M, dtype=torch.float32):
    generator = torch.Generator().manual_seed(N)
    z = torch.randn(T, N, D, generator=generator) + 0.3
    u = torch.nn.functional.normalize(torch.randn(D, M, generator=generator), dim=0)
    return z.to(dtype).requires_grad_(), u.to(dtype), torch.linspace(0, 3, K)


def value_and_gradient(function, z, *others):
    z = z.detach().requires_grad_()
    value = function(z, *others)
    value.sum().backward()
    return value.detach(), z.grad


def error(got, truth):
    return max(float((a.double() - b).norm() / b.norm()) for a, b in zip(got, truth, strict=True))


@pytest.mark.parametrize("shape", [(3, 37, 8, 41), (1, 2, 3, 5), (2, 128, 24, 64)])
def test_it_is_as_exact_as_the_definition(shape):
    z, directions, knots = inputs(*shape)
    truth = value_and_gradient(reference.sigreg, z.double(), directions.double(), knots.double())
    plain = value_and_gradient(reference.sigreg, z, directions, knots)
    got = value_and_gradient(lambda *args: sigreg(*args, backend="compiled"), z, directions, knots)
    assert error(got, truth) <= 2 * error(plain, truth) + 1e-7
    with torch.no_grad():
        torch.testing.assert_close(sigreg(z, directions, knots, backend="compiled"), got[0])


def test_random_directions_are_those_of_the_matrix():
    z, _, knots = inputs(2, 16, 8, 70)

    def ours(*args):
        return sigreg(*args, backend="compiled")

    expected = value_and_gradient(ours, z, directions(3, 1 << 40, 8, 70), knots)
    got = value_and_gradient(ours, z, RandomDirections(3, 1 << 40, 70), knots)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_blocks_of_directions_add_up(monkeypatch):
    z, directions, knots = inputs(2, 16, 8, 70)
    whole = value_and_gradient(lambda *args: sigreg(*args, backend="compiled"), z, directions, knots)
    monkeypatch.setattr(compiled, "_BLOCK_ELEMENTS", 32 * 32)  # blocks of 32, 32 and 6
    parts = value_and_gradient(lambda *args: sigreg(*args, backend="compiled"), z, directions, knots)
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_two_passes_are_one():
    z, directions, _ = inputs(2, 16, 8, 70)
    z = z.detach()
    sums = compiled.power_sums(z, directions, K, 0.5)
    statistic, coefficients = compiled.finish(sums, 16, 0.5)
    gradient = compiled.gradient(z, directions, coefficients, 0.5)
    for a, b in zip((statistic, gradient), compiled.statistic_and_gradient(z, directions, K, 0.5, True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_sixteen_bit_embeddings_are_computed_in_float32():
    z, directions, knots = inputs(2, 16, 8, 70, torch.bfloat16)
    value, gradient = value_and_gradient(lambda *args: sigreg(*args, backend="compiled"), z, directions, knots)
    expected = reference.sigreg(z.detach().float(), directions.float(), knots)
    assert (value.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(value, expected)
