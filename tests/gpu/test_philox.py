"""Philox on a GPU."""

import pytest
import torch

from lewm_kernels import directions

pytestmark = pytest.mark.gpu


def test_a_cuda_graph_draws_for_the_step_that_it_finds():
    step = torch.tensor(4, device="cuda")
    directions(3, step, 192, 1024)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = directions(3, step, 192, 1024)
    for value in (5, 1 << 40):
        step.fill_(value)
        graph.replay()
        torch.testing.assert_close(captured.cpu(), directions(3, value, 192, 1024), rtol=0, atol=1e-6)
