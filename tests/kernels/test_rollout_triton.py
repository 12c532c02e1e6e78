"""The rollout's Triton kernels in Triton's interpreter, which does not round to TF32 as a GPU does.

Run with TRITON_INTERPRET=1, in a process of its own, because Triton chooses when it is imported: see conftest.py.

Shapes: B environments, S candidates, L context length, H horizon in blocks, D latent width, A action-block width.
"""

import importlib

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

from lewm import recipes
from lewm.config import resolve
from lewm.model import build
from lewm_kernels.rollout import pack, reference, rollout, tiles

kernels = importlib.import_module("lewm_kernels.rollout.triton")
rows = importlib.import_module("lewm_kernels.rollout.rows")

# No tile divides these: 16 rows, blocks of 16 and 32 columns, steps of 32 hidden units and 64 columns.
TINY = {
    "model.latent": 17,
    "model.projector_hidden": 33,
    "model.predictor.projector_hidden": 33,
    "model.action_embedder.hidden": 9,
    "model.predictor.history": 3,
    "model.predictor.width": 17,
    "model.predictor.depth": 2,
    "model.predictor.heads": 2,
    "model.predictor.head_dim": 16,
    "model.predictor.mlp": 35,
}


@pytest.fixture
def unwritten_is_nan():
    """Makes every `torch.empty` NaN, so that what a kernel leaves out shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def weights(config, seed=0):
    """Parameters in float64, with every tensor different from its initial value."""
    torch.manual_seed(seed)
    model = build(config.model).double().eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.2 * torch.rand_like(tensor))
    return model.state_dict()


def tiny(seed=0, **predictor):
    changes = {f"model.predictor.{key}": value for key, value in predictor.items()}
    return weights(resolve(recipes.small("two-room", 2), None, TINY | changes), seed)


def inputs(B, S, L, H, D=17, A=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((B, L, D), (B, S, H, A), (B, L - 1, A))]


def typed(tensors, dtype):
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def single(tensors):
    return pack(typed(tensors, torch.float32), heads=2)


@pytest.fixture
def products_of_bfloat16(monkeypatch):
    """Has the interpreter multiply bfloat16 for what it is. It holds such numbers as 16 bits of an integer."""

    def numbers(operand):
        is_bfloat16 = operand.dtype.scalar == tl.bfloat16
        return (operand.data.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else operand.data

    def create_dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        product = np.matmul(numbers(a), numbers(b), dtype=np.float32)
        return interpreter.TensorHandle(product + d.data, d.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)


every_design = pytest.mark.parametrize("design", tiles.DESIGNS)


CASES = [  # B, S, L, H, sizes of the predictor, whether it is residual, and seeds
    (1, 5, 1, 4, {}, False, 2),
    (2, 9, 1, 2, {"history": 1}, False, 2),
    (1, 17, 2, 3, {"depth": 1, "width": 33}, False, 1),
    (1, 5, 5, 2, {"history": 2, "width": 16, "heads": 3}, False, 2),
    (1, 5, 1, 4, {"depth": 1}, True, 2),
    (2, 9, 1, 2, {"depth": 1, "history": 1}, True, 2),
    (1, 17, 3, 2, {"depth": 1, "width": 33}, True, 1),
]


def errors(design, precision, B, S, L, H, predictor, residual, seeds):
    """Squares of the errors of a design and of the definition in the same dtype, against float64."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    ours = definition = 0.0
    model = {"heads": predictor.get("heads", 2), "residual": residual}
    for seed in range(seeds):  # a single one of few numbers is often right by chance
        tensors, given = tiny(seed, **predictor), inputs(B, S, L, H, seed=seed)
        exact = reference.rollout(tensors, *(x.double() for x in given), **model)
        plain = reference.rollout(typed(tensors, dtype), *(x.to(dtype) for x in given), **model)
        packed = pack(typed(tensors, torch.float32), precision=precision, **model)
        got = kernels.rollout(packed, *given, design=design)
        ours += (got - exact).square().sum().item()
        definition += (plain - exact).square().sum().item()
    return ours, definition


@pytest.mark.usefixtures("unwritten_is_nan")
@every_design
@pytest.mark.parametrize("case", CASES, ids=str)
def test_error_is_at_most_twice_that_of_the_definition(design, case):
    ours, definition = errors(design, "fp32", *case)
    assert ours <= 4 * definition


@pytest.mark.usefixtures("unwritten_is_nan", "products_of_bfloat16")
@every_design
@pytest.mark.parametrize("case", CASES, ids=str)
def test_error_in_bfloat16_is_at_most_twice_that_of_the_definition(design, case):
    ours, definition = errors(design, "bf16", *case)
    assert 0 < ours <= 4 * definition


