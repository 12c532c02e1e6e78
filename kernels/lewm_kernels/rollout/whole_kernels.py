"""Attention over whole rows in one kernel: queries, keys, values and their product never reach memory.

Shapes: C candidates of all environments, W predictor width, I heads times their width.
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# Tuples grow by `+`, since Triton does not know `*`.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN201, RUF005

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from lewm_kernels.rollout.rows import add_linear, begin, cast_all, differences, linear, load, product, store


@triton.jit(do_not_specialize=["C"])
@no_type_check
def attention_kernel(
    operands_ptr,
    alone_weight_ptr,
    alone_bias_ptr,
    qkv_weight_ptr,
    qkv_bias_ptr,
    out_weight_ptr,
    y_ptr,
    C,
    PLACE: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Computes the branch y (C, W) of the tokens at `PLACE`, from the operands (places, C, W) of their windows.

    The first token attends to itself alone, which is one product. The weights of attention add up to 1, and do not
    change when all scores change alike: so only the differences of the other tokens' keys and values from the first's
    are needed.
    """
    INNER: tl.constexpr = HEADS * HEAD_DIM
    dtype: tl.constexpr = qkv_weight_ptr.dtype.element_ty
    first_c = tl.program_id(0).to(tl.int64) * BLOCK_R
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < C - first_c
    operands_ptr += first_c * WIDTH
    stride_place = C.to(tl.int64) * WIDTH
    rows = begin(alone_bias_ptr, True, BLOCK_R, WIDTH, BLOCK_W)
    first = load(operands_ptr, o_r, m_r, WIDTH, BLOCK_W)
    for i in tl.static_range(len(first)):
        o_w = i * BLOCK_W + tl.arange(0, BLOCK_W)
        rows = add_linear(rows, first[i], alone_weight_ptr, o_w, o_w < WIDTH, WIDTH, WIDTH, BLOCK_W, PRECISION)
    if PLACE > 0:
        own = cast_all(load(operands_ptr + PLACE * stride_place, o_r, m_r, WIDTH, BLOCK_W), dtype, PRECISION)
        less = cast_all(differences(operands_ptr, o_r, m_r, stride_place, PLACE, WIDTH, BLOCK_W), dtype, PRECISION)
        keys_ptr = qkv_weight_ptr + INNER * WIDTH
        values_ptr = keys_ptr + INNER * WIDTH
        for head in range(HEADS):
            scores = ()
            for _ in tl.static_range(PLACE):
                scores = scores + (tl.zeros((BLOCK_R,), tl.float32),)
            for part in tl.static_range(0, HEAD_DIM, BLOCK_D):
                o_d = head * HEAD_DIM + part + tl.arange(0, BLOCK_D)
                m_d = o_d < INNER
                q = linear(own, qkv_weight_ptr, qkv_bias_ptr, o_d, m_d, WIDTH, BLOCK_W, PRECISION)
                longer = ()
                for j in tl.static_range(PLACE):
                    k = product(less, j * len(own), keys_ptr, o_d, m_d, WIDTH, BLOCK_W, PRECISION)
                    longer = longer + (scores[j] + tl.sum(q * k, axis=1),)
                scores = longer
            largest = tl.zeros((BLOCK_R,), tl.float32)
            for j in tl.static_range(PLACE):
                largest = tl.maximum(largest, scores[j])
            total = tl.exp(-largest)
            weights = ()
            for j in tl.static_range(PLACE):
                weights = weights + (tl.exp(scores[j] - largest),)
                total += weights[j]
            for part in tl.static_range(0, HEAD_DIM, BLOCK_D):
                o_d = head * HEAD_DIM + part + tl.arange(0, BLOCK_D)
                m_d = o_d < INNER
                attended = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
                for j in tl.static_range(PLACE):
                    v = product(less, j * len(own), values_ptr, o_d, m_d, WIDTH, BLOCK_W, PRECISION)
                    attended = tl.fma((weights[j] / total)[:, None], v, attended)
                rows = add_linear(rows, attended, out_weight_ptr, o_d, m_d, INNER, WIDTH, BLOCK_W, PRECISION)
    store(y_ptr + first_c * WIDTH, rows, o_r, m_r, WIDTH, BLOCK_W)
