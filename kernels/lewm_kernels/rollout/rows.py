"""Device functions of the rollout's Triton programs for a tile of rows, each of them one token of one candidate.

A row is a tuple of blocks of BLOCK_W columns, because blocks must be powers of two: 192 is none, but three times 64.
`o_r` are the tile's rows, and `m_r` masks those that exist.
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# Tuples grow by `+`, since Triton does not know `*`.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN201, RUF005

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from lewm_kernels.rollout.pack import MODULATION_EPS, NORM_EPS

_MODULATION_EPS = tl.constexpr(MODULATION_EPS)
_NORM_EPS = tl.constexpr(NORM_EPS)
_SQRT_HALF = tl.constexpr(0.5**0.5)

# Φ(x) - 1/2 = x · polynomial in x² up to |x| = _END, where it is 1/2. The error of x Φ(x) is below 5e-5, which rounding
# to bfloat16 hides. The error function to float32's last bit takes longer than the products before and after it.
_END = tl.constexpr(4.4)
_P0, _P1, _P2 = map(tl.constexpr, (0.39876165986061096, -0.06607648730278015, 0.00964304804801941))
_P3, _P4, _P5 = map(tl.constexpr, (-0.0010549944126978517, 8.42928493511863e-05, -4.724821792478906e-06))
_P6, _P7, _P8 = map(tl.constexpr, (1.740810660066927e-07, -3.753919841642528e-09, 3.5692556549227206e-11))


@triton.jit
@no_type_check
def block(ptr, first, o_r, m_r, stride, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """The block of rows that begins at column `first`, in float32."""
    o_w = first + tl.arange(0, BLOCK_W)
    m = m_r[:, None] & (o_w < WIDTH)[None, :]
    return tl.load(ptr + o_r[:, None] * stride + o_w[None, :], mask=m, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def modulation(ptr, bias_ptr, first, o_r, m_r, stride, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """A block of the shift, scale or gate of rows."""
    o_w = first + tl.arange(0, BLOCK_W)
    bias = tl.load(bias_ptr + o_w, mask=o_w < WIDTH, other=0.0)
    return block(ptr, first, o_r, m_r, stride, WIDTH, BLOCK_W) + bias[None, :]


@triton.jit
@no_type_check
def load(ptr, o_r, m_r, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Rows of a contiguous matrix."""
    rows = ()
    for first in tl.static_range(0, WIDTH, BLOCK_W):
        rows = rows + (block(ptr, first, o_r, m_r, WIDTH, WIDTH, BLOCK_W),)
    return rows


