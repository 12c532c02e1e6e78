"""Counts of operations, launches and sizes are those of the code that they are about."""

import importlib
import importlib.util

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lewm import recipes
from lewm.model import build
from lewm_kernels.rollout import reference, rollout
from lewm_kernels.rollout.tiles import DESIGNS


def test_a_rollout_counts_139_and_79_million_multiply_adds(module):
    counts, model = module("_counts"), recipes.paper("two-room", 2).model
    assert round(counts.multiply_adds(counts.released(model, 5)) / 1e6) == 139
    assert round(counts.multiply_adds(counts.needed(model, 5)) / 1e6) == 79


@pytest.mark.parametrize(("width", "history"), [(64, 1), (64, 3), (24, 3), (64, 9)])
def test_the_products_counted_are_those_that_are_computed(module, width, history):
    counts, H = module("_counts"), 5
    sizes = recipes.small("two-room", 2).model
    predictor = sizes.predictor.model_copy(update={"history": history, "width": width})
    sizes = sizes.model_copy(update={"predictor": predictor})
    model, A, S = build(sizes).eval(), sizes.action_block, 64
    latents, candidates = torch.zeros(1, 1, sizes.latent), torch.zeros(1, S, H, A)
    with FlopCounterMode(display=False) as plain, torch.no_grad():
        reference.rollout(model.state_dict(), latents, candidates, heads=predictor.heads)
    # the reference embeds the actions of every window anew, the released code once
    first, hidden = sizes.action_embedder.bottleneck, sizes.action_embedder.hidden
    anew = sum(min(step + 1, history) for step in range(H)) - H
    embedding = A * first + first * hidden + hidden * sizes.latent
    assert matrix_products(plain) == S * (counts.multiply_adds(counts.released(sizes, H)) + anew * embedding)

    packed = model.pack("bf16")  # oneDNN's products, of float32, are not seen
    with FlopCounterMode(display=False) as fast, torch.no_grad():
        rollout(packed, latents, candidates, backend="torch")
    needed = S * counts.multiply_adds(counts.needed(sizes, H))
    assert needed <= matrix_products(fast) < 1.01 * needed


def matrix_products(counter: FlopCounterMode) -> int:
    """Multiply-adds, without attention's."""
    return sum(flops for operator, flops in counter.get_flop_counts()["Global"].items() if "mm" in str(operator)) // 2


class Counted:
    """Stands for a kernel, and counts its launches."""

    def __init__(self, launched):
        self.launched = launched

    def __getitem__(self, grid):
        return lambda **arguments: self.launched.append(grid)


class Launches(TorchDispatchMode):
    """Counts PyTorch's products and sums."""

    def __init__(self, launched):
        super().__init__()
        self.launched = launched

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        counted = (torch.ops.aten.mm.default, torch.ops.aten.mm.out, torch.ops.aten.sum.IntList_out)
        if function in (*counted, torch.ops.aten.add.out):
            self.launched.append(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("design", DESIGNS)
def test_the_launches_counted_are_those_that_are_made(module, monkeypatch, design):
    counts, sizes = module("_design_counts"), recipes.paper("two-room", 2).model
    packed, C, H = build(sizes).eval().pack("bf16"), 3, 5
    launched = []
    for name in ("kernels", "whole_kernels", "layerwise_kernels"):
        kernels = importlib.import_module(f"lewm_kernels.rollout.{name}")
        for kernel in (name for name in vars(kernels) if name.endswith("_kernel")):
            monkeypatch.setattr(kernels, kernel, Counted(launched))
    path = importlib.import_module("lewm_kernels.rollout.triton")
    with torch.no_grad(), Launches(launched):
        path.rollout(packed, torch.zeros(1, 1, 192), torch.zeros(1, C, H, 10), None, design)
    assert len(launched) == len(list(counts.of_call(sizes, design, C, H)))


@pytest.mark.parametrize("design", DESIGNS)
def test_each_design_multiplies_as_much_as_is_needed_or_little_more(module, design):
    counts, sizes = module("_counts"), recipes.paper("two-room", 2).model
    launches = list(module("_design_counts").of_call(sizes, design, 1, 5))
    needed = counts.multiply_adds(counts.needed(sizes, 5))
    assert needed < 1.02 * sum(launch.multiply_adds for launch in launches) < 1.2 * needed


def test_the_model_of_dino_wms_size_has_its_size_and_sees_no_later_frame(module):
    sized = module("dino_wm_sized")
    model = sized.DinoWmSized(224, 10)
    millions = {
        part: sum(p.numel() for p in getattr(model, part).parameters()) / 1e6 for part in ("encoder", "predictor")
    }
    assert 21 < millions["encoder"] < 22.5  # ViT-S without its embeddings
    assert 19 < millions["predictor"] < 20.5
    assert model.mask.shape == (768, 768)
    assert model.mask[:256].sum(dim=1).eq(256).all()
    assert model.mask[512:].all()


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_a_tile_takes_the_place_of_the_tables(module, monkeypatch):
    bench = module("bench_tiles")
    seen = []
    for (design, function), others in bench.TILES.items():
        where = importlib.import_module(f"lewm_kernels.rollout.{design}")
        monkeypatch.setattr(
            bench,
            "rollout",
            lambda *given, where=where, function=function, **_: seen.append(getattr(where, function)()),
        )
        own = getattr(where, function)
        for tile in others:
            bench.Variant(design, function, tile).call(None, None, None)
            assert seen.pop() == tile
        assert getattr(where, function) is own


def test_an_error_of_a_rollout_is_found(module):
    bench, cpu = module("bench_tiles"), torch.device("cpu")
    packed, latents, candidates = bench.inputs(cpu, bench.CHECKED)
    got = rollout(packed, latents, candidates, backend="torch")
    assert 0 < bench.error(got, latents, candidates) < bench.WRONG
    assert bench.error(2 * got, latents, candidates) > bench.WRONG
