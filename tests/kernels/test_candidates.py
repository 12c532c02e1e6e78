"""Candidates: their definition, the stream of every number, independence of the batch and of what is drawn ahead."""

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lewm_kernels import candidates, normal
from lewm_kernels.candidates import Sampler, reference

fast = importlib.import_module("lewm_kernels.candidates.torch")


def gaussians(B, H, A, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, H, A, generator=generator), torch.rand(B, H, A, generator=generator) + 0.1


def test_every_number_is_that_of_its_stream():
    seed, S, H, A = 11, 40, 3, 4
    streams = torch.tensor([[8, 2, 29], [7, 0, 1]])
    mean, std = gaussians(2, H, A)
    drawn = candidates(seed, streams, mean, std, S)
    assert torch.equal(drawn[:, 0], mean)
    for b, s, h, a in ((0, 1, 0, 0), (0, 39, 2, 3), (1, 17, 1, 2)):
        element = s * H * A + h * A + a
        noise = normal(seed, streams[b : b + 1], element + 1)[0, element]
        torch.testing.assert_close(drawn[b, s, h, a], mean[b, h, a] + std[b, h, a] * noise)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 7, 1, 3), (3, 64, 5, 10), (5, 101, 3, 7)])
def test_error_is_at_most_twice_that_of_the_definition(shape):
    B, S, H, A = shape
    streams = torch.arange(3 * B).view(B, 3)
    mean, std = gaussians(B, H, A)
    exact = reference.candidates(5, streams, mean.double(), std.double(), S)
    plain = reference.candidates(5, streams, mean, std, S)
    error, bound = ((x.double() - exact).norm() for x in (candidates(5, streams, mean, std, S), plain))
    assert error <= 2 * bound


@settings(max_examples=25)
@given(
    episodes=st.lists(st.integers(0, 2**34), min_size=1, max_size=9, unique=True),
    iterations=st.integers(1, 6),
    samples=st.integers(1, 90),
    numbers=st.sampled_from([1, 500, 3000, 10**9]),
    order=st.randoms(use_true_random=False),
)
def test_neither_batch_nor_what_is_drawn_ahead_changes_a_number(episodes, iterations, samples, numbers, order):
    B, H, A = len(episodes), 2, 3
    mean, std = gaussians(B, H, A)
    streams = torch.zeros(iterations, B, 3, dtype=torch.int64)
    streams[..., 0] = torch.tensor(episodes)
    streams[..., 2] = torch.arange(iterations)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "tile_elements", lambda device: numbers)
        sample = Sampler(3, streams, samples)
        wanted = list(range(iterations))
        order.shuffle(wanted)
        drawn = {i: sample(i, mean, std) for i in wanted}
    for i in range(iterations):
        for b in (0, B - 1):
            alone = candidates(3, streams[i, b : b + 1], mean[b : b + 1], std[b : b + 1], samples)
            assert torch.equal(alone[0], drawn[i][b])


def test_iterations_are_drawn_together_up_to_a_tile(monkeypatch):
    drawn = []
    noise = fast.noise

    def counted(seed, streams, *sizes):
        drawn.append(len(streams))
        return noise(seed, streams, *sizes)

    monkeypatch.setattr(fast, "noise", counted)
    monkeypatch.setattr(fast, "tile_elements", lambda device: 1000)
    for B, together in ((1, [8, 8, 4]), (3, [6] * 10), (9, [9] * 20)):
        drawn.clear()
        sample = Sampler(3, torch.zeros(20, B, 3, dtype=torch.int64), 20)
        for i in range(20):
            sample(i, *gaussians(B, 2, 3))
        assert drawn == together


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": -1}, r"seed in \[0, 2\^64\), got -1"),
        ({"seed": 1 << 64}, r"seed in \[0, 2\^64\)"),
        ({"samples": 0}, "at least one sample, got 0"),
        ({"std": torch.ones(2, 2, 2, device="meta")}, "std in float32 on cpu.*got torch.float32 on meta"),
        ({"backend": "compiled"}, "candidates: expected one of the backends auto, torch, triton"),
        ({"backend": "triton"}, "the device is cpu"),
    ],
)
def test_what_does_not_fit_is_refused(change, words, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    streams, mean, std = torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 2, 2), torch.ones(2, 2, 2)
    settings = {"seed": 0, "streams": streams, "mean": mean, "std": std, "samples": 4} | change
    with pytest.raises(ValueError, match=words):
        candidates(**settings)


@pytest.mark.parametrize("shapes", [((3, 2, 2), (3, 2, 2)), ((2, 2, 2), (2, 2, 1)), ((2, 0, 2), (2, 0, 2))])
def test_wrong_shapes_are_named(shapes):
    # Past the annotations, which check the same thing only where tests switch them on.
    mean, std = map(torch.zeros, shapes)
    with pytest.raises(ValueError, match=r"expected mean and std \(2, H, A\), one an environment.*got \("):
        Sampler(0, torch.zeros(1, 2, 3, dtype=torch.int64), 4)._check(mean, std)