def test_the_operator_takes_the_design_that_is_asked_for(monkeypatch):
    taken = []
    for name in tiles.DESIGNS:
        module = importlib.import_module(f"lewm_kernels.rollout.{name}")
        layers = module.layers
        monkeypatch.setattr(
            module, "layers", lambda packed, C, name=name, layers=layers: taken.append(name) or layers(packed, C)
        )
    packed, given = single(tiny(depth=1)), inputs(1, 2, 1, 1)
    for design in (None, "split", "layerwise"):
        rollout(packed, *given, backend="triton", design=design)
    assert taken == ["layerwise", "split", "layerwise"]
    with pytest.raises(ValueError, match="the design whole cannot run here: its kernels multiply in bf16"):
        rollout(packed, *given, backend="triton", design="whole")


@pytest.mark.usefixtures("unwritten_is_nan")
def test_how_the_work_is_cut_changes_roundings_alone_and_repeats_to_the_bit(monkeypatch):
    """The ten steps of the MLP, of which each of five programs takes two, are added up in another order."""
    tensors, given = tiny(depth=1, mlp=300), inputs(2, 20, 2, 2)
    packed = single(tensors)
    exact = reference.rollout(tensors, *(x.double() for x in given), heads=2)
    bits = []
    for programs, rows_and_splits in ((1, (32, 1, 1)), (132, (16, 5, 2))):
        monkeypatch.setattr(tiles, "_PROGRAMS", programs)
        out, mlp = tiles.attention_out_tile(40, 1, 17, 2, 16, 4), tiles.mlp_tile(40, 1, 17, 300, 4)
        assert (out.rows, mlp.splits, out.splits) == rows_and_splits
        bits.append(kernels.rollout(packed, *given, design="split"))
        assert torch.equal(bits[-1], kernels.rollout(packed, *given, design="split"))
        assert (bits[-1] - exact).norm() <= 2e-6 * exact.norm()
    assert not torch.equal(*bits)  # or nothing was split


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, which plays the GPU
@every_design
def test_what_is_not_a_number_stays_with_its_candidate(design):
    packed, (latents, candidates, _) = single(tiny()), inputs(2, 3, 1, 3)
    expected = kernels.rollout(packed, latents, candidates, design=design)
    candidates[1, 2, 1, 0] = torch.nan
    got = kernels.rollout(packed, latents, candidates, design=design)
    assert got[1, 2, 1:].isnan().all()
    got[1, 2, 1:] = expected[1, 2, 1:]
    assert torch.equal(got, expected)


@every_design
def test_layout_and_what_no_window_sees_do_not_matter(design):
    packed, (latents, candidates, history) = single(tiny(history=2)), inputs(2, 2, 4, 2)
    expected = kernels.rollout(packed, latents[:, 2:], candidates, history[:, 2:], design=design)
    latents[:, :2], history[:, :2] = torch.nan, torch.nan
    strided = [x.mT.contiguous().mT for x in (latents, candidates, history)]
    assert not any(x.is_contiguous() for x in strided)
    assert torch.equal(kernels.rollout(packed, *strided, design=design), expected)


@triton.jit
def gelu_kernel(x_ptr, y_ptr, IS_COARSE: tl.constexpr, SIZE: tl.constexpr):
    o = tl.arange(0, SIZE)
    tl.store(y_ptr + o, rows.gelu(tl.load(x_ptr + o), IS_COARSE))


def test_gelu():
    x = torch.cat([torch.linspace(-12, 12, 4095), torch.tensor([torch.nan])])
    exact, y = torch.nn.functional.gelu(x.double()), torch.empty_like(x)
    gelu_kernel[(1,)](x, y, True, 4096)
    assert y[-1].isnan()
    assert (y - exact)[:-1].abs().max() <= 5e-5
    gelu_kernel[(1,)](x, y, False, 4096)
    plain = torch.nn.functional.gelu(x)
    assert (y - exact)[:-1].norm() <= 2 * (plain - exact)[:-1].norm()


@triton.jit
def cast_kernel(x_ptr, y_ptr, SIZE: tl.constexpr):
    o = tl.arange(0, SIZE)
    tl.store(y_ptr + o, rows.cast(tl.load(x_ptr + o), tl.float32, "tf32"))


def test_rounding_to_tf32():
    special = torch.tensor([0.0, torch.inf, -torch.inf, torch.nan])
    nan_of_a_gpu = torch.tensor([0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    x = torch.cat([torch.randn(4091, generator=torch.Generator().manual_seed(0)), special, nan_of_a_gpu])
    y = torch.empty_like(x)
    cast_kernel[(1,)](x, y, 4096)
    assert ((y[:4091] - x[:4091]).abs() <= 2**-11 * x[:4091].abs()).all()
    assert (y[:4091].view(torch.int32) & 0x1FFF == 0).all()
    torch.testing.assert_close(y[4091:], x[4091:], rtol=0, atol=0, equal_nan=True)
