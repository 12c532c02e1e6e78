"""SIGReg's Triton kernels compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

Run with LEWM_COMPILE_ONLY=1, in a process of its own, because interpreted kernels cannot be compiled: see conftest.py.

Shapes: D latent width, K knots.
"""

import importlib
import re
import subprocess

import pytest
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from lewm_kernels.sigreg import tiles

kernels = importlib.import_module("lewm_kernels.sigreg.triton")

# Bytes that one program may have, from the table of compute capabilities in CUDA's programming guide.
SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}


def compile_for(capability, kernel, dtype, random, **constants):
    """The kernel for contiguous tensors, every size a multiple of 16, as a launch with these constants compiles it."""
    num_warps = constants.pop("num_warps")
    constants |= {"stride_z_d": 1, "stride_directions_m": 1, "directions_ptr" if random else "step_ptr": None}
    types = {"z_ptr": f"*{dtype}", "step_ptr": "*i64", "seed": "u64"}
    signature, attributes = {}, {}
    for i, parameter in enumerate(kernel.params):
        if parameter.name in constants:
            signature[parameter.name] = "constexpr"
            continue
        signature[parameter.name] = types.get(parameter.name, "*fp32" if parameter.name.endswith("_ptr") else "i32")
        if parameter.name != "seed":  # whose value the kernels are told not to look at
            attributes[i,] = [["tt.divisibility", 16]]
    return compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "enable_fp_fusion": True},
    )


def check(capability, compiled):
    assert len(compiled.asm["cubin"]) > 1000
    assert 0 < compiled.metadata.shared <= SHARED_MEMORY[capability]
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    ptx = compiled.asm["ptx"]
    assert not re.search(r"\b(atom|red)\.", ptx)  # sums in an order of their own
    assert not re.search(r"\b(mma|wgmma|tcgen05)\b.*tf32", ptx)  # projections in float32
    assert "ld.local" not in ptx  # a sine with a table in memory


def spilled_bytes(compiled, folder):
    """What a thread keeps in memory for want of registers."""
    file = folder / "kernel.cubin"
    file.write_bytes(compiled.asm["cubin"])
    command = [knobs.nvidia.cuobjdump.path, "-res-usage", file]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(
    ("random", "dtype", "K"), [(False, "fp32", 17), (False, "bf16", 17), (False, "fp32", 64), (True, "fp32", 17)]
)
def test_forward(capability, random, dtype, K, tmp_path):
    block_k = 1 << (K - 2).bit_length()
    sizes = {"K": K, "DELTA": 3 / (K - 1), "BLOCK_K": block_k, **vars(tiles.forward_tile())}
    compiled = compile_for(capability, kernels._sigreg_forward_kernel, dtype, random, **sizes)
    check(capability, compiled)
    assert K == 64 or spilled_bytes(compiled, tmp_path) == 0


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(
    ("random", "dtype", "D"),  # the paper's width, and the widest that each tile and each pair of blocks takes
    [
        (False, "fp32", 192),
        (False, "bf16", 192),
        (False, "fp32", 255),
        (False, "fp32", 511),
        (False, "fp32", 1000),
        (False, "fp32", 1024),
        (True, "fp32", 192),
        (True, "fp32", 512),
        (True, "fp32", 1024),
    ],
)
def test_backward(capability, random, dtype, D, tmp_path):
    K = 17
    head, tail = tiles.row_blocks(D)
    blocks = {"BLOCK_HEAD": head, "BLOCK_TAIL": tail, **vars(tiles.backward_tile(D, random))}
    sizes = {"K": K, "DELTA": 3 / (K - 1), **blocks}
    compiled = compile_for(capability, kernels._sigreg_backward_kernel, dtype, random, **sizes)
    check(capability, compiled)
    assert D not in ((192, 512) if random else (192, 1024)) or spilled_bytes(compiled, tmp_path) == 0
