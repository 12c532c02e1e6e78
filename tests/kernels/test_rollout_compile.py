"""The rollout's Triton kernels compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

A rollout compiles what it would launch, and launches nothing. Run with LEWM_COMPILE_ONLY=1, in a process of its own,
because interpreted kernels cannot be compiled: see conftest.py.

Shapes: C candidates, L context length, H horizon in blocks.
"""

import dataclasses
import functools
import importlib
import re

import pytest
import torch

from lewm import recipes
from lewm.config import resolve
from lewm.model import build

# Bytes that one program may have, from the table of compute capabilities in CUDA's programming guide.
SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}

REGISTERS = 65536  # the registers of a multiprocessor

# Bytes that a thread may keep in memory while it loads a tile of rows or stores it; loops that spill take 250 or more.
SPILLED = 160

SPLIT_LAYER = ["attention_in_kernel", "attention_out_kernel", "mlp_kernel"]
WITHOUT_PRODUCTS = ("enter_kernel", "attend_kernel")  # these need no shared memory


@pytest.fixture
def compiled_by(compiled_when_launched):
    """Compiles what a rollout of `C` candidates launches; the result are names and kernels."""
    path = importlib.import_module("lewm_kernels.rollout.triton")
    modules = [f"lewm_kernels.rollout.{name}" for name in ("kernels", "whole_kernels", "layerwise_kernels")]

    def compile_all(capability, packed, C, L, H, design):
        latents, history = torch.zeros(1, L, packed.latent), torch.zeros(1, L - 1, packed.action_block)
        candidates = torch.zeros(1, C, H, packed.action_block)
        run = functools.partial(path.rollout, packed, latents, candidates, history, design)
        return compiled_when_launched(capability, modules, run)

    return compile_all


def check(capability, name, compiled, usage):
    ptx = compiled.asm["ptx"]
    assert len(compiled.asm["cubin"]) > 1000
    assert (name not in WITHOUT_PRODUCTS) <= compiled.metadata.shared <= SHARED_MEMORY[capability]
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    assert not re.search(r"\b(atom|red)\.", ptx)  # sums in an order of their own
    assert usage(compiled)["STACK"] <= SPILLED
    assert not re.search(NARROW_LOAD, loops(ptx))


def two_fit(compiled, usage):
    """Whether two programs share a multiprocessor of an H100, so that one computes while the other waits."""
    registers = 32 * compiled.metadata.num_warps * usage(compiled)["REG"]
    return 2 * compiled.metadata.shared <= SHARED_MEMORY[90] and 2 * registers <= REGISTERS


# Two bytes at a time: what the compiler makes of weights when it does not know how they are aligned.
NARROW_LOAD = r"\bld\.global\S*\.[bu]16\b"


def loops(ptx):
    """All lines between a label and a jump back to it."""
    lines = ptx.splitlines()
    labels = {line.split(":")[0].strip(): i for i, line in enumerate(lines) if re.match(r"\s*\$L\w+:", line)}
    jumps = ((i, re.search(r"\bbra(?:\.uni)?\s+(\$L\w+);", line)) for i, line in enumerate(lines))
    within = {j for i, jump in jumps if jump for j in range(labels[jump[1]], i)}
    return "\n".join(lines[i] for i in sorted(within))


def pack(recipe, precision, residual=False, **predictor):
    changes = {f"model.predictor.{key}": value for key, value in {"depth": 2, **predictor}.items()}
    model = build(resolve(recipe("two-room", 2), None, changes).model).eval()
    packed = model.pack("bf16" if precision == "bf16" else "fp32")
    return dataclasses.replace(
        packed, precision=precision, residual=residual
    )  # `pack` refuses TF32 where there is no GPU


every_kind = pytest.mark.parametrize("residual", [False, True], ids=["adaln", "residual"])


