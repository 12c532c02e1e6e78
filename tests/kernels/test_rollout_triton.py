"""The rollout's Triton kernels: in Triton's interpreter, and at the paper's sizes where there is a GPU.

The interpreter has a process of its own, because it is chosen when Triton is imported: `TRITON_INTERPRET=1 pytest` on
this file. Without the variable, one test does that. Products of bfloat16 and TF32 are not what a GPU makes of them.

Shapes: B environments, S candidates, C = B S, L context length, H horizon in blocks, N new tokens of a window, D latent
width, A action-block width.
"""

import importlib
import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm import recipes
from lewm.config import resolve
from lewm.model.world_model import WorldModel
from lewm_kernels.rollout import pack, reference, rollout, tiles

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
INSTALLED = importlib.util.find_spec("triton") is not None

if INTERPRETED:
    import triton
    import triton.language as tl

    kernels = importlib.import_module("lewm_kernels.rollout.triton")
    rows = importlib.import_module("lewm_kernels.rollout.rows")

    @triton.jit
    def gelu_kernel(x_ptr, y_ptr, IS_COARSE: tl.constexpr, SIZE: tl.constexpr):
        o = tl.arange(0, SIZE)
        tl.store(y_ptr + o, rows.gelu(tl.load(x_ptr + o), IS_COARSE))

    @triton.jit
    def cast_kernel(x_ptr, y_ptr, SIZE: tl.constexpr):
        o = tl.arange(0, SIZE)
        tl.store(y_ptr + o, rows.cast(tl.load(x_ptr + o), tl.float32, "tf32"))


interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in the interpreter's process")

# No tile divides these: 16 rows, blocks of 16 and 32 columns, steps of 32 hidden units and 64 columns.
TINY = {
    "model.latent": 17,
    "model.projector_hidden": 33,
    "model.action_embedder.hidden": 9,
    "model.predictor.history": 3,
    "model.predictor.width": 17,
    "model.predictor.depth": 2,
    "model.predictor.heads": 2,
    "model.predictor.head_dim": 16,
    "model.predictor.mlp": 35,
}


@pytest.mark.skipif(INTERPRETED or not INSTALLED, reason="already there, or triton is not installed")
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout  # this test, and no other


