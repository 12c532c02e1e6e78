"""SIGReg's Triton kernels compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

The path compiles what it would launch, with the arguments of the launch, and launches nothing. Run with
LEWM_COMPILE_ONLY=1, in a process of its own, because interpreted kernels cannot be compiled: see conftest.py.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import importlib
import re
import subprocess

import pytest
import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from lewm_kernels import RandomDirections

path = importlib.import_module("lewm_kernels.sigreg.triton")

# Bytes that one program may have, from the table of compute capabilities in CUDA's programming guide.
SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}

KERNELS = ("sigreg_forward_kernel", "sigreg_finish_kernel", "sigreg_backward_kernel")

# Registers of a thread and bytes of shared memory at the paper's width and number of knots. The first is what a
# multiprocessor has for each of a program's threads: 65,536 for 256 or 512.
BOUNDS = dict(zip(KERNELS, ((255, 24 << 10), (128, 2 << 10), (255, 24 << 10)), strict=True))

# Bytes that a thread may keep in memory for want of registers: forward with some versions of Triton, to leave room for
# a third program, and backward with the widest rows for sm_80, in 32 of its 13,000 instructions.
SPILLED, SPILLED_WIDE = 32, 128


class Driver:
    """Says what a driver is asked before a launch."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_target(self):
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
            self.compiled[self.kernel.fn.__name__] = self.kernel.warmup(grid=grid, **arguments)

        return launch


@pytest.fixture
def compiled_by(monkeypatch):
    """Compiles what forward and backward of one call launch; the result are kernels by name."""
    kernels = {name: getattr(path.kernels, name) for name in KERNELS}

    def compile_all(capability, z, random, M, K):
        compiled = {}
        driver.set_active(Driver(capability))
        for name, kernel in kernels.items():
            monkeypatch.setattr(path.kernels, name, CompileOnly(kernel, compiled))
        source = RandomDirections(0, torch.tensor(0), M) if random else torch.zeros(z.shape[-1], M)
        path.statistic_and_gradient(z, source, K, 3 / (K - 1), with_gradient=True)
        assert set(compiled) == set(KERNELS)
        return compiled

    yield compile_all
    driver.set_active(None)


def check(capability, compiled):
    assert len(compiled.asm["cubin"]) > 1000
    assert 0 < compiled.metadata.shared <= SHARED_MEMORY[capability]
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    ptx = compiled.asm["ptx"]
    assert not re.search(r"\b(atom|red)\.", ptx)  # sums in an order of their own
    assert not re.search(r"\b(mma|wgmma|tcgen05)\b.*tf32", ptx)  # projections in float32
    assert "ld.local" not in ptx  # a sine with a table in memory


def resources(compiled, folder):
    """Registers of a thread, and bytes that it keeps in memory for want of more."""
    file = folder / "kernel.cubin"
    file.write_bytes(compiled.asm["cubin"])
    command = [knobs.nvidia.cuobjdump.path, "-res-usage", file]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(int(re.search(rf"{what}:(\d+)", usage)[1]) for what in ("REG", "STACK"))


def bytes_of_loads(ptx):
    """How many bytes each load from global memory takes, those included that go to shared memory by themselves."""
    loads = re.findall(r"ld\.global(?:\.\w+)*?(?:\.v(\d))?\.[bfsu](\d+)\b", ptx)
    copies = re.findall(r"cp\.async\.c[ag]\.shared\.global(?:\.\w+::\w+)* \[[^]]*\], \[[^]]*\], (0x\w+|\d+)", ptx)
    assert len(copies) == len(re.findall(r"cp\.async\.c[ag]", ptx))
    return [int(count or 1) * int(bits) // 8 for count, bits in loads] + [int(size, 0) for size in copies]


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(
    ("dtype", "random"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)], ids=str
)
def test_training_step_at_the_papers_sizes(compiled_by, capability, dtype, random, tmp_path):
    """Embeddings are a view with its first dimensions exchanged, as the training loss gives them."""
    z = torch.zeros(128, 4, 192, dtype=dtype).transpose(0, 1)
    for name, compiled in compiled_by(capability, z, random, M=1024, K=17).items():
        check(capability, compiled)
        registers, spilled = resources(compiled, tmp_path)
        assert registers <= BOUNDS[name][0]
        assert spilled <= SPILLED
        assert compiled.metadata.shared <= BOUNDS[name][1]
        loads = bytes_of_loads(compiled.asm["ptx"])
        assert loads
        assert min(loads) >= 8  # in one instruction a thread: 16 where embeddings and directions have 32 bits


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(
    ("random", "dtype", "D", "K"),  # the widest that each tile and each pair of blocks takes; most and fewest knots
    [
        (False, torch.float32, 255, 17),
        (False, torch.float32, 511, 17),
        (False, torch.float32, 1000, 17),
        (False, torch.float32, 1024, 17),
        (True, torch.float32, 512, 17),
        (True, torch.float32, 1024, 17),
        (False, torch.float32, 192, 64),
        (False, torch.float16, 1, 2),
    ],
)
def test_other_widths_and_knots(compiled_by, capability, random, dtype, D, K, tmp_path):
    for name, compiled in compiled_by(capability, torch.zeros(2, 64, D, dtype=dtype), random, M=48, K=K).items():
        check(capability, compiled)
        if name == "sigreg_finish_kernel" or (random, D) in ((True, 512), (False, 1024)):
            assert resources(compiled, tmp_path)[1] <= (SPILLED_WIDE if D == 1024 else SPILLED)


def test_sizes_of_one_which_triton_makes_constants(compiled_by):
    for compiled in compiled_by(90, torch.zeros(1, 1, 1), False, M=1, K=2).values():
        check(90, compiled)


@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_finish_with_the_count_on_the_device(capability, monkeypatch):
    """As several processes call it."""
    compiled = {}
    monkeypatch.setattr(path.kernels, KERNELS[1], CompileOnly(path.kernels.sigreg_finish_kernel, compiled))
    driver.set_active(Driver(capability))
    packed = torch.zeros(4 * 16 * 2 * 1024 + 1)  # the sums of all processes, and behind them their count
    path.finish(packed[:-1].view(4, 16, 2, 1024), packed[-1], 3 / 16)
    driver.set_active(None)
    check(capability, compiled[KERNELS[1]])
