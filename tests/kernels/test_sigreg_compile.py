"""SIGReg's Triton kernels compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

The path compiles what it would launch, with the arguments of the launch, and launches nothing. Run with
LEWM_COMPILE_ONLY=1, in a process of its own, because interpreted kernels cannot be compiled: see conftest.py.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import functools
import importlib
import re

import pytest
import torch

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


@pytest.fixture
def compiled_by(compiled_when_launched):
    """Compiles what forward and backward of one call launch; the result are kernels by name."""

    def compile_all(capability, z, random, M, K):
        source = RandomDirections(0, torch.tensor(0), M) if random else torch.zeros(z.shape[-1], M)
        run = functools.partial(path.statistic_and_gradient, z, source, K, 3 / (K - 1), with_gradient=True)
        compiled = dict(compiled_when_launched(capability, ["lewm_kernels.sigreg.kernels"], run))
        assert set(compiled) == set(KERNELS)
        return compiled

    return compile_all


def check(capability, compiled):
    assert len(compiled.asm["cubin"]) > 1000
    assert 0 < compiled.metadata.shared <= SHARED_MEMORY[capability]
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    ptx = compiled.asm["ptx"]
    assert not re.search(r"\b(atom|red)\.", ptx)  # sums in an order of their own
    assert not re.search(r"\b(mma|wgmma|tcgen05)\b.*tf32", ptx)  # projections in float32
    assert "ld.local" not in ptx  # a sine with a table in memory


def bytes_of_loads(ptx):
    """The bytes of each load from global memory, loads directly to shared memory included."""
    loads = re.findall(r"ld\.global(?:\.\w+)*?(?:\.v(\d))?\.[bfsu](\d+)\b", ptx)
    copies = re.findall(r"cp\.async\.c[ag]\.shared\.global(?:\.\w+::\w+)* \[[^]]*\], \[[^]]*\], (0x\w+|\d+)", ptx)
    assert len(copies) == len(re.findall(r"cp\.async\.c[ag]", ptx))
    return [int(count or 1) * int(bits) // 8 for count, bits in loads] + [int(size, 0) for size in copies]


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(
    ("dtype", "random"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)], ids=str
)
def test_training_step_at_the_papers_sizes(compiled_by, usage, capability, dtype, random):
    """Embeddings are a view with its first dimensions exchanged, as the training loss gives them."""
    z = torch.zeros(128, 4, 192, dtype=dtype).transpose(0, 1)
    for name, compiled in compiled_by(capability, z, random, M=1024, K=17).items():
        check(capability, compiled)
        assert usage(compiled)["REG"] <= BOUNDS[name][0]
        assert usage(compiled)["STACK"] <= SPILLED
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
def test_other_widths_and_knots(compiled_by, usage, capability, random, dtype, D, K):
    for name, compiled in compiled_by(capability, torch.zeros(2, 64, D, dtype=dtype), random, M=48, K=K).items():
        check(capability, compiled)
        if name == "sigreg_finish_kernel" or (random, D) in ((True, 512), (False, 1024)):
            assert usage(compiled)["STACK"] <= (SPILLED_WIDE if D == 1024 else SPILLED)


def test_sizes_of_one_which_triton_makes_constants(compiled_by):
    for compiled in compiled_by(90, torch.zeros(1, 1, 1), False, M=1, K=2).values():
        check(90, compiled)


@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_finish_with_the_count_on_the_device(compiled_when_launched, capability):
    """Compiles it for a call by several processes."""
    packed = torch.zeros(4 * 16 * 2 * 1024 + 1)  # the sums of all processes, and behind them their count
    run = functools.partial(path.finish, packed[:-1].view(4, 16, 2, 1024), packed[-1], 3 / 16)
    ((name, compiled),) = compiled_when_launched(capability, ["lewm_kernels.sigreg.kernels"], run)
    assert name == "sigreg_finish_kernel"
    check(capability, compiled)
