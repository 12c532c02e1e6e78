"""The Triton kernel of candidates compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

Run with LEWM_COMPILE_ONLY=1, in a process of its own, because interpreted kernels cannot be compiled: see conftest.py.
"""

import importlib
import re

import pytest
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("seed", ["i32", "i64", "u64"])  # small, above 2^31, above 2^63
def test_kernel(capability, seed):
    kernel = importlib.import_module("lewm_kernels.candidates.triton")._candidates_kernel
    types = {"streams_ptr": "*i64", "mean_ptr": "*fp32", "std_ptr": "*fp32", "candidates_ptr": "*fp32"}
    types |= {"seed": seed, "G": "constexpr"}
    compiled = compile(
        ASTSource(kernel, {p.name: types.get(p.name, "i32") for p in kernel.params}, {"G": 128}),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 4, "enable_fp_fusion": True},
    )
    assert len(compiled.asm["cubin"]) > 1000
    assert compiled.metadata.shared == 0
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    assert not re.search(r"\b(lg2|sin|cos|sqrt)\.approx", compiled.asm["ptx"])  # numbers near 0 would be wrong