@pytest.fixture
def unwritten_is_nan():
    """Makes every `torch.empty` NaN, so that what a kernel leaves out shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def weights(config, seed=0):
    """In float64, every tensor different from what it is at first."""
    torch.manual_seed(seed)
    model = WorldModel(config.model).double().eval()
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


def single(tensors, heads=2):
    return pack(typed(tensors, torch.float32), heads=heads)


@interpreted
@pytest.mark.usefixtures("unwritten_is_nan")
@pytest.mark.parametrize(
    ("B", "S", "L", "H", "predictor", "seeds"),
    [
        (1, 1, 1, 4, {}, 5),
        (2, 9, 1, 2, {"history": 1}, 3),
        (1, 17, 2, 3, {"depth": 1, "width": 33}, 1),
        (1, 3, 5, 2, {"history": 2, "width": 16, "heads": 3}, 3),
    ],
    ids=str,
)
def test_error_is_at_most_twice_that_of_the_definition(B, S, L, H, predictor, seeds):
    ours = definition = 0.0
    heads = predictor.get("heads", 2)
    for seed in range(seeds):  # of a handful of numbers one alone is often right by chance
        tensors, given = tiny(seed, **predictor), inputs(B, S, L, H, seed=seed)
        exact = reference.rollout(tensors, *(x.double() for x in given), heads=heads)
        plain = reference.rollout(typed(tensors, torch.float32), *given, heads=heads)
        got = rollout(single(tensors, heads), *given, backend="triton")
        ours += (got - exact).square().sum().item()
        definition += (plain - exact).square().sum().item()
    assert ours <= 4 * definition


@interpreted
@pytest.mark.usefixtures("unwritten_is_nan")
def test_how_the_work_is_cut_changes_roundings_alone_and_repeats_to_the_bit(monkeypatch):
    tensors, given = tiny(depth=1, mlp=70), inputs(2, 20, 2, 2)
    packed = single(tensors)
    exact = reference.rollout(tensors, *(x.double() for x in given), heads=2)
    bits = []
    for programs, rows_and_splits in ((1, (32, 1, 1)), (132, (16, 3, 2))):
        monkeypatch.setattr(tiles, "_PROGRAMS", programs)
        out, mlp = tiles.attention_out_tile(40, 1, 17, 2, 16, 4), tiles.mlp_tile(40, 1, 17, 70, 4)
        assert (out.rows, mlp.splits, out.splits) == rows_and_splits
        bits.append(kernels.rollout(packed, *given))
        assert torch.equal(bits[-1], kernels.rollout(packed, *given))
        assert (bits[-1] - exact).norm() <= 2e-6 * exact.norm()
    assert not torch.equal(*bits)  # or nothing was split


@interpreted
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, which plays the GPU
def test_what_is_not_a_number_stays_with_its_candidate():
    packed, (latents, candidates, _) = single(tiny()), inputs(2, 3, 1, 3)
    expected = kernels.rollout(packed, latents, candidates)
    candidates[1, 2, 1, 0] = torch.nan
    got = kernels.rollout(packed, latents, candidates)
    assert got[1, 2, 1:].isnan().all()
    got[1, 2, 1:] = expected[1, 2, 1:]
    assert torch.equal(got, expected)


@interpreted
def test_layout_and_what_no_window_sees_do_not_matter():
    packed, (latents, candidates, history) = single(tiny(history=2)), inputs(2, 2, 4, 2)
    expected = kernels.rollout(packed, latents[:, 2:], candidates, history[:, 2:])
    latents[:, :2], history[:, :2] = torch.nan, torch.nan
    strided = [x.mT.contiguous().mT for x in (latents, candidates, history)]
    assert not any(x.is_contiguous() for x in strided)
    assert torch.equal(kernels.rollout(packed, *strided), expected)


@interpreted
def test_gelu():
    x = torch.cat([torch.linspace(-12, 12, 4095), torch.tensor([torch.nan])])
    exact, y = torch.nn.functional.gelu(x.double()), torch.empty_like(x)
    gelu_kernel[(1,)](x, y, True, 4096)
    assert y[-1].isnan()
    assert (y - exact)[:-1].abs().max() <= 5e-5
    gelu_kernel[(1,)](x, y, False, 4096)
    plain = torch.nn.functional.gelu(x)
    assert (y - exact)[:-1].norm() <= 2 * (plain - exact)[:-1].norm()


@interpreted
def test_rounding_to_tf32():
    special = torch.tensor([0.0, torch.inf, -torch.inf, torch.nan])
    nan_of_a_gpu = torch.tensor([0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    x = torch.cat([torch.randn(4091, generator=torch.Generator().manual_seed(0)), special, nan_of_a_gpu])
    y = torch.empty_like(x)
    cast_kernel[(1,)](x, y, 4096)
    assert ((y[:4091] - x[:4091]).abs() <= 2**-11 * x[:4091].abs()).all()
    assert (y[:4091].view(torch.int32) & 0x1FFF == 0).all()
    torch.testing.assert_close(y[4091:], x[4091:], rtol=0, atol=0, equal_nan=True)


@given(
    C=st.integers(1, 10**6),
    N=st.integers(1, 8),
    width=st.integers(1, 512),
    hidden=st.integers(1, 4096),
    size=st.sampled_from([2, 4]),
)
def test_splits_cover_the_work_without_idle_or_too_many_programs(C, N, width, hidden, size):
    for tile, step in (
        (tiles.attention_in_tile(C, N, width, hidden, size), 64),
        (tiles.attention_out_tile(C, N, width, hidden, 64, size), 1),
        (tiles.mlp_tile(C, N, width, hidden, size), 32),
    ):
        assert tile.rows in (16, 32, 64, 128)
        assert tile.share % step == 0
        assert (tile.splits - 1) * tile.share < hidden <= tile.splits * tile.share
        assert tile.splits == 1 or tile.splits * N * -(-C // tile.rows) <= 132


@given(width=st.integers(1, 512), size=st.sampled_from([2, 4]))
def test_blocks_of_columns_hold_less_than_twice_a_row(width, size):
    columns = tiles.columns(width, size)
    assert columns in (16, 32, 64)
    assert -(-width // columns) * columns < 2 * max(width, 16)
    assert 192 % tiles.columns(192, size) == 0


@pytest.mark.parametrize(
    ("predictor", "reason"),
    [
        ({}, None),
        ({"head_dim": 8}, "heads of width 8 are not one of 16, 32, 64, 128"),
        ({"history": 9}, "windows of 9 latents are longer than 8"),
        ({"width": 257}, "rows of width 257 are wider than 256 in precision fp32"),
    ],
)
def test_what_it_does_not_take(predictor, reason):
    assert tiles.unsupported(single(tiny(**predictor))) == reason


@pytest.fixture(scope="module")
def paper():
    """The paper's model in float64 on a GPU."""
    return {name: tensor.cuda() for name, tensor in weights(recipes.paper("two-room", 2)).items()}


@pytest.fixture
def matmul_precision():
    """Sets PyTorch's for the time of a test."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


HEADS = 16


@pytest.mark.gpu
@pytest.mark.parametrize(("B", "S", "L"), [(1, 300, 1), (1, 300, 3), (3, 17, 2), (7, 300, 1), (50, 300, 1)])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_on_a_gpu_the_error_is_at_most_twice_that_of_the_definition(paper, matmul_precision, precision, B, S, L):
    given = [x.cuda() for x in inputs(B, S, L, 5, D=192)]
    exact = reference.rollout(paper, *(x.double() for x in given), heads=HEADS)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matmul_precision("high" if precision == "tf32" else "highest")
    plain = reference.rollout(typed(paper, dtype), *(x.to(dtype) for x in given), heads=HEADS)
    packed = pack(typed(paper, torch.float32), heads=HEADS, precision=precision)
    got = rollout(packed, *given, backend="triton")
    assert (got - exact).norm() <= 2 * (plain - exact).norm()
    assert torch.equal(got, rollout(packed, *given, backend="triton"))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_records_it(paper, precision):
    packed = pack(typed(paper, torch.float32), heads=HEADS, precision=precision)
    latents, candidates, _ = (x.cuda() for x in inputs(2, 100, 1, 5, D=192))
    first = rollout(packed, latents, candidates, backend="triton")  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = rollout(packed, latents, candidates, backend="triton")
    graph.replay()
    assert torch.equal(recorded, first)
    candidates.neg_()
    graph.replay()
    assert torch.equal(recorded, rollout(packed, latents, candidates, backend="triton"))
    assert not torch.equal(recorded, first)
