"""The three kernels of the rollout.

Shapes: C candidates of all environments, N tokens, W predictor width, I heads times their width, F hidden width, M
modulations, O outputs, G partial sums.

With x (N, C, W), modulations (N, C, M) of every layer, and queries, keys and values (places in the window, C, 3 I):

    attention in     x += gate · branch; queries, keys and values of LN(modulate(LN(x)))
    attention out    softmax over the window's tokens so far, and a product: the next branch
    MLP              x += gate · branch; fc2(GELU(fc1(LN(modulate(LN(x)))))): the branch after that

A branch (G, N, C, W) consists of partial sums, each over some of the heads or of the hidden units, where there are too
few rows to occupy a GPU. The kernel that reads it adds them up, always in one order: equal inputs give equal bits.
LayerNorms have no weights here, because the products after them contain these. The biases of the modulations are added
here, in float32: 1 + scale, rounded to bfloat16, would lose most of the scale's bits.
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# mypy: disable-error-code="import-untyped"
# Tuples grow by `+`, since Triton does not know `*`.
# ruff: noqa: ANN001, ANN201, ANN202, RUF005

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from lewm_kernels.rollout.rows import (
    add_branch,
    add_linear,
    attend,
    begin,
    block,
    gelu,
    linear,
    load,
    modulate,
    operand,
    store,
)

# Arguments that differ between the launches of one rollout; their values must not cause another compilation.
_PLAIN = ["C", "N", "splits", "share", "steps", "chunk", "place", "asking"]


@triton.jit
@no_type_check
def _program(C, N, splits, BLOCK_R: tl.constexpr):
    """The work of a program: its split, its token, its first candidate and its first row, the last two in 64 bits."""
    pid = tl.program_id(0)
    token = pid // splits % N
    first_c = (pid // splits // N).to(tl.int64) * BLOCK_R  # a candidate's tokens lie side by side: they share keys
    return pid % splits, token, first_c, token.to(tl.int64) * C + first_c


@triton.jit
@no_type_check
def _add_rows(rows, ptr, o_r, m_r, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Rows plus those of a contiguous matrix."""
    added = ()
    for i in tl.static_range(len(rows)):
        added = added + (rows[i] + block(ptr, i * BLOCK_W, o_r, m_r, WIDTH, WIDTH, BLOCK_W),)
    return added


