"""The rollout's Triton kernels compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

A rollout compiles what it would launch, and launches nothing. Run with LEWM_COMPILE_ONLY=1, in a process of its own,
because interpreted kernels cannot be compiled: see conftest.py.

Shapes: C candidates, L context length, H horizon in blocks.
"""

import dataclasses
import importlib
import re
import subprocess
import tempfile

import pytest
import torch

from lewm import recipes
from lewm.config import resolve
from lewm.model.world_model import WorldModel

# Bytes that one program may have, from the table of compute capabilities in CUDA's programming guide.
SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}

# Bytes that a thread may keep in memory while it loads a tile of rows or stores it; loops that spill take 250 or more.
SPILLED = 160

KERNELS = ("attention_in_kernel", "attention_out_kernel", "mlp_kernel")


class Driver:
    """Says what a driver is asked before a launch."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return self.capability  # for Triton's cache: kernels of different targets are on different devices

    def get_current_stream(self, _device):
        return 0


class CompileOnly:
    """A kernel that is compiled where it would be launched."""

    def __init__(self, kernel, compiled):
        self.kernel, self.compiled = kernel, compiled

    def __getitem__(self, grid):
        def launch(**arguments):
            self.compiled.append((self.kernel.fn.__name__, self.kernel.warmup(grid=grid, **arguments)))

        return launch


@pytest.fixture
def compiled_by(monkeypatch):
    """Compiles what a rollout of `C` candidates launches; the result are names and kernels."""
    from triton.runtime import driver

    module = importlib.import_module("lewm_kernels.rollout.kernels")
    path = importlib.import_module("lewm_kernels.rollout.triton")

    def compile_all(capability, packed, C, L, H):
        compiled = []
        driver.set_active(Driver(capability))
        for name in KERNELS:
            monkeypatch.setattr(module, name, CompileOnly(getattr(module, name), compiled))
        latents, history = torch.zeros(1, L, packed.latent), torch.zeros(1, L - 1, packed.action_block)
        path.rollout(packed, latents, torch.zeros(1, C, H, packed.action_block), history)
        return compiled

    yield compile_all
    driver.set_active(None)


def check(capability, compiled):
    cubin = compiled.asm["cubin"]
    assert len(cubin) > 1000
    assert 0 < compiled.metadata.shared <= SHARED_MEMORY[capability]
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    assert not re.search(r"\b(atom|red)\.", compiled.asm["ptx"])  # sums in an order of their own
    assert stack(cubin) <= SPILLED


def stack(cubin):
    """Bytes that a thread keeps in memory."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


def pack(recipe, precision, **predictor):
    changes = {f"model.predictor.{key}": value for key, value in {"depth": 2, **predictor}.items()}
    model = WorldModel(resolve(recipe("two-room", 2), None, changes).model).eval()
    packed = model.pack("bf16" if precision == "bf16" else "fp32")
    return dataclasses.replace(packed, precision=precision)  # `pack` refuses TF32 where there is no GPU


@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_many_candidates_of_the_papers_model(compiled_by, capability):
    compiled = compiled_by(capability, pack(recipes.paper, "bf16"), 720, L=3, H=1)
    assert [name for name, _ in compiled] == [*KERNELS, *KERNELS, "mlp_kernel"]
    for _, kernel in compiled:
        check(capability, kernel)
    products = {80: r"\bmma\.sync\S*\.bf16", 90: r"\bwgmma\.\S*\.bf16", 100: r"\btcgen05\.mma\b"}
    for _, kernel in compiled[:3]:  # of the first layer; in the last, a third of the rows go on
        assert re.search(products[capability], kernel.asm["ptx"])


def test_few_candidates_of_the_papers_model(compiled_by):
    compiled = compiled_by(90, pack(recipes.paper, "bf16"), 300, L=1, H=2)
    for _, kernel in compiled:
        check(90, kernel)
        assert stack(kernel.asm["cubin"]) == 0


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("history", [1, 3])
def test_float32(compiled_by, history, precision):
    compiled = compiled_by(90, pack(recipes.small, precision, history=history), 300, L=history, H=1)
    of_a_layer = [name for name in KERNELS if history > 1 or name != "attention_out_kernel"]
    assert [name for name, _ in compiled] == [*of_a_layer, *of_a_layer, "mlp_kernel"]
    for _, kernel in compiled:
        check(90, kernel)
        assert bool(re.search(r"mma\S*tf32", kernel.asm["ptx"])) == (precision == "tf32")