@triton.jit
@no_type_check
def store(ptr, rows, o_r, m_r, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Rows of a contiguous matrix."""
    for i in tl.static_range(len(rows)):
        o_w = i * BLOCK_W + tl.arange(0, BLOCK_W)
        tl.store(ptr + o_r[:, None] * WIDTH + o_w[None, :], rows[i], mask=m_r[:, None] & (o_w < WIDTH)[None, :])


@triton.jit
@no_type_check
def begin(bias_ptr, is_first, ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Rows of the bias for the first of several partial sums, and of zeros for the others."""
    rows = ()
    for first in tl.static_range(0, WIDTH, BLOCK_W):
        o_w = first + tl.arange(0, BLOCK_W)
        bias = tl.where(is_first, tl.load(bias_ptr + o_w, mask=o_w < WIDTH, other=0.0), 0.0)
        rows = rows + (tl.zeros((ROWS, BLOCK_W), tl.float32) + bias[None, :],)
    return rows


@triton.jit
@no_type_check
def add_branch(
    x_ptr,
    parts_ptr,
    branch_bias_ptr,
    gate_ptr,
    bias_ptr,
    o_r,
    m_r,
    part,
    stride,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """x + gate · branch, block by block, because loads ahead take registers."""
    rows = ()
    for first in tl.static_range(0, WIDTH, BLOCK_W):
        branch = block(parts_ptr, first, o_r, m_r, WIDTH, WIDTH, BLOCK_W)
        for j in tl.static_range(1, PARTS):
            branch += block(parts_ptr + j * part, first, o_r, m_r, WIDTH, WIDTH, BLOCK_W)
        if branch_bias_ptr is not None:
            o_w = first + tl.arange(0, BLOCK_W)
            branch += tl.load(branch_bias_ptr + o_w, mask=o_w < WIDTH, other=0.0)[None, :]
        gate = modulation(gate_ptr, bias_ptr, first, o_r, m_r, stride, WIDTH, BLOCK_W)
        rows = rows + (tl.fma(gate, branch, block(x_ptr, first, o_r, m_r, WIDTH, WIDTH, BLOCK_W)),)
    return rows


@triton.jit
@no_type_check
def differences(ptr, o_r, m_r, stride_place, PLACE: tl.constexpr, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Operands of the tokens at places 1 to `PLACE`, minus that of place 0; the blocks of one token after another's."""
    first = load(ptr, o_r, m_r, WIDTH, BLOCK_W)
    less = ()
    for j in tl.static_range(1, PLACE + 1):
        own = load(ptr + j * stride_place, o_r, m_r, WIDTH, BLOCK_W)
        for i in tl.static_range(len(first)):
            less = less + (own[i] - first[i],)
    return less


@triton.jit
@no_type_check
def normalize(rows, EPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """LayerNorm without weights."""
    total = tl.sum(rows[0], axis=1)
    for i in tl.static_range(1, len(rows)):
        total += tl.sum(rows[i], axis=1)
    mean = (total / WIDTH)[:, None]
    squares = tl.zeros_like(total)
    centred = ()
    for i in tl.static_range(len(rows)):
        m_w = i * BLOCK_W + tl.arange(0, BLOCK_W) < WIDTH
        difference = tl.where(m_w[None, :], rows[i] - mean, 0.0)
        squares += tl.sum(difference * difference, axis=1)
        centred = centred + (difference,)
    scale = tl.rsqrt(squares / WIDTH + EPS)[:, None]
    normal = ()
    for i in tl.static_range(len(rows)):
        normal = normal + (centred[i] * scale,)
    return normal


@triton.jit
@no_type_check
def modulate(rows, shift_ptr, bias_ptr, o_r, m_r, stride, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """LayerNorm, then scale and shift; the scale follows the shift in memory."""
    normal = normalize(rows, _MODULATION_EPS, WIDTH, BLOCK_W)
    modulated = ()
    for i in tl.static_range(len(rows)):
        shift = modulation(shift_ptr, bias_ptr, i * BLOCK_W, o_r, m_r, stride, WIDTH, BLOCK_W)
        scale = modulation(shift_ptr + WIDTH, bias_ptr + WIDTH, i * BLOCK_W, o_r, m_r, stride, WIDTH, BLOCK_W)
        modulated = modulated + (tl.fma(normal[i], scale, shift),)
    return modulated


@triton.jit
@no_type_check
def cast(x, dtype: tl.constexpr, PRECISION: tl.constexpr):
    """Casts to the dtype of a product. Tensor cores would cut float32 to TF32's 10 bits, so it is rounded before."""
    if PRECISION == "tf32":
        rounded = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
        x = tl.where(x == x, rounded.to(tl.float32, bitcast=True), x)
    return x.to(dtype)


@triton.jit
@no_type_check
def operand(rows, dtype: tl.constexpr, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr, PRECISION: tl.constexpr):
    """The operand of a product: rows after LayerNorm, cast to its dtype."""
    return cast_all(normalize(rows, _NORM_EPS, WIDTH, BLOCK_W), dtype, PRECISION)


@triton.jit
@no_type_check
def cast_all(rows, dtype: tl.constexpr, PRECISION: tl.constexpr):
    """Casts every block: see `cast`."""
    operands = ()
    for i in tl.static_range(len(rows)):
        operands = operands + (cast(rows[i], dtype, PRECISION),)
    return operands


@triton.jit
@no_type_check
def product(
    rows,
    FIRST: tl.constexpr,
    weight_ptr,
    o_out,
    m_out,
    WIDTH: tl.constexpr,
    BLOCK_W: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some outputs of a product of a tile of rows, whose blocks begin at number `FIRST` of `rows`."""
    y = tl.zeros((rows[0].shape[0], o_out.shape[0]), tl.float32)
    for first in tl.static_range(0, WIDTH, BLOCK_W):
        o_w = first + tl.arange(0, BLOCK_W)
        m = (o_w < WIDTH)[:, None] & m_out[None, :]
        weight = tl.load(weight_ptr + o_out[None, :] * WIDTH + o_w[:, None], mask=m, other=0.0)
        y = tl.dot(rows[FIRST + first // BLOCK_W], weight, y, input_precision=PRECISION)
    return y


@triton.jit
@no_type_check
def linear(
    rows, weight_ptr, bias_ptr, o_out, m_out, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr, PRECISION: tl.constexpr
):
    """Some outputs of a Linear."""
    y = product(rows, 0, weight_ptr, o_out, m_out, WIDTH, BLOCK_W, PRECISION)
    return y + tl.load(bias_ptr + o_out, mask=m_out, other=0.0)[None, :]


@triton.jit
@no_type_check
def add_linear(
    rows,
    h,
    weight_ptr,
    o_in,
    m_in,
    INPUTS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_W: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Rows plus the contribution of some inputs of a Linear."""
    h = cast(h, weight_ptr.dtype.element_ty, PRECISION)
    added = ()
    for i in tl.static_range(len(rows)):
        o_w = i * BLOCK_W + tl.arange(0, BLOCK_W)
        m = m_in[:, None] & (o_w < WIDTH)[None, :]
        weight = tl.load(weight_ptr + o_w[None, :] * INPUTS + o_in[:, None], mask=m, other=0.0)
        added = added + (tl.dot(h, weight, rows[i], input_precision=PRECISION),)
    return added


@triton.jit
@no_type_check
def attend(qkv_ptr, bias_ptr, o_r, left, o_d, place, stride_place, INNER: tl.constexpr, PLACES: tl.constexpr):
    """The attention of one head, whose columns are `o_d`, to the tokens up to `place`, in float32.

    Only rows before `left` exist. Queries, keys and values lie side by side, and places are `stride_place` apart. Where
    these do not contain their biases, the biases are added, except that of the keys: it would change all scores of a
    query alike, without effect.
    """
    ptrs = qkv_ptr + o_r[:, None] * (3 * INNER) + o_d[None, :]
    if PLACES == 1:
        attended = tl.load(ptrs + 2 * INNER, mask=(o_r < left)[:, None], other=0.0).to(tl.float32)
    else:
        m_q = o_r < tl.where(place > 0, left, 0)
        q = tl.load(ptrs + place * stride_place, mask=m_q[:, None], other=0.0).to(tl.float32)
        if bias_ptr is not None:
            q += tl.load(bias_ptr + o_d)[None, :]
        scores = ()
        for j in tl.static_range(PLACES):
            m_k = o_r < tl.where(j <= place, left, 0)
            k = tl.load(ptrs + j * stride_place + INNER, mask=m_k[:, None], other=0.0).to(tl.float32)
            scores = scores + (tl.where(j <= place, tl.sum(q * k, axis=1), float("-inf")),)
        largest = scores[0]
        for j in tl.static_range(1, PLACES):
            largest = tl.maximum(largest, scores[j])
        total = tl.zeros_like(largest)
        attended = tl.zeros_like(q)
        for j in tl.static_range(PLACES):
            m_v = o_r < tl.where(j <= place, left, 0)
            v = tl.load(ptrs + j * stride_place + 2 * INNER, mask=m_v[:, None], other=0.0).to(tl.float32)
            weight = tl.exp(scores[j] - largest)
            total += weight
            attended = tl.fma(weight[:, None], v, attended)
        attended = attended / total[:, None]
    if bias_ptr is not None:
        attended += tl.load(bias_ptr + 2 * INNER + o_d)[None, :]
    return attended


@triton.jit
@no_type_check
def gelu(x, IS_COARSE: tl.constexpr):
    """GELU (erf), exact in float32 or close enough for bfloat16."""
    if IS_COARSE:
        y = tl.clamp(x, -_END, _END)
        u = y * y
        p = tl.fma(u, tl.fma(u, tl.fma(u, tl.fma(u, _P8, _P7), _P6), _P5), _P4)
        p = tl.fma(u, tl.fma(u, tl.fma(u, tl.fma(u, p, _P3), _P2), _P1), _P0)
        cdf = tl.fma(y, p, 0.5)
    else:
        cdf = tl.fma(tl.erf(x * _SQRT_HALF), 0.5, 0.5)
    return x * cdf
