"""Candidates as a Triton kernel: Philox, Box-Muller, scaling and shifting in registers, one store.

Shapes: B environments, S candidates, H horizon in blocks, A action-block width, G blocks of a group of random numbers.

A program draws one group of one environment, 4 G numbers, which lie as `lewm_kernels.philox` says.
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm_kernels.philox import G

_TAU = tl.constexpr(2 * math.pi)
_STEP = tl.constexpr(2.0**-23)


@triton.jit
@no_type_check
def _uniform(word):
    return ((word >> 9).to(tl.float32) + 0.5) * _STEP


@triton.jit
@no_type_check
def _box_muller(first, second):
    """Two normal numbers from two words. The root is precise: an approximation's error would show in small numbers."""
    radius = tl.sqrt_rn(-2 * tl.log(_uniform(first)))
    angle = _uniform(second) * _TAU
    return radius * tl.cos(angle), radius * tl.sin(angle)


@triton.jit
@no_type_check
def _store(mean_ptr, std_ptr, candidates_ptr, o_e, noise, count, width):
    """Elements `o_e` of an environment's candidates; the first `width` are the mean itself."""
    m_e = o_e < count
    o_w = o_e % width
    mean = tl.load(mean_ptr + o_w, mask=m_e, other=0.0)
    std = tl.load(std_ptr + o_w, mask=m_e, other=0.0)
    tl.store(candidates_ptr + o_e, mean + std * tl.where(o_e < width, 0.0, noise), mask=m_e)


# Streams are read a word at a time: to compile for their alignment, which differs between iterations, would not help.
@triton.jit(do_not_specialize=["seed"], do_not_specialize_on_alignment=["streams_ptr"])
@no_type_check
def _candidates_kernel(
    streams_ptr,
    mean_ptr,
    std_ptr,
    candidates_ptr,
    seed,
    count,
    width,
    groups,
    stride_streams_b,
    stride_streams_word,
    G: tl.constexpr,
):
    pid = tl.program_id(0)
    b = (pid // groups).to(tl.int64)
    group = (pid % groups).to(tl.int64)
    streams_ptr += b * stride_streams_b
    c1 = tl.load(streams_ptr).to(tl.uint32)
    c2 = tl.load(streams_ptr + stride_streams_word).to(tl.uint32)
    c3 = tl.load(streams_ptr + 2 * stride_streams_word).to(tl.uint32)
    o_g = tl.arange(0, G)
    w0, w1, w2, w3 = tl.philox(seed, (group * G + o_g).to(tl.uint32), c1, c2, c3)
    n0, n1 = _box_muller(w0, w1)
    n2, n3 = _box_muller(w2, w3)

    mean_ptr += b * width
    std_ptr += b * width
    candidates_ptr += b * count
    o_e = group * 4 * G + o_g
    _store(mean_ptr, std_ptr, candidates_ptr, o_e, n0, count, width)
    _store(mean_ptr, std_ptr, candidates_ptr, o_e + G, n1, count, width)
    _store(mean_ptr, std_ptr, candidates_ptr, o_e + 2 * G, n2, count, width)
    _store(mean_ptr, std_ptr, candidates_ptr, o_e + 3 * G, n3, count, width)


def candidates(
    seed: int,
    streams: Int64[Tensor, "B 3"],
    mean: Float32[Tensor, "B H A"],
    std: Float32[Tensor, "B H A"],
    samples: int,
) -> Float32[Tensor, "B S H A"]:
    """Computes `lewm_kernels.candidates`."""
    B, H, A = mean.shape
    drawn = torch.empty(B, samples, H, A, dtype=torch.float32, device=mean.device)
    count = samples * H * A
    groups = triton.cdiv(count, 4 * G)
    with torch.cuda.device_of(mean):  # Triton launches on the current device
        _candidates_kernel[(B * groups,)](
            streams_ptr=streams,
            mean_ptr=mean.contiguous(),
            std_ptr=std.contiguous(),
            candidates_ptr=drawn,
            seed=seed,
            count=count,
            width=H * A,
            groups=groups,
            stride_streams_b=streams.stride(0),
            stride_streams_word=streams.stride(1),
            G=G,
            num_warps=4,
            enable_fp_fusion=True,
        )
    return drawn
