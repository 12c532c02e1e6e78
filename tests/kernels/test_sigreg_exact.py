"""Exact SIGReg: its definition, accuracy against float64, the properties that a mean over all directions has, errors.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lewm_kernels
from lewm_kernels import sigreg, sigreg_exact
from lewm_kernels.sigreg_exact import reference

fast = importlib.import_module("lewm_kernels.sigreg_exact.torch")
operator = importlib.import_module("lewm_kernels.sigreg_exact")

KNOTS = torch.linspace(0, 3, 17, dtype=torch.float64)


def embeddings(T, N, D, dtype=torch.float64, seed=0, scale=1.0):
    z = torch.randn(T, N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return ((z + 0.3) * scale).to(dtype)


def value_and_gradient(function, z, knots=KNOTS, weights=1):
    z = z.detach().requires_grad_()
    value = function(z, knots)
    (value * weights).sum().backward()
    return value.detach(), z.grad


def relative(got, expected):
    return float((got.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("function", [reference.sigreg_exact, sigreg_exact], ids=["reference", "fast"])
@pytest.mark.parametrize("shape", [(2, 24, 8, 1 << 16), (1, 48, 64, 1 << 16)], ids=str)
def test_it_is_the_mean_of_sketches_over_many_directions(function, shape):
    T, N, D, M = shape
    z = embeddings(T, N, D)
    value, gradient = value_and_gradient(function, z)
    each = [
        value_and_gradient(lambda z, k, i=i: sigreg(z, lewm_kernels.directions(0, i, D, M // 16), k), z)
        for i in range(16)
    ]
    values, gradients = (torch.stack(x) for x in zip(*each, strict=True))
    for got, estimates in ((value, values), (gradient, gradients)):
        error = estimates.std(dim=0).norm() / 4  # the error of the mean of 16
        assert (got - estimates.mean(dim=0)).norm() < 3 * error
        assert error < 0.06 * got.norm()


@pytest.mark.parametrize("far", [1.0, 1e6])
def test_in_one_dimension_it_is_the_statistic_of_the_only_direction(far):
    z = embeddings(2, 9, 1)
    z[0, 4] *= far
    expected = value_and_gradient(lambda z, k: sigreg(z, torch.ones(1, 1, dtype=z.dtype), k), z)
    # A product of all pairs loses some digits of the distances that are small beside the farthest.
    tolerance = 1e-11 if far == 1 else 1e-6
    torch.testing.assert_close(value_and_gradient(sigreg_exact, z), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("scale", [0.02, 1, 4])
@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 2, 3), (3, 7, 64), (1, 129, 3), (1, 129, 24), (2, 7, 192)], ids=str)
def test_float64_is_the_definition(shape, scale):
    z = embeddings(*shape, scale=scale)
    expected = value_and_gradient(reference.sigreg_exact, z)
    torch.testing.assert_close(value_and_gradient(sigreg_exact, z), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [0.02, 1, 3])
@pytest.mark.parametrize(
    "shape", [(1, 2, 1), (1, 7, 3), (2, 7, 192), (1, 65, 1), (1, 33, 15), (1, 33, 16), (1, 65, 64)], ids=str
)
def test_error_is_at_most_twice_that_of_the_definition(shape, scale):
    dtype = torch.float32
    errors = {reference.sigreg_exact: torch.zeros(2), sigreg_exact: torch.zeros(2)}
    for seed in range(10):  # a single one of few numbers is often right by chance
        z = embeddings(*shape, dtype, seed, scale)
        exact = value_and_gradient(reference.sigreg_exact, z.double())
        for function, total in errors.items():
            got = value_and_gradient(function, z, KNOTS.to(dtype))
            total += torch.stack([(a - b).square().sum() for a, b in zip(got, exact, strict=True)]).float()
    assert (errors[sigreg_exact] <= 4 * errors[reference.sigreg_exact]).all()


@pytest.mark.parametrize("apart", [2, 3.9, 6.25, 15])
@pytest.mark.parametrize("D", [16, 64])
def test_tight_groups_far_apart_keep_their_digits(D, apart):
    z = 0.01 * embeddings(1, 64, D)
    z[:, :32, 0] += apart * math.sqrt(D) / 2
    z[:, 32:, 0] -= apart * math.sqrt(D) / 2
    z = z.float()
    gradient = value_and_gradient(sigreg_exact, z, KNOTS.float())[1]
    expected = value_and_gradient(reference.sigreg_exact, z.double())[1]
    assert relative(gradient, expected) < 16 * torch.finfo(torch.float32).eps


def test_a_normal_sample_is_computed_in_float32(monkeypatch):
    dtypes = []
    tables = fast.tables_of
    monkeypatch.setattr(fast, "tables_of", lambda D, k, dtype, d: dtypes.append(dtype) or tables(D, k, dtype, d))
    for D in (16, 192):
        sigreg_exact(torch.randn(1, 2048, D, generator=torch.Generator().manual_seed(0)), KNOTS.float())
    assert dtypes == [torch.float32] * 2


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (2, 3, 7)])
@pytest.mark.parametrize("scale", [1, 40])
def test_gradient_is_the_derivative(shape, scale):
    z = embeddings(*shape, scale=scale).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sigreg_exact(z, KNOTS), z)


def test_the_tables_of_slopes_are_the_derivatives_of_the_tables_of_values():
    # In float32, from the coefficients as they are stored: dS/dr = 2 r dS/dr².
    for table in fast.tables_of(24, tuple(KNOTS.tolist()), torch.float32, torch.device("cpu")):
        middle = (torch.arange(table.values.shape[1]).double() + 0.5) * table.width
        powers = 0.5 ** torch.arange(4)
        by_r = (torch.arange(4)[1:, None] * table.values[1:].double() * powers[:3, None]).sum(dim=0) / table.width
        slope = (table.slopes.double() * powers[:, None]).sum(dim=0)
        assert (by_r - 2 * middle * slope).abs().max() < 1e-6 * table.values.abs().max() / table.width


def tables_that_end_at_once(monkeypatch):
    monkeypatch.setattr(fast, "_REACH", 0.5)
    fast.tables_of.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("D", [1, 6, 64])
def test_beyond_the_tables_it_is_computed_without_them(D, dtype, monkeypatch):
    z = embeddings(2, 9, D, dtype)
    expected = value_and_gradient(sigreg_exact, z)
    tables_that_end_at_once(monkeypatch)
    tolerance = {torch.float32: 2e-6, torch.float64: 1e-11}[dtype]
    for got, same in zip(value_and_gradient(sigreg_exact, z), expected, strict=True):
        assert got.dtype == same.dtype
        assert relative(got, same.double()) < tolerance
    fast.tables_of.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("far", [20.0, 100.0])
@pytest.mark.parametrize("D", [1, 3, 24])
def test_a_far_outlier_is_right(D, far, dtype):
    z = embeddings(2, 7, D, dtype, scale=0.5)
    z[1, 3] *= far
    expected = value_and_gradient(reference.sigreg_exact, z.double())
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-8}[dtype]
    for got, exact in zip(value_and_gradient(sigreg_exact, z), expected, strict=True):
        assert relative(got, exact) < tolerance


def test_embeddings_infinitely_far_apart_approach_a_limit():
    # Only the pairs of each embedding with itself are left: S(0) − 2 · 0 + N C, without what knot 0 adds.
    N, D = 5, 64
    z = 1e6 * embeddings(1, N, D, torch.float32)
    weight = reference.trapezoid(KNOTS) * torch.exp(-KNOTS.square() / 2)
    expected = (weight[1:].sum() + N * (weight * torch.exp(-KNOTS.square()))[1:].sum())[None]
    value, gradient = value_and_gradient(sigreg_exact, z)
    assert relative(value, expected) < 1e-6
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_identical_embeddings_have_a_finite_gradient(dtype):
    z = embeddings(2, 1, 8, dtype).expand(2, 16, 8)
    expected = value_and_gradient(reference.sigreg_exact, z.double())
    for got, exact in zip(value_and_gradient(sigreg_exact, z), expected, strict=True):
        assert relative(got, exact) < 1e-6
    value, gradient = value_and_gradient(sigreg_exact, torch.zeros(1, 4, 8, dtype=dtype))
    assert value > 1
    assert gradient.abs().max() == 0


@settings(max_examples=25)
@given(data=st.data(), N=st.integers(1, 40), D=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_order_of_the_batch_does_not_matter(data, N, D, seed):
    z = embeddings(2, N, D, seed=seed)
    value, gradient = value_and_gradient(sigreg_exact, z)
    order = torch.tensor(data.draw(st.permutations(range(N))))
    value_2, gradient_2 = value_and_gradient(sigreg_exact, z[:, order])
    torch.testing.assert_close(value_2, value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient_2, gradient[:, order], rtol=1e-10, atol=1e-12)


@settings(max_examples=25)
@given(N=st.integers(2, 40), D=st.integers(2, 40), seed=st.integers(0, 99))
def test_a_rotation_rotates_the_gradient_and_leaves_the_value(N, D, seed):
    z = embeddings(1, N, D, seed=seed)
    rotation, _ = torch.linalg.qr(embeddings(1, D, D, seed=seed + 1)[0])
    value, gradient = value_and_gradient(sigreg_exact, z)
    value_2, gradient_2 = value_and_gradient(sigreg_exact, z @ rotation)
    torch.testing.assert_close(value_2, value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient_2, gradient @ rotation, rtol=1e-9, atol=1e-12)
    columns = torch.eye(D, dtype=z.dtype)
    assert not torch.allclose(sigreg(z, columns, KNOTS), sigreg(z @ rotation, columns, KNOTS), rtol=1e-6)


@pytest.mark.parametrize("elements", [1, 40, 100])
def test_tiles_do_not_change_the_result(elements, monkeypatch):
    z = embeddings(3, 9, 6)
    expected = value_and_gradient(sigreg_exact, z)
    monkeypatch.setattr(fast, "tile_elements", lambda device: elements)
    monkeypatch.setattr(fast, "_LEAST_ROWS", 2)
    torch.testing.assert_close(value_and_gradient(sigreg_exact, z), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_every_leading_index_is_a_sample_of_its_own(leading):
    z = embeddings(6, 9, 4)[: int(np.prod(leading))].reshape(*leading, 9, 4)
    value = sigreg_exact(z, KNOTS)
    assert value.shape == leading
    for index in np.ndindex(*leading):
        torch.testing.assert_close(value[index], sigreg_exact(z[index], KNOTS), rtol=1e-12, atol=0)


def test_strided_embeddings_and_knots_that_are_not_uniform():
    z = embeddings(6, 8, 3).permute(2, 1, 0)
    knots = torch.tensor([0.0, 0.1, 0.5, 2.0], dtype=torch.float64).repeat_interleave(2)[::2]
    assert not z.is_contiguous()
    expected = value_and_gradient(reference.sigreg_exact, z, knots)
    torch.testing.assert_close(value_and_gradient(sigreg_exact, z, knots), expected, rtol=1e-9, atol=1e-12)


def test_the_upstream_gradient_of_every_step_counts():
    z, weights = embeddings(3, 8, 6), torch.tensor([0.5, 0.0, -2.0], dtype=torch.float64)
    expected = value_and_gradient(reference.sigreg_exact, z, weights=weights)
    torch.testing.assert_close(value_and_gradient(sigreg_exact, z, weights=weights), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bit_embeddings_are_computed_in_float32_under_autocast_too(dtype):
    z = embeddings(2, 64, 24, dtype)
    expected = value_and_gradient(sigreg_exact, z.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(sigreg_exact, z)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected[1].to(dtype), rtol=1e-2, atol=1e-6)


def test_what_is_no_number_is_none_in_the_result():
    z = embeddings(2, 5, 4, torch.float32)
    z[1, 2, 0] = math.nan
    value, gradient = value_and_gradient(sigreg_exact, z)
    assert value.isnan().tolist() == [False, True]
    assert gradient[1].isnan().all()
    assert not gradient[0].isnan().any()


def test_nothing_of_size_embeddings_by_embeddings_exists_for_many_of_them(largest_tensor, monkeypatch):
    monkeypatch.setattr(fast, "tile_elements", lambda device: 4096)
    T, N, D = 2, 512, 4
    z = embeddings(T, N, D, torch.float32)
    sigreg_exact(z[:, :2], KNOTS)  # makes the tables
    with largest_tensor() as seen:
        value_and_gradient(sigreg_exact, z)
    assert seen.bytes < 4 * N * N / 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": torch.zeros(2, 0, 4)}, r"at least one embedding, got \(2, 0, 4\)"),
        ({"knots": torch.zeros(1)}, r"at least 2 knots .*got \(1,\)"),
        ({"knots": torch.linspace(0.1, 3, 17)}, r"increase from 0, got 0.1, .*\n.*torch.linspace\(0, 3, 17\)"),
        ({"knots": torch.tensor([0.0, 1.0, 1.0])}, "increase from 0"),
        ({"knots": torch.tensor([0.0, 1.0, math.inf])}, "increase from 0"),
        ({"knots": torch.full((17,), math.nan)}, "increase from 0"),
        ({"knots": torch.linspace(0, 3, 17, requires_grad=True)}, r"require a gradient.*\n.*detach"),
    ],
)
def test_wrong_inputs_are_named(change, message):
    inputs = {"z": embeddings(2, 5, 4), "knots": KNOTS, **change}
    with pytest.raises(ValueError, match=message):
        # Past the annotations, which check the same thing only where tests switch them on.
        operator.sigreg_exact.__wrapped__(**inputs)


def test_second_derivative_is_refused():
    z = embeddings(2, 5, 4).requires_grad_()
    with pytest.raises(RuntimeError, match="only the first derivative"):
        torch.autograd.grad(sigreg_exact(z, KNOTS).sum(), z, create_graph=True)


def test_without_a_gradient_none_is_computed():
    z = embeddings(2, 5, 4)
    with torch.no_grad():
        assert not sigreg_exact(z.requires_grad_(), KNOTS).requires_grad
    _, gradient = operator._sigreg_exact(z.detach(), KNOTS, False, None, 0, 1)
    assert gradient.numel() == 0
