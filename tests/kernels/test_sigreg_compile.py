"""SIGReg's Triton kernels compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

In a process of its own, without TRITON_INTERPRET: interpreted kernels cannot be compiled.

Shapes: D latent width, K knots.
"""

import importlib
import importlib.util
import os
import re
import subprocess
import sys

import pytest

from lewm_kernels.sigreg import tiles

OWN_PROCESS = os.environ.get("LEWM_COMPILE_ONLY") == "1"
INSTALLED = importlib.util.find_spec("triton") is not None

# Bytes that one program may have, from the table of compute capabilities in CUDA's programming guide.
SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}

compiles = pytest.mark.skipif(not OWN_PROCESS, reason="runs in the compiler's process")


@pytest.mark.skipif(OWN_PROCESS or not INSTALLED, reason="already there, or triton is not installed")
def test_in_a_process_that_compiles(tmp_path):
    env = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    env |= {"LEWM_COMPILE_ONLY": "1", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout  # this test, and no other


def compile_for(capability, kernel, dtype, **constants):
    """The kernel for contiguous tensors, every size a multiple of 16, as a launch with these constants compiles it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    num_warps = constants.pop("num_warps")
    constants |= {"stride_z_d": 1, "stride_directions_m": 1}
    signature, attributes = {}, {}
    for i, parameter in enumerate(kernel.params):
        if parameter.name in constants:
            signature[parameter.name] = "constexpr"
            continue
        attributes[i,] = [["tt.divisibility", 16]]
        pointer = dtype if parameter.name == "z_ptr" else "fp32"
        signature[parameter.name] = f"*{pointer}" if parameter.name.endswith("_ptr") else "i32"
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


@compiles
@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(("dtype", "K"), [("fp32", 17), ("bf16", 17), ("fp32", 64)])
def test_forward(capability, dtype, K):
    kernels = importlib.import_module("lewm_kernels.sigreg.triton")
    block_k = 1 << (K - 2).bit_length()
    sizes = {"K": K, "DELTA": 3 / (K - 1), "BLOCK_K": block_k, **vars(tiles.forward_tile())}
    check(capability, compile_for(capability, kernels._sigreg_forward_kernel, dtype, **sizes))


@compiles
@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize(
    ("dtype", "D"),  # the paper's width, and the widest that each tile and each pair of blocks takes
    [("fp32", 192), ("bf16", 192), ("fp32", 255), ("fp32", 511), ("fp32", 1000), ("fp32", 1024)],
)
def test_backward(capability, dtype, D):
    kernels = importlib.import_module("lewm_kernels.sigreg.triton")
    K = 17
    head, tail = tiles.row_blocks(D)
    sizes = {"K": K, "DELTA": 3 / (K - 1), "BLOCK_HEAD": head, "BLOCK_TAIL": tail, **vars(tiles.backward_tile(D))}
    check(capability, compile_for(capability, kernels._sigreg_backward_kernel, dtype, **sizes))
