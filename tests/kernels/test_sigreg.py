"""SIGReg: golden values, gradients, accuracy against float64, properties, memory and errors.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lewm_kernels
from lewm_kernels import RandomDirections, sigreg
from lewm_kernels.sigreg import reference

# `lewm_kernels.sigreg` is also the function's name in the package: modules are fetched by their full path.
fast = importlib.import_module("lewm_kernels.sigreg.torch")
operator = importlib.import_module("lewm_kernels.sigreg")

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {  # T, N, D, M, K, scale, shift
    "paper": (4, 128, 192, 96, 17, 1, 0.3),
    "small": (1, 7, 24, 5, 9, 1, 0.3),
    "far": (2, 33, 48, 17, 17, 6, 0.3),
    "collapsed": (2, 16, 8, 12, 17, 0, 0.7),
}
STORED_GRADIENT = 2**-24  # the file holds gradients in float32


def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    return torch.from_numpy(fill.draw(name, shape))


def golden_inputs(case: str, dtype: torch.dtype):
    T, N, D, M, K, scale, shift = CASES[case]
    z = draw(f"sigreg_{case}_z", (T, N, D)) * scale + shift
    directions = draw(f"sigreg_{case}_A", (D, M))
    directions /= directions.norm(dim=0)
    return z.to(dtype).requires_grad_(), directions.to(dtype), torch.linspace(0, 3, K, dtype=dtype)


def golden_outputs(case: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "sigreg_reference.npz") as file:
        return {key: torch.from_numpy(file[f"{case}_{key}"]) for key in ("statistic", "loss", "grad_z")}


def random_inputs(T, N, D, M, K, dtype=torch.float64, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(T, N, D, generator=generator, dtype=torch.float64) * scale
    directions = torch.nn.functional.normalize(torch.randn(D, M, generator=generator, dtype=torch.float64), dim=0)
    return z.to(dtype), directions.to(dtype), torch.linspace(0, 3, K, dtype=torch.float64)


def value_and_gradient(function, z, directions, knots):
    z = z.detach().requires_grad_()
    value = function(z, directions, knots)
    value.sum().backward()
    return value.detach(), z.grad


def two_passes(z, directions, knots):
    """The computation of several processes, done by one."""
    K, delta = len(knots), (knots[-1] / (len(knots) - 1)).item()
    sums = fast.power_sums(z.detach(), directions, K, delta)
    value, coefficients = fast.finish(sums, z.shape[1], delta)
    gradient = fast.gradient(z.detach(), directions, coefficients, delta)
    # A function with this value and, for every step, this gradient.
    return value + ((z - z.detach()) * gradient).sum(dim=(1, 2)).to(value.dtype)


def small_tiles(monkeypatch, elements: int, block: int, block_directions: int) -> None:
    monkeypatch.setattr(fast, "tile_elements", lambda device: elements)
    monkeypatch.setattr(fast, "_BLOCK_ELEMENTS", block)
    monkeypatch.setattr(fast, "_BLOCK_DIRECTIONS", block_directions)


@pytest.mark.parametrize("case", CASES)
def test_statistic_of_every_direction_is_golden(case):
    z, directions, knots = golden_inputs(case, torch.float64)
    torch.testing.assert_close(
        reference.statistic(z, directions, knots), golden_outputs(case)["statistic"], rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("function", [reference.sigreg, sigreg], ids=["reference", "fast"])
def test_loss_and_gradient_are_golden(function, case, dtype, tolerance):
    z, directions, knots = golden_inputs(case, dtype)
    loss = function(z, directions, knots).mean()
    loss.backward()
    expected = golden_outputs(case)
    assert abs(loss.item() - expected["loss"].item()) <= tolerance * abs(expected["loss"].item())
    gradient = expected["grad_z"].double()
    assert (z.grad.double() - gradient).norm() <= max(tolerance, STORED_GRADIENT) * gradient.norm()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 2), (2, 5, 3, 4, 6), (3, 2, 7, 1, 17)])
def test_gradient_is_the_derivative(shape):
    z, directions, knots = random_inputs(*shape)
    assert torch.autograd.gradcheck(lambda z: sigreg(z, directions, knots), z.requires_grad_())


@pytest.mark.parametrize("K", [2, 5, 8, 18, 23])
def test_float64_is_exact_for_any_number_of_knots(K):
    inputs = random_inputs(3, 13, 6, 11, K)
    expected = value_and_gradient(reference.sigreg, *inputs)
    torch.testing.assert_close(value_and_gradient(sigreg, *inputs), expected, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(value_and_gradient(two_passes, *inputs), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "shape",  # T, N, D, M, K around tiles of 64 elements and blocks of 8 directions
    [
        (1, 1, 1, 1, 2),
        (1, 1, 5, 9, 3),
        (2, 7, 13, 11, 17),
        (1, 63, 8, 7, 17),
        (3, 64, 8, 8, 16),
        (2, 65, 3, 17, 5),
    ],
    ids=str,
)
def test_error_is_at_most_twice_that_of_the_definition(shape, dtype, monkeypatch):
    small_tiles(monkeypatch, elements=64, block=1, block_directions=8)
    errors = {reference.sigreg: torch.zeros(2), sigreg: torch.zeros(2), two_passes: torch.zeros(2)}
    for seed in range(20):  # a single one of few numbers is often right by chance
        z, directions, knots = random_inputs(*shape, dtype, seed)
        exact = value_and_gradient(reference.sigreg, z.double(), directions.double(), knots)
        for function, total in errors.items():
            # Knots rounded to 16 bits belong to the definition's error; sigreg refuses them.
            typed = knots.to(dtype if function is reference.sigreg else torch.float32)
            got = value_and_gradient(function, z, directions, typed)
            total += torch.stack([(a - b).square().sum() for a, b in zip(got, exact, strict=True)]).float()
    for ours in (sigreg, two_passes):
        assert (errors[ours] <= 4 * errors[reference.sigreg]).all()


@pytest.mark.parametrize(("elements", "block", "directions_"), [(1, 1, 1), (64, 300, 3), (1000, 1, 5)])
def test_tiles_do_not_change_the_result(elements, block, directions_, monkeypatch):
    inputs = random_inputs(3, 13, 6, 11, 17)
    expected = value_and_gradient(sigreg, *inputs)
    small_tiles(monkeypatch, elements, block, directions_)
    for function in (sigreg, two_passes):
        torch.testing.assert_close(value_and_gradient(function, *inputs), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_every_leading_index_is_a_sample_of_its_own(leading):
    z, directions, knots = random_inputs(6, 9, 4, 5, 17)
    z = z[: int(np.prod(leading))].reshape(*leading, 9, 4)
    value = sigreg(z, directions, knots)
    assert value.shape == leading
    for index in np.ndindex(*leading):
        torch.testing.assert_close(value[index], sigreg(z[index], directions, knots), rtol=1e-13, atol=0)


def test_strided_inputs_give_the_same_result_and_gradient():
    z, directions, knots = random_inputs(3, 8, 6, 5, 17)
    expected = value_and_gradient(sigreg, z, directions, knots)
    strided = z.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    wide = torch.stack([directions, directions], dim=-1)[..., 0]
    every_other = knots.repeat_interleave(2)[::2]
    assert not strided.is_contiguous()
    assert not wide.is_contiguous()
    got = value_and_gradient(sigreg, strided, wide, every_other)
    torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-14)


def test_sixteen_bit_embeddings_are_computed_in_float32_under_autocast_too():
    z, directions, knots = random_inputs(2, 64, 16, 32, 17, torch.float32)
    z = z.bfloat16()
    expected = value_and_gradient(sigreg, z.float(), directions, knots.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(sigreg, z, directions, knots)
    assert value.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected[1].bfloat16(), rtol=1e-2, atol=0)


def test_the_upstream_gradient_of_every_step_counts():
    z, directions, knots = random_inputs(3, 8, 6, 5, 17)
    weights = torch.tensor([0.5, 0.0, -2.0], dtype=torch.float64)
    _, gradient = value_and_gradient(lambda *x: sigreg(*x) * weights, z, directions, knots)
    _, expected = value_and_gradient(lambda *x: reference.sigreg(*x) * weights, z, directions, knots)
    torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-14)


@settings(max_examples=25)
@given(data=st.data(), N=st.integers(1, 40), D=st.integers(1, 12), M=st.integers(1, 20), seed=st.integers(0, 99))
def test_order_of_the_batch_and_sign_of_a_direction_do_not_matter(data, N, D, M, seed):
    z, directions, knots = random_inputs(2, N, D, M, 17, seed=seed)
    value, gradient = value_and_gradient(sigreg, z, directions, knots)
    order = torch.tensor(data.draw(st.permutations(range(N))))
    signs = torch.tensor(data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=M, max_size=M)))
    value_2, gradient_2 = value_and_gradient(sigreg, z[:, order], directions * signs, knots)
    torch.testing.assert_close(value_2, value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient_2, gradient[:, order], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("seed", "step"), [(0, 0), (3, 1 << 40), ((1 << 64) - 2, (1 << 63) - 1)])
def test_random_directions_are_those_of_the_matrix(seed, step, dtype):
    z, _, knots = random_inputs(2, 9, 5, 1, 17, dtype)
    expected = value_and_gradient(sigreg, z, lewm_kernels.directions(seed, step, 5, 7), knots)
    for given_step in (step, torch.tensor(step)):
        got = value_and_gradient(sigreg, z, RandomDirections(seed, given_step, 7), knots)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_normal_embeddings_score_low_and_collapsed_ones_high():
    directions = lewm_kernels.directions(0, 0, 32, 64)
    knots = torch.linspace(0, 3, 17)
    streams = torch.arange(3).view(1, 3)
    normal = lewm_kernels.normal(0, streams, 512 * 32).view(512, 32)
    collapsed = normal[:1].expand(512, 32)
    assert sigreg(normal, directions, knots) < 2
    assert sigreg(2 * normal, directions, knots) > 20
    assert sigreg(collapsed, directions, knots) > 100


def test_nothing_of_size_embeddings_by_directions_by_knots_exists(largest_tensor, monkeypatch):
    monkeypatch.setattr(fast, "tile_elements", lambda device: 4096)
    T, N, D, M, K = 1, 64, 8, 4096, 17
    z, directions, knots = random_inputs(T, N, D, M, K, torch.float32)
    with largest_tensor() as definition:
        value_and_gradient(reference.sigreg, z, directions, knots.float())
    with largest_tensor() as ours:
        fast.statistic_and_gradient(z, directions, K, 3 / (K - 1), True)
    assert definition.bytes >= 4 * T * N * M * K
    assert ours.bytes <= 4 * T * N * M  # one number a projection


def good_inputs():
    z, directions, knots = random_inputs(2, 5, 4, 3, 17)
    return {"z": z, "directions": directions, "knots": knots}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": torch.zeros(2, 0, 4)}, r"at least one embedding .*\(2, 0, 4\)"),
        ({"directions": torch.zeros(4, 0)}, "at least one .* direction"),
        ({"knots": torch.zeros(1)}, "at least 2 knots"),
        ({"knots": torch.tensor([0.0, 1.0, 3.0])}, r"uniform knots .* torch.linspace\(0, 3, 17\)"),
        ({"knots": torch.linspace(0.1, 3, 17)}, "uniform knots"),
        ({"knots": torch.linspace(0, -3, 17)}, "uniform knots"),
        ({"knots": torch.full((17,), torch.nan)}, "uniform knots"),
        ({"knots": torch.linspace(0, 3, 20).bfloat16()}, "torch.bfloat16"),
        ({"directions": torch.ones(4, 3, requires_grad=True)}, r"directions require .*directions.detach\(\)"),
        ({"knots": torch.linspace(0, 3, 17, requires_grad=True)}, "knots require a gradient"),
        ({"directions": RandomDirections(-1, 0, 3)}, "seed in"),
        ({"directions": RandomDirections(0, -1, 3)}, "step in"),
        ({"directions": RandomDirections(0, 0, 0)}, "M >= 1"),
        ({"directions": RandomDirections(0, 0, 3), "z": torch.zeros(2, 0, 4)}, r"at least one embedding.*\(2, 0, 4\)"),
    ],
)
def test_wrong_inputs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        sigreg(**{**good_inputs(), **change})


def test_directions_on_another_device_are_named():
    inputs = good_inputs()
    with pytest.raises(ValueError, match=r"on one device, got cpu and meta.*device=z.device"):
        sigreg(**{**inputs, "directions": inputs["directions"].to("meta")})
    elsewhere = RandomDirections(0, torch.zeros((), dtype=torch.int64, device="meta"), 3)
    with pytest.raises(ValueError, match=r"step on one device, got cpu and meta"):
        sigreg(**{**inputs, "directions": elsewhere})


@pytest.mark.parametrize("shapes", [((2, 5, 4), (3, 4)), ((4,), (4, 3)), ((2, 5, 4), (4,))])
def test_wrong_shapes_are_named(shapes):
    # Past the annotations, which check the same thing only where tests switch them on.
    z, directions = map(torch.zeros, shapes)
    with pytest.raises(ValueError, match=r"expected z .* got .*transpose"):
        operator._check_shapes(z, directions, torch.linspace(0, 3, 17))


def test_second_derivative_is_refused():
    inputs = good_inputs()
    z = inputs["z"].requires_grad_()
    with pytest.raises(RuntimeError, match="only the first derivative"):
        torch.autograd.grad(sigreg(**inputs).sum(), z, create_graph=True)


def test_without_a_gradient_none_is_computed():
    z, directions, knots = random_inputs(2, 5, 4, 3, 17)
    with torch.no_grad():
        assert not sigreg(z.requires_grad_(), directions, knots).requires_grad
    _, gradient = operator._sigreg(z.detach(), directions, None, 0, 0, knots, False, "auto", None)
    assert gradient.numel() == 0
