"""SIGReg's Triton kernels on a GPU: in CUDA graphs, under torch.compile and autocast; error, equal bits, launches.

Shapes: S shares of the sums, T time steps, N embeddings, D latent width, M directions, K knots.
"""

import importlib

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lewm_kernels import RandomDirections, directions, sigreg
from lewm_kernels.sigreg import reference

pytestmark = pytest.mark.gpu
SHAPES = {"paper": (4, 128, 192, 1024, 17), "large": (4, 4096, 192, 4096, 17)}
PAPER = SHAPES["paper"]
KERNELS = ["sigreg_forward_kernel", "sigreg_finish_kernel", "sigreg_backward_kernel"]


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


@pytest.fixture
def path():
    pytest.importorskip("triton")
    return importlib.import_module("lewm_kernels.sigreg.triton")


def random_inputs(T, N, D, M, K, seed=0):
    generator = torch.Generator("cuda").manual_seed(seed)
    z = torch.randn(T, N, D, generator=generator, device="cuda")
    return z, directions(seed, 0, D, M, "cuda"), torch.linspace(0, 3, K, dtype=torch.float64)


def definition(z, u, knots):
    """Value and gradient by the definition, some directions at a time, whose tensors fit into memory."""
    knots, M = knots.to(z), u.shape[1]
    value, gradient = 0, 0
    for some in u.split(256, dim=1):
        part, slope = value_and_gradient(reference.sigreg, z, some, knots)
        value, gradient = value + part * (some.shape[1] / M), gradient + slope * (some.shape[1] / M)
    return value, gradient


def squared_errors(got, exact):
    return torch.stack([(a - b).square().sum() for a, b in zip(got, exact, strict=True)])


@pytest.mark.parametrize(("name", "seeds"), [("paper", 10), ("large", 3)])
def test_error_is_at_most_twice_that_of_the_definition(name, seeds):
    ours, plain = torch.zeros(2, 2, dtype=torch.float64, device="cuda")
    for seed in range(seeds):  # a single one of few numbers is often right by chance
        z, u, knots = random_inputs(*SHAPES[name], seed)
        exact = definition(z.double(), u.double(), knots)
        plain += squared_errors(definition(z, u, knots), exact)
        ours += squared_errors(value_and_gradient(lambda *x: sigreg(*x, backend="triton"), z, u, knots), exact)
    assert (ours <= 4 * plain).all(), (ours.sqrt(), plain.sqrt())


@pytest.mark.parametrize("random", [False, True], ids=["matrix", "drawn inside"])
@pytest.mark.parametrize("name", SHAPES)
def test_equal_inputs_give_equal_bits(name, random, path):
    z, u, knots = random_inputs(*SHAPES[name])
    source = RandomDirections(0, torch.tensor(0, device="cuda"), u.shape[1]) if random else u
    first, *others = [path.statistic_and_gradient(z, source, len(knots), 3 / 16, True) for _ in range(4)]
    for other in others:
        assert torch.equal(other[0], first[0])
        assert torch.equal(other[1], first[1])


@pytest.mark.parametrize(
    ("name", "more"),  # kernels of PyTorch: at the paper's shape the gradient is in parts, which are added up
    [("paper", 1), ("large", 0)],
)
def test_forward_finish_and_backward_are_all_that_runs(name, more, path):
    z, u, knots = random_inputs(*SHAPES[name])
    path.statistic_and_gradient(z, u, len(knots), 3 / 16, True)  # compiles
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
        path.statistic_and_gradient(z, u, len(knots), 3 / 16, True)
        torch.cuda.synchronize()
    ran = [event.name for event in seen.events() if event.device_type == DeviceType.CUDA]
    assert sorted(event for event in ran if event in KERNELS) == sorted(KERNELS)
    assert len(ran) == len(KERNELS) + more, ran


def test_a_graph_finishes_with_the_count_that_it_finds(path):
    T, N, _, M, K = SHAPES["paper"]
    sums = torch.randn(2, T, K - 1, 2, M, device="cuda") * N**0.5
    count = torch.tensor(float(N), device="cuda")
    path.finish(sums, count, 3 / 16)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = path.finish(sums, count, 3 / 16)
    for now in (N, 3 * N):
        count.fill_(now)
        graph.replay()
        expected = path.finish(sums, now, 3 / 16)
        assert torch.equal(captured[0], expected[0])
        assert torch.equal(captured[1], expected[1])
