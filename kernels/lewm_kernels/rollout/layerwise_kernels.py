"""The kernels between the products of a layer, where each product is a launch of its own.

Shapes: C candidates of all environments, N tokens, R = N C rows, W predictor width, I heads times their width, F hidden
width, M modulations.

    enter          x += gate · branch; the operand LN(modulate(LN(x))) of the next product, rounded once
    attend         softmax over the window's tokens so far
    gelu linear    GELU(x W + bias): applied to the product while it is in registers
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN201

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from lewm_kernels.rollout.rows import add_branch, attend, cast, cast_all, gelu, linear, load, modulate, operand, store


@triton.jit(do_not_specialize=["R", "chunk"])
@no_type_check
def enter_kernel(
    x_ptr,
    branch_ptr,
    branch_bias_ptr,
    modulations_ptr,
    modulation_bias_ptr,
    x_out_ptr,
    operand_ptr,
    R,
    chunk,
    stride_modulations,
    IS_PROJECTOR: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Residual, LayerNorms and modulation. The gate is modulation `chunk`; shift and scale are the next two.

    The first layer, which no branch precedes, has no `branch_ptr`. The branch may contain its bias already. The
    projector does not modulate, and nothing reads x after it.
    """
    first_row = tl.program_id(0).to(tl.int64) * BLOCK_R
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < R - first_row
    x_ptr += first_row * WIDTH
    modulations_ptr += first_row * stride_modulations + chunk * WIDTH
    modulation_bias_ptr += chunk * WIDTH
    if branch_ptr is None:
        x = load(x_ptr, o_r, m_r, WIDTH, BLOCK_W)
    else:
        x = add_branch(
            x_ptr,
            branch_ptr + first_row * WIDTH,
            branch_bias_ptr,
            modulations_ptr,
            modulation_bias_ptr,
            o_r,
            m_r,
            0,
            stride_modulations,
            1,
            WIDTH,
            BLOCK_W,
        )
        if not IS_PROJECTOR:
            store(x_out_ptr + first_row * WIDTH, x, o_r, m_r, WIDTH, BLOCK_W)
    if not IS_PROJECTOR:
        x = modulate(
            x, modulations_ptr + WIDTH, modulation_bias_ptr + WIDTH, o_r, m_r, stride_modulations, WIDTH, BLOCK_W
        )
    x = operand(x, operand_ptr.dtype.element_ty, WIDTH, BLOCK_W, PRECISION)
    store(operand_ptr + first_row * WIDTH, x, o_r, m_r, WIDTH, BLOCK_W)


@triton.jit(do_not_specialize=["C", "N", "place"])
@no_type_check
def attend_kernel(
    qkv_ptr,
    bias_ptr,
    y_ptr,
    C,
    N,
    place,
    PLACES: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """The attention of each head of N tokens to their windows of `PLACES` tokens; the first of the N is at `place`.

    A program computes one head. Neighbouring programs compute the other heads of the same rows.
    """
    INNER: tl.constexpr = HEADS * HEAD_DIM
    pid = tl.program_id(0)
    head = pid % HEADS
    token = pid // HEADS % N
    first_c = (pid // HEADS // N).to(tl.int64) * BLOCK_R
    o_r = tl.arange(0, BLOCK_R)
    o_d = head * HEAD_DIM + tl.arange(0, HEAD_DIM)
    left = C - first_c
    stride_place = C.to(tl.int64) * (3 * INNER)
    qkv_ptr += first_c * (3 * INNER)
    attended = attend(qkv_ptr, bias_ptr, o_r, left, o_d, place + token, stride_place, INNER, PLACES)
    y_ptr += (token.to(tl.int64) * C + first_c) * INNER
    y = cast(attended, y_ptr.dtype.element_ty, PRECISION)
    tl.store(y_ptr + o_r[:, None] * INNER + o_d[None, :], y, mask=(o_r < left)[:, None])


@triton.jit(do_not_specialize=["R"])
@no_type_check
def gelu_linear_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    R,
    HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    """y (R, F) = GELU(x (R, W) · weight + bias)."""
    pid = tl.program_id(0)
    BLOCKS: tl.constexpr = (HIDDEN + BLOCK_F - 1) // BLOCK_F
    o_f = pid % BLOCKS * BLOCK_F + tl.arange(0, BLOCK_F)
    m_f = o_f < HIDDEN
    first_row = (pid // BLOCKS).to(tl.int64) * BLOCK_R
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < R - first_row
    dtype: tl.constexpr = weight_ptr.dtype.element_ty
    x = cast_all(load(x_ptr + first_row * WIDTH, o_r, m_r, WIDTH, BLOCK_W), dtype, PRECISION)
    y = gelu(linear(x, weight_ptr, bias_ptr, o_f, m_f, WIDTH, BLOCK_W, PRECISION), dtype == tl.bfloat16)
    y_ptrs = y_ptr + first_row * HIDDEN + o_r[:, None] * HIDDEN + o_f[None, :]
    tl.store(y_ptrs, cast(y, dtype, PRECISION), mask=m_r[:, None] & m_f[None, :])
