"""SIGReg's Triton kernels in Triton's interpreter: accuracy against float64, edges of tiles, layouts, splits.

Run with TRITON_INTERPRET=1, in a process of its own: see conftest.py.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import importlib
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lewm_kernels import RandomDirections, directions
from lewm_kernels.sigreg import reference, sigreg, tiles

assert os.environ.get("TRITON_INTERPRET") == "1", "set TRITON_INTERPRET=1 for this file"
fast = importlib.import_module("lewm_kernels.sigreg.torch")
kernels = importlib.import_module("lewm_kernels.sigreg.triton")

FLOATS = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def unwritten_is_nan():
    """Makes every `torch.empty` NaN, so that what a kernel leaves out shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def random_inputs(T, N, D, M, K, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(T, N, D, generator=generator).to(dtype)
    directions = torch.nn.functional.normalize(torch.randn(D, M, generator=generator), dim=0)
    return z, directions, torch.randn(T, K - 1, 2, M, generator=generator), 3 / (K - 1)


def angles(z, directions, K, delta):
    return (z @ directions)[..., None] * torch.linspace(0, delta * (K - 1), K, dtype=z.dtype)[1:]


def define_power_sums(z, directions, K, delta):
    x = angles(z, directions, K, delta)  # (T, N, M, K - 1)
    return torch.stack([x.cos().sum(dim=1), x.sin().sum(dim=1)], dim=-1).permute(0, 2, 3, 1)


def define_gradient(z, directions, coefficients, delta):
    x = angles(z, directions, coefficients.shape[1] + 1, delta)
    re, im = coefficients.permute(2, 0, 3, 1)[:, :, None]  # (T, 1, M, K - 1)
    return (re * x.sin() + im * x.cos()).sum(dim=-1) @ directions.T


def define_finish(sums, count, delta):
    sums = sums.sum(dim=0)  # (T, K - 1, 2, M)
    k = torch.arange(1, sums.shape[1] + 1).to(sums.dtype)[:, None]
    density = torch.exp(-((k * delta) ** 2) / 2)
    weight = density * torch.where(k <= len(k) - 1, 2 * delta, delta)
    error = sums / count - torch.stack([density, torch.zeros_like(density)], dim=1)
    statistic = count * (error.square().sum(dim=2) * weight).sum(dim=1).mean(dim=-1)
    sign = torch.tensor([-1.0, 1.0]).to(sums.dtype)[:, None]
    return statistic, error * (k * weight * (2 * delta / sums.shape[-1]))[:, None] * sign


def double(*tensors):
    return tuple(tensor.double() for tensor in tensors)


@pytest.mark.usefixtures("unwritten_is_nan")
@pytest.mark.parametrize(
    ("shape", "dtypes", "seeds"),  # T, N, D, M, K: tiles are 64 x 32 and 32 x 32, steps over D 16 and 32
    [
        ((1, 1, 1, 1, 2), FLOATS, 20),
        ((1, 1, 5, 9, 3), FLOATS, 20),
        ((2, 7, 13, 11, 17), FLOATS, 5),
        ((1, 63, 15, 65, 16), FLOATS, 3),
        ((3, 64, 16, 64, 6), FLOATS[:1], 3),
        ((1, 65, 17, 63, 5), FLOATS[:1], 3),
        ((1, 33, 33, 31, 18), FLOATS[:1], 3),
        ((1, 31, 47, 33, 64), FLOATS[:1], 3),
        ((2, 3, 1000, 5, 3), FLOATS[:1], 3),
        ((1, 2, 1024, 3, 4), FLOATS[:1], 3),
    ],
    ids=str,
)
def test_error_is_at_most_twice_that_of_the_definition(shape, dtypes, seeds):
    """16-bit embeddings, too, are held to the error of the definition in float32."""
    K = shape[-1]
    for dtype in dtypes:
        ours, definition = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for seed in range(seeds):  # a single one of few numbers is often right by chance
            z, u, c, delta = random_inputs(*shape, seed, dtype)
            exact = define_power_sums(*double(z, u), K, delta), define_gradient(*double(z, u, c), delta)
            plain = define_power_sums(z.float(), u, K, delta), define_gradient(z.float(), u, c, delta)
            got = kernels.power_sums(z, u, K, delta), kernels.gradient(z, u, c, delta)
            for errors, results in ((ours, got), (definition, plain)):
                errors += torch.stack([(a - b).square().sum() for a, b in zip(results, exact, strict=True)])
        assert (ours <= 4 * definition).all(), (dtype, ours, definition)


@pytest.mark.usefixtures("unwritten_is_nan")
@pytest.mark.parametrize("on_device", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize(
    ("S", "T", "M", "K", "N"),  # blocks are 1024 directions at K = 2, 256 at 17, 64 at 64
    [
        (1, 1, 1, 2, 1),
        (2, 3, 7, 5, 40),
        (1, 2, 255, 17, 100),
        (3, 1, 256, 17, 1000),
        (1, 4, 257, 17, 128),
        (5, 2, 1025, 2, 7),
        (2, 1, 65, 64, 10**6),
    ],
)
def test_finish_has_at_most_twice_the_error_of_the_definition(S, T, M, K, N, on_device):
    delta, count = 3 / (K - 1), torch.tensor(N, dtype=torch.float32) if on_device else N
    ours, definition = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        h = torch.randn(S * T, 3, M, generator=generator) + 0.2
        sums = define_power_sums(h, torch.eye(M), K, delta) * (N / (3 * S))  # each embedding as if there many times
        sums = sums.reshape(S, T, K - 1, 2, M).contiguous()
        got, plain = kernels.finish(sums, count, delta), define_finish(sums, N, delta)
        exact = define_finish(sums.double(), N, delta)
        for errors, results in ((ours, got), (definition, plain)):
            errors += torch.stack([(a - b).square().sum() for a, b in zip(results, exact, strict=True)])
    assert (ours <= 4 * definition).all(), (ours, definition)


def test_finish_adds_up_shares_and_agrees_with_the_pytorch_path():
    sums = torch.randn(3, 2, 4, 2, 5, generator=torch.Generator().manual_seed(0)) * 9
    statistic, coefficients = kernels.finish(sums, 20, 0.5)
    of_whole = kernels.finish(sums[0] + sums[1] + sums[2], torch.tensor(20.0), 0.5)
    assert torch.equal(statistic, of_whole[0])
    assert torch.equal(coefficients, of_whole[1])
    expected, slopes = fast.finish(sums.double().sum(dim=0).permute(0, 3, 1, 2), 20, 0.5)  # (T, M, K - 1, 2)
    torch.testing.assert_close(statistic, expected.float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(coefficients, slopes.float().permute(0, 2, 3, 1), rtol=1e-5, atol=1e-7)


class Computed(TorchDispatchMode):
    """Names what PyTorch computes, in the order of the calls: neither memory nor views."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view and func.overloadpacket.__name__ not in ("empty", "new_empty", "detach"):
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("shape", "parts"),  # T, N, D, M, K; whether the gradient is computed in parts that have to be added up
    [((4, 128, 192, 1024, 17), ["sum"]), ((4, 4096, 192, 4096, 17), [])],
    ids=["paper", "large"],
)
def test_forward_and_gradient_are_three_launches(shape, parts, monkeypatch):
    """The kernels are replaced by ones that only say their name."""

    class Launch:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, grid):
            return lambda **arguments: launched.append(self.name)

    T, N, D, M, K = shape
    names = [f"sigreg_{part}_kernel" for part in ("forward", "finish", "backward")]
    for name in names:
        monkeypatch.setattr(kernels.kernels, name, Launch(name))
    z = torch.empty(T, N, D)
    for source in (torch.empty(D, M), RandomDirections(0, torch.tensor(0), M)):
        launched = []
        with Computed(launched):
            kernels.statistic_and_gradient(z, source, K, 3 / (K - 1), True)
        assert launched == names + parts


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_value_and_gradient_of_the_operator(backend):
    z, u, *_ = random_inputs(6, 33, 24, 40, 17)
    z = z.view(2, 3, 33, 24).requires_grad_()
    knots = torch.linspace(0, 3, 17)
    value = sigreg(z, u, knots, backend=backend)
    value.sum().backward()
    exact = z.detach().double().requires_grad_()
    expected = reference.sigreg(exact, u.double(), knots.double())
    expected.sum().backward()
    torch.testing.assert_close(value.double(), expected, rtol=2e-6, atol=0)
    assert (z.grad - exact.grad).norm() <= 2e-6 * exact.grad.norm()


MOST = ((1 << 64) - 1, (1 << 63) - 1)  # seed, step


@pytest.mark.parametrize(
    ("D", "M", "seed", "step"),
    [(1, 1, 0, 0), (2, 67, 3, 17), (7, 64, *MOST), (17, 130, 1 << 63, (5 << 32) + 7), (33, 5, 1, 1 << 32)],
)
def test_the_directions_inside_are_those_of_the_matrix(D, M, seed, step):
    """One embedding a step, the unit vectors, and δ = 1: the sums are the cosine and sine of the directions."""
    sums = kernels.power_sums(torch.eye(D)[:, None], RandomDirections(seed, torch.tensor(step), M), 2, 1.0)
    drawn = torch.atan2(sums[:, 0, 1], sums[:, 0, 0])  # (D, M)
    torch.testing.assert_close(drawn, directions(seed, step, D, M), rtol=0, atol=4e-7)


@pytest.mark.usefixtures("unwritten_is_nan")
@pytest.mark.parametrize(
    ("D", "N", "M", "seed", "step"),  # steps over D are 16 and 32, rows on the way back powers of two in pairs
    [
        (1, 3, 2, 0, 0),
        (5, 33, 65, 3, 17),
        (17, 65, 31, 1 << 63, 1),
        (63, 5, 33, 4, (5 << 32) + 7),
        (64, 5, 32, *MOST),
        (65, 5, 63, 5, 1 << 32),
        (193, 2, 17, 6, 2),
        (300, 2, 3, 7, 3),
    ],
)
def test_value_and_gradient_with_directions_drawn_inside(D, N, M, seed, step):
    z = random_inputs(2, N, D, 1, 17)[0]
    u, knots = directions(seed, step, D, M), torch.linspace(0, 3, 17)
    results = []
    for source, embeddings, function in (
        (RandomDirections(seed, step, M), z, lambda *args: sigreg(*args, backend="triton")),
        (u, z, lambda *args: sigreg(*args, backend="triton")),
        (u.double(), z.double(), reference.sigreg),
    ):
        leaf = embeddings.clone().requires_grad_()
        value = function(leaf, source, knots.to(leaf.dtype))
        value.sum().backward()
        results.append((value.detach(), leaf.grad))
    inside, matrix, exact = results
    for got, same, truth in zip(inside, matrix, exact, strict=True):
        assert (got - truth).norm() <= 2e-6 * truth.norm()
        assert (same - truth).norm() <= 2e-6 * truth.norm()


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=str)
def test_strided_inputs_amid_nan_give_the_same_bits(dtype):
    z, u, c, delta = random_inputs(2, 9, 20, 7, 6, dtype=dtype)
    around_z = torch.full((25, 4, 2, 13), torch.nan, dtype=dtype)
    around_u = torch.full((11, 3, 22), torch.nan)
    strided, wide = around_z[3:23, 1:3, 0, 2:11].permute(1, 2, 0), around_u[2:9, 1, 1:21].T
    strided.copy_(z)
    wide.copy_(u)
    assert not strided.is_contiguous()
    assert not wide.is_contiguous()
    assert torch.equal(kernels.power_sums(strided, wide, 6, delta), kernels.power_sums(z, u, 6, delta))
    assert torch.equal(kernels.gradient(strided, wide, c, delta), kernels.gradient(z, u, c, delta))


def test_expanded_embeddings():
    z, u, c, delta = random_inputs(1, 1, 5, 7, 6)
    many = z.expand(3, 70, 5)
    sums = kernels.power_sums(z, u, 6, delta)
    torch.testing.assert_close(kernels.power_sums(many, u, 6, delta), (70 * sums).expand(3, -1, -1, -1))
    gradient = kernels.gradient(many, u, c.repeat(3, 1, 1, 1), delta)
    torch.testing.assert_close(gradient, kernels.gradient(z, u, c, delta).expand(3, 70, 5))


@pytest.mark.usefixtures("unwritten_is_nan")
def test_splitting_the_loops_changes_roundings_alone_and_repeats_to_the_bit(monkeypatch):
    z, u, c, delta = random_inputs(1, 450, 3, 110, 3)
    exact = define_power_sums(*double(z, u), 3, delta), define_gradient(*double(z, u, c), delta)
    bits = []
    for programs, splits in ((1, (1, 1)), (8, (2, 1)), (40, (8, 2))):
        monkeypatch.setattr(tiles, "_PROGRAMS", programs)
        assert (tiles.split(450, 64, 4)[0], tiles.split(110, 32, 15)[0]) == splits
        got = kernels.power_sums(z, u, 3, delta), kernels.gradient(z, u, c, delta)
        again = kernels.power_sums(z, u, 3, delta), kernels.gradient(z, u, c, delta)
        for a, b, truth in zip(got, again, exact, strict=True):
            assert torch.equal(a, b)
            assert (a - truth).norm() <= 1e-6 * truth.norm()
        bits.append(got)
    assert not torch.equal(bits[0][0], bits[1][0])  # or the loops were not split
    assert not torch.equal(bits[1][1], bits[2][1])


@pytest.mark.usefixtures("unwritten_is_nan")
@pytest.mark.parametrize("M", [256, 257, 600])
def test_sums_over_many_directions_are_added_up_in_memory(M, monkeypatch):
    monkeypatch.setattr(tiles, "_PROGRAMS", 1)  # or many programs would take a few directions each
    z, u, c, delta = random_inputs(2, 33, 17, M, 4)
    exact, plain = define_gradient(*double(z, u, c), delta), define_gradient(z, u, c, delta)
    got = kernels.gradient(z, u, c, delta)
    assert (got - exact).norm() <= 2 * (plain - exact).norm()
    random = RandomDirections(3, torch.tensor(5), M)
    drawn = kernels.gradient(z, random, c, delta)
    torch.testing.assert_close(drawn, kernels.gradient(z, directions(3, 5, 17, M), c, delta), rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, which plays the GPU
def test_what_is_not_a_number_stays_with_its_own_sample_and_row():
    z, u, c, delta = random_inputs(3, 5, 4, 6, 6)
    expected = kernels.power_sums(z, u, 6, delta), kernels.gradient(z, u, c, delta)
    z[0, 2, 1], z[2, 4, 0] = torch.nan, torch.inf
    sums, gradient = kernels.power_sums(z, u, 6, delta), kernels.gradient(z, u, c, delta)
    assert sums[[0, 2]].isnan().all()
    assert torch.equal(sums[1], expected[0][1])
    is_bad = torch.zeros(3, 5, dtype=torch.bool)
    is_bad[0, 2] = is_bad[2, 4] = True
    assert gradient[is_bad].isnan().all()
    assert torch.equal(gradient[~is_bad], expected[1][~is_bad])


def test_cosine_and_sine_of_any_angle():
    """One embedding, which is 1, and δ = 1: the sums are the cosine and the sine of the "directions"."""

    def cos_sin(x):
        return kernels.power_sums(torch.ones(1, 1, 1), x[None], 2, 1.0)[0, 0].T

    for largest in (1e-3, 1.0, 10.0, 1e4):
        x = torch.linspace(-largest, largest, 1000)
        errors = cos_sin(x) - torch.stack([x.double().cos(), x.double().sin()], dim=-1)
        assert errors.abs().max() <= 1.5 * 2**-24  # below 1, rounding alone is 2^-25
    beyond = torch.tensor([1e7, -3e9, 1e20, 3e38])
    torch.testing.assert_close(cos_sin(beyond).norm(dim=-1), torch.ones(4))


@given(length=st.integers(1, 10**7), block=st.sampled_from([16, 32, 64]), programs=st.integers(1, 10**6))
def test_splits_cover_the_loop_without_idle_or_too_many_programs(length, block, programs):
    splits, share = tiles.split(length, block, programs)
    assert share % block == 0
    assert (splits - 1) * share < length <= splits * share
    assert splits == 1 or splits * programs <= 264
    assert splits == -(-length // block) or (splits + 1) * programs > 132  # half of the programs at least


@given(st.integers(1, 1024))
def test_row_blocks_cover_a_row_with_powers_of_two(D):
    head, tail = tiles.row_blocks(D)
    assert head + tail >= D
    assert head.bit_count() == 1
    assert head >= 16
    assert tail == 0 or (tail.bit_count() == 1 and tail >= 16)
    assert head + tail < 2 * max(D, 16)
    assert tiles.row_blocks(192) == (128, 64)