@triton.jit(do_not_specialize=_PLAIN)
@no_type_check
def attention_in_kernel(
    x_ptr,
    parts_ptr,
    modulations_ptr,
    modulation_bias_ptr,
    weight_ptr,
    bias_ptr,
    x_out_ptr,
    y_ptr,
    C,
    N,
    splits,
    chunk,
    place,
    asking,
    stride_modulations,
    PARTS: tl.constexpr,
    QUERIES: tl.constexpr,
    OUTPUTS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Computes `OUTPUTS` columns y; the first `QUERIES` of them only for tokens that use queries.

    PARTS is 0 in the first layer, which no branch precedes. The gate of the branch is modulation `chunk`; shift and
    scale are the next two. `place` is the first token's place in the window, and the last `asking` tokens go on.
    """
    split, token, first_c, first_row = _program(C, N, splits, BLOCK_R)
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < C - first_c
    x_ptr += first_row * WIDTH
    modulations_ptr += first_row * stride_modulations + chunk * WIDTH
    modulation_bias_ptr += chunk * WIDTH
    if PARTS == 0:
        x = load(x_ptr, o_r, m_r, WIDTH, BLOCK_W)
    else:
        parts_ptr += first_row * WIDTH
        part = N.to(tl.int64) * C * WIDTH
        x = add_branch(
            x_ptr,
            parts_ptr,
            None,
            modulations_ptr,
            modulation_bias_ptr,
            o_r,
            m_r,
            part,
            stride_modulations,
            PARTS,
            WIDTH,
            BLOCK_W,
        )
        if split == 0:
            store(x_out_ptr + first_row * WIDTH, x, o_r, m_r, WIDTH, BLOCK_W)
    x = modulate(x, modulations_ptr + WIDTH, modulation_bias_ptr + WIDTH, o_r, m_r, stride_modulations, WIDTH, BLOCK_W)
    x = operand(x, weight_ptr.dtype.element_ty, WIDTH, BLOCK_W, PRECISION)

    # A window's first token attends to itself alone, and needs no query.
    place += token
    needed = tl.where((place > 0) & (token >= N - asking), 0, QUERIES)
    share = tl.cdiv(OUTPUTS - needed, splits * BLOCK_O) * BLOCK_O
    first = needed + split * share
    y_ptr += (place.to(tl.int64) * C + first_c) * OUTPUTS
    for start in range(first, tl.minimum(first + share, OUTPUTS), BLOCK_O):
        o_o = start + tl.arange(0, BLOCK_O)
        m_o = o_o < OUTPUTS
        y = linear(x, weight_ptr, bias_ptr, o_o, m_o, WIDTH, BLOCK_W, PRECISION)
        tl.store(y_ptr + o_r[:, None] * OUTPUTS + o_o[None, :], y, mask=m_r[:, None] & m_o[None, :])


@triton.jit(do_not_specialize=_PLAIN)
@no_type_check
def attention_out_kernel(
    qkv_ptr,
    weight_ptr,
    bias_ptr,
    parts_ptr,
    C,
    N,
    splits,
    share,
    place,
    PLACES: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Computes a branch in parts of `share` heads. The window has `PLACES` tokens; the first of the N is at `place`."""
    INNER: tl.constexpr = HEADS * HEAD_DIM
    split, token, first_c, first_row = _program(C, N, splits, BLOCK_R)
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < C - first_c
    place += token
    qkv_ptr += first_c * (3 * INNER)
    stride_place = C.to(tl.int64) * (3 * INNER)
    rows = begin(bias_ptr, split == 0, BLOCK_R, WIDTH, BLOCK_W)
    for head in range(split * share, tl.minimum((split + 1) * share, HEADS)):
        o_d = head * HEAD_DIM + tl.arange(0, HEAD_DIM)
        attended = attend(qkv_ptr, None, o_r, C - first_c, o_d, place, stride_place, INNER, PLACES)
        rows = add_linear(rows, attended, weight_ptr, o_d, o_d < INNER, INNER, WIDTH, BLOCK_W, PRECISION)
    parts_ptr += (split.to(tl.int64) * N * C + first_row) * WIDTH
    store(parts_ptr, rows, o_r, m_r, WIDTH, BLOCK_W)


@triton.jit(do_not_specialize=_PLAIN)
@no_type_check
def mlp_kernel(
    x_ptr,
    parts_ptr,
    modulations_ptr,
    modulation_bias_ptr,
    fc1_weight_ptr,
    fc1_bias_ptr,
    fc2_weight_ptr,
    fc2_bias_ptr,
    skip_ptr,
    x_out_ptr,
    y_ptr,
    C,
    N,
    splits,
    steps,
    chunk,
    stride_modulations,
    PARTS: tl.constexpr,
    IS_PROJECTOR: tl.constexpr,
    HIDDEN: tl.constexpr,
    OUTPUTS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Computes a branch y in parts of `steps` blocks of hidden units; the projector neither modulates nor keeps x.

    The first part contains the rows (N, C, O) of the skip, where there is a `skip_ptr`. They come last, because sums
    that began with them would round to their size at every step.
    """
    split, _, first_c, first_row = _program(C, N, splits, BLOCK_R)
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < C - first_c
    x_ptr += first_row * WIDTH
    parts_ptr += first_row * WIDTH
    part = N.to(tl.int64) * C * WIDTH
    modulations_ptr += first_row * stride_modulations + chunk * WIDTH
    modulation_bias_ptr += chunk * WIDTH
    x = add_branch(
        x_ptr,
        parts_ptr,
        None,
        modulations_ptr,
        modulation_bias_ptr,
        o_r,
        m_r,
        part,
        stride_modulations,
        PARTS,
        WIDTH,
        BLOCK_W,
    )
    if not IS_PROJECTOR:
        if split == 0:
            store(x_out_ptr + first_row * WIDTH, x, o_r, m_r, WIDTH, BLOCK_W)
        x = modulate(
            x, modulations_ptr + WIDTH, modulation_bias_ptr + WIDTH, o_r, m_r, stride_modulations, WIDTH, BLOCK_W
        )
    x = operand(x, fc1_weight_ptr.dtype.element_ty, WIDTH, BLOCK_W, PRECISION)

    rows = begin(fc2_bias_ptr, split == 0, BLOCK_R, OUTPUTS, BLOCK_O)
    # The loop counts blocks, so the compiler knows the alignment of each block's weights and loads 16 bytes at a time.
    for i in range(split * steps, tl.minimum((split + 1) * steps, tl.cdiv(HIDDEN, BLOCK_F))):
        o_f = i * BLOCK_F + tl.arange(0, BLOCK_F)
        m_f = o_f < HIDDEN
        h = linear(x, fc1_weight_ptr, fc1_bias_ptr, o_f, m_f, WIDTH, BLOCK_W, PRECISION)
        h = gelu(h, fc2_weight_ptr.dtype.element_ty == tl.bfloat16)
        rows = add_linear(rows, h, fc2_weight_ptr, o_f, m_f, HIDDEN, OUTPUTS, BLOCK_O, PRECISION)
    if skip_ptr is not None:
        m_first = o_r < tl.where(split == 0, C - first_c, 0)
        rows = _add_rows(rows, skip_ptr + first_row * OUTPUTS, o_r, m_first, OUTPUTS, BLOCK_O)
    y_ptr += (split.to(tl.int64) * N * C + first_row) * OUTPUTS
    store(y_ptr, rows, o_r, m_r, OUTPUTS, BLOCK_O)