@every_kind
@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_many_split_candidates_of_the_papers_model(compiled_by, usage, capability, residual):
    compiled = compiled_by(capability, pack(recipes.paper, "bf16", residual), 720, L=3, H=1, design="split")
    assert [name for name, _ in compiled] == [*SPLIT_LAYER, *SPLIT_LAYER, "mlp_kernel"]
    for name, kernel in compiled:
        check(capability, name, kernel, usage)
    for _, kernel in compiled[:3]:  # the kernels of the first layer; in the last, a third of the rows go on
        assert re.search(PRODUCTS[capability], kernel.asm["ptx"])


PRODUCTS = {80: r"\bmma\.sync\S*\.bf16", 90: r"\bwgmma\.\S*\.bf16", 100: r"\btcgen05\.mma\b"}


@every_kind
def test_few_split_candidates_of_the_papers_model(compiled_by, usage, residual):
    for name, kernel in compiled_by(90, pack(recipes.paper, "bf16", residual), 300, L=1, H=2, design="split"):
        check(90, name, kernel, usage)
        assert usage(kernel)["STACK"] == 0
        assert usage(kernel)["REG"] <= 80


@every_kind
@pytest.mark.parametrize("capability", [90, 100])
def test_whole_rows_of_the_papers_model(compiled_by, usage, capability, residual):
    compiled = compiled_by(capability, pack(recipes.paper, "bf16", residual), 15000, L=3, H=1, design="whole")
    layer = ["enter_kernel", *["attention_kernel"] * 3, "mlp_kernel"]
    last_layer = ["enter_kernel", "attention_kernel", "mlp_kernel"]
    assert [name for name, _ in compiled] == [*layer, *last_layer, "mlp_kernel"]
    for name, kernel in compiled:
        check(capability, name, kernel, usage)
        if name != "enter_kernel":
            assert re.search(PRODUCTS[capability], kernel.asm["ptx"])
        assert capability != 90 or two_fit(kernel, usage)


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize("C", [300, 15000])
def test_layers_between_products(compiled_by, usage, capability, C):
    compiled = compiled_by(capability, pack(recipes.paper, "bf16"), C, L=3, H=1, design="layerwise")
    layer = ["enter_kernel", "attend_kernel", "enter_kernel", "gelu_linear_kernel"]
    assert [name for name, _ in compiled] == [*layer, *layer, "enter_kernel", "gelu_linear_kernel"]
    for name, kernel in compiled:
        check(capability, name, kernel, usage)
        assert usage(kernel)["STACK"] == 0
        if name in WITHOUT_PRODUCTS:  # bound by memory, so many programs have to wait for it at a time
            assert usage(kernel)["REG"] <= 64
        else:
            assert re.search(PRODUCTS[capability], kernel.asm["ptx"])
            assert capability != 90 or two_fit(kernel, usage)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("design", ["split", "layerwise"])
def test_float32(compiled_by, usage, design, history, precision):
    compiled = compiled_by(90, pack(recipes.small, precision, history=history), 300, L=history, H=1, design=design)
    of_split = [name for name in SPLIT_LAYER if history > 1 or name != "attention_out_kernel"]
    of_layerwise = ["enter_kernel", *["attend_kernel"] * (history > 1), "enter_kernel", "gelu_linear_kernel"]
    layer, projector = {
        "split": (of_split, ["mlp_kernel"]),
        "layerwise": (of_layerwise, ["enter_kernel", "gelu_linear_kernel"]),
    }[design]
    assert [name for name, _ in compiled] == [*layer, *layer, *projector]
    for name, kernel in compiled:
        check(90, name, kernel, usage)
        has_tf32 = bool(re.search(r"mma\S*tf32", kernel.asm["ptx"]))
        assert has_tf32 == (precision == "tf32" and name not in WITHOUT_PRODUCTS)


def test_narrow_loads_are_found_in_loops_alone():
    ptx = "ld.global.b16 a;\n$L__BB0_1:\n  @%p1 ld.global.b16 b;\n  @%p2 bra $L__BB0_1;\nld.global.u16 c;"
    assert re.findall(NARROW_LOAD + r".*", loops(ptx)) == ["ld.global.b16 b;"]
