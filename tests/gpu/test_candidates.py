"""Candidates on a GPU."""

import pytest
import torch

from lewm_kernels import candidates
from lewm_kernels.candidates import reference

pytestmark = pytest.mark.gpu


def gaussians(B, H, A, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, H, A, generator=generator), torch.rand(B, H, A, generator=generator) + 0.1


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("seed", [0, 1, (1 << 64) - 1])
def test_on_cuda_they_are_those_of_the_cpu(backend, seed):
    streams = torch.tensor([[0, 1, 2], [1 << 40, -1, 7], [3, 4, 5]])
    mean, std = gaussians(3, 5, 10)
    got = candidates(seed, streams.cuda(), mean.cuda(), std.cuda(), 300, backend=backend)
    exact = reference.candidates(seed, streams, mean.double(), std.double(), 300)
    assert (got.cpu().double() - exact).norm() < 1e-6 * exact.norm()


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_cuda_graph_replays_other_streams_and_gaussians(backend):
    def inputs(seed):
        generator = torch.Generator().manual_seed(seed)
        streams = torch.randint(0, 1 << 32, (4, 3), generator=generator)
        return [x.cuda() for x in (streams, *gaussians(4, 5, 10, seed))]

    own = inputs(0)
    candidates(9, *own, 300, backend=backend)  # compiles the kernel
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = candidates(9, *own, 300, backend=backend)
    for seed in (1, 2):
        for mine, new in zip(own, inputs(seed), strict=True):
            mine.copy_(new)
        graph.replay()
        assert torch.equal(captured, candidates(9, *inputs(seed), 300, backend=backend))
