"""The Triton kernel of candidates compiled to machine code for sm_80, sm_90 and sm_100, which needs no GPU.

Run with LEWM_COMPILE_ONLY=1, in a process of its own, because interpreted kernels cannot be compiled: see conftest.py.
"""

import functools
import importlib
import re

import pytest
import torch


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("seed", [0, 1 << 31, 1 << 63])
def test_kernel(compiled_when_launched, usage, capability, seed):
    path = importlib.import_module("lewm_kernels.candidates.triton")
    streams, mean = torch.zeros(3, 3, dtype=torch.int64), torch.zeros(3, 5, 10)
    run = functools.partial(path.candidates, seed, streams, mean, mean, 300)
    ((_, compiled),) = compiled_when_launched(capability, ["lewm_kernels.candidates.triton"], run)
    ptx = compiled.asm["ptx"]
    assert len(compiled.asm["cubin"]) > 1000
    assert compiled.metadata.shared == 0
    assert compiled.metadata.global_scratch_size == 0  # memory that no launcher allocates
    assert not re.search(r"\b(lg2|sin|cos|sqrt)\.approx", ptx)  # numbers near 0 would be wrong
    assert not re.search(r"\bld\.global\S*\.[bu]16\b", ptx)
    assert usage(compiled)["STACK"] <= 32  # cosine and sine keep a table there for angles larger than these
    assert usage(compiled)["REG"] <= 64
