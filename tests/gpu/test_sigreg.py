"""SIGReg's Triton kernels on a GPU, in CUDA graphs, under torch.compile and autocast, at the paper's shape.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import pytest
import torch

from lewm_kernels import RandomDirections, directions, sigreg
from lewm_kernels.sigreg import reference

pytestmark = pytest.mark.gpu
PAPER = (4, 128, 192, 1024, 17)


def cuda_inputs(seed=0):
    T, N, D, M, K = PAPER
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(T, N, D, generator=generator, dtype=torch.float64) + 0.3
    u = torch.nn.functional.normalize(torch.randn(D, M, generator=generator, dtype=torch.float64), dim=0)
    return z.float().cuda(), u.float().cuda(), torch.linspace(0, 3, K, dtype=torch.float64)


def value_and_gradient(function, z, directions, knots):
    z = z.detach().requires_grad_()
    value = function(z, directions, knots)
    value.sum().backward()
    return value.detach(), z.grad


def test_a_cuda_graph_replays_forward_and_backward():
    z, directions, knots = cuda_inputs()
    z.requires_grad_()

    def step():
        value = sigreg(z, directions, knots, backend="triton")
        return value, torch.autograd.grad(value.sum(), z)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # compiles the kernels
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for seed in (1, 2):
        z.detach().copy_(cuda_inputs(seed)[0])
        graph.replay()
        torch.testing.assert_close(captured, step(), rtol=0, atol=0)


def test_a_cuda_graph_draws_directions_for_the_step_that_it_finds():
    z, _, knots = cuda_inputs()
    z.requires_grad_()
    step = torch.tensor(0, device="cuda")

    def value_and_slope(step):
        value = sigreg(z, RandomDirections(3, step, PAPER[3]), knots, backend="triton")
        return value, torch.autograd.grad(value.sum(), z)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        value_and_slope(step)  # compiles the kernels
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = value_and_slope(step)
    for now in (1, 1 << 40):
        step.fill_(now)
        graph.replay()
        torch.testing.assert_close(captured, value_and_slope(now), rtol=0, atol=0)
        u = directions(3, now, PAPER[2], PAPER[3], "cuda")
        expected = value_and_gradient(reference.sigreg, *(x.double().cuda() for x in (z, u, knots)))
        for got, exact in zip(captured, expected, strict=True):
            assert (got.double() - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_on_cuda(mode):
    inputs = cuda_inputs()
    expected = value_and_gradient(reference.sigreg, *(x.double().cuda() for x in inputs))
    compiled = torch.compile(lambda z, *rest: sigreg(z.float(), *rest), fullgraph=True, mode=mode)
    for _ in range(3):
        got = value_and_gradient(compiled, *inputs)
        torch.testing.assert_close(tuple(x.double() for x in got), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_backends_agree_on_cuda_under_autocast(backend):
    z, directions, knots = cuda_inputs()
    expected = value_and_gradient(reference.sigreg, z.bfloat16().double(), directions.double(), knots.double().cuda())
    with torch.autocast("cuda", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(
            lambda *args: sigreg(*args, backend=backend), z.bfloat16(), directions, knots
        )
    assert (value.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(value.double(), expected[0], rtol=1e-5, atol=0)
    assert (gradient.double() - expected[1]).norm() < 2**-8 * expected[1].norm()
