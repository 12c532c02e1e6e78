"""The Triton kernel of candidates in Triton's interpreter: the words of every stream, edges of groups, layouts.

Run with TRITON_INTERPRET=1, in a process of its own, because Triton chooses when it is imported: see conftest.py.

Shapes: B environments, S candidates, H horizon in blocks, A action-block width.
"""

import importlib

import pytest
import torch

from lewm_kernels import candidates, uniform
from lewm_kernels.candidates import reference

kernels = importlib.import_module("lewm_kernels.candidates.triton")

STREAMS = torch.tensor([[8, 2, 29], [1 << 40, -1, 7], [(1 << 32) - 1, 0, 1 << 31], [0, 0, 0]])


@pytest.fixture
def unwritten_is_nan():
    """Makes every `torch.empty` NaN, so that what a kernel leaves out shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def gaussians(B, H, A):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(B, H, A, generator=generator), torch.rand(B, H, A, generator=generator) + 0.1


def exact_noise(seed, streams, S, H, A):
    """Normal numbers in float64, from uniform numbers, which float32 holds exactly; pairs of them lie 128 apart."""
    count = S * H * A
    u, v = uniform(seed, streams, -(-count // 512) * 512).double().view(len(streams), -1, 2, 2, 128).unbind(3)
    radius, angle = (-2 * u.log()).sqrt(), 2 * torch.pi * v
    noise = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=3).view(len(streams), -1)[:, :count]
    noise[:, : H * A] = 0
    return noise.unflatten(1, (S, H, A))


@pytest.mark.usefixtures("unwritten_is_nan")
@pytest.mark.parametrize(
    ("seed", "shape"),  # B, S, H, A: a group is 512 numbers
    [
        (0, (1, 1, 1, 1)),
        (1, (3, 7, 1, 5)),
        (7, (1, 511, 1, 1)),
        (12345, (2, 64, 2, 4)),
        (1 << 63, (1, 57, 3, 3)),
        ((1 << 64) - 1, (4, 29, 5, 10)),
    ],
    ids=str,
)
def test_error_is_at_most_twice_that_of_the_definition(seed, shape):
    B, S, H, A = shape
    streams, (mean, std) = STREAMS[:B], gaussians(B, H, A)
    exact = mean.double()[:, None] + std.double()[:, None] * exact_noise(seed, streams, S, H, A)
    got = candidates(seed, streams, mean, std, S, backend="triton")
    plain = reference.candidates(seed, streams, mean, std, S)
    assert torch.equal(got[:, 0], mean)
    assert (got - exact).norm() <= 2 * (plain - exact).norm()


def test_strided_inputs_give_the_same_bits():
    mean, std = gaussians(4, 3, 5)
    expected = kernels.candidates(5, STREAMS, mean, std, 40)
    around = torch.full((3, 4, 2), -1)
    streams = around[..., 1].T
    streams.copy_(STREAMS)
    assert not streams.is_contiguous()
    wide = torch.full((3, 5, 4, 2), torch.nan)
    wide[..., 0], wide[..., 1] = mean.permute(1, 2, 0), std.permute(1, 2, 0)
    strided = [x.permute(2, 0, 1) for x in wide.unbind(-1)]
    assert torch.equal(kernels.candidates(5, streams, *strided, 40), expected)


def test_an_environment_is_the_same_alone():
    mean, std = gaussians(4, 3, 5)
    together = kernels.candidates(5, STREAMS, mean, std, 40)
    for b in range(4):
        one = slice(b, b + 1)
        assert torch.equal(kernels.candidates(5, STREAMS[one], mean[one], std[one], 40)[0], together[b])
