"""SIGReg as Triton kernels: sums of the powers of a rotation, and the gradient as a polynomial in it.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots, P = K - 1 powers, S splits.

With h = u·z and r = exp(iδh), the kernels know only powers r^k for k = 1 … K-1 (knot 0 contributes nothing):

    power_sums    Σ_n r_n^k                    cosine and sine parts, what ranks add up
    gradient      Σ_m u_m Im Σ_k c_k r_n^k     c_k = (slope of knot k) · conj(E_k)

What lies between (the mean, E, the statistic, c) has T·M·K elements and is left to PyTorch. As in the PyTorch path,
every fourth power has a sine and cosine of its own, and each of the others is one complex multiplication.

Loops over N or M that too few programs would run are split over more, whose partial results, of bounded size, are
added up afterwards. The order of every sum is a function of the shapes alone: equal inputs give equal bits.
"""

# Triton reads the source of device functions and types them itself: a checker must neither wrap nor judge them.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.sigreg.tiles import backward_tile, forward_tile, row_blocks, split

_STRIDE = tl.constexpr(4)  # powers an anchor serves; why not more: see the PyTorch path

# Argument reduction by quarter turns (Cody and Waite): π/2 = high + middle + low, the first two so short that their
# products with the number of turns are exact. Polynomials: least maximum relative error on [-π/4, π/4], below 2^-28.
_TWO_OVER_PI = tl.constexpr(0.6366197466850281)
_HIGH = tl.constexpr(1.5703125)
_MIDDLE = tl.constexpr(0.0004837512969970703)
_LOW = tl.constexpr(7.549790126404332e-08)
_SIN_3, _SIN_5, _SIN_7 = map(tl.constexpr, (-0.16666655242443085, 0.008332177996635437, -0.00019517233886290342))
_COS_4, _COS_6, _COS_8 = map(tl.constexpr, (0.04166664555668831, -0.0013887366512790322, 2.4438379114144482e-05))
_ROUNDER = tl.constexpr(12582912.0)  # 1.5 · 2^23: adding it rounds to an integer, whose last bits it then ends in


@triton.jit
@no_type_check
def _cos_sin(x):
    """Cosine and sine, both within 1.5 · 2^-24 up to 10^4, for one argument reduction and no branch.

    From 6·10^6 on, where neighbouring float32 lie half a radian apart, the angle is rounded to quarter turns.
    """
    q = tl.fma(x, _TWO_OVER_PI, _ROUNDER)
    turns = q - _ROUNDER
    y = tl.fma(turns, -_LOW, tl.fma(turns, -_MIDDLE, tl.fma(turns, -_HIGH, x)))
    y = tl.where(tl.abs(y) > 1.0, 0.0, y)  # false for NaN: it passes
    y2 = y * y
    sin = tl.fma(y * y2, tl.fma(y2, tl.fma(y2, _SIN_7, _SIN_5), _SIN_3), y)
    cos = tl.fma(y2 * y2, tl.fma(y2, tl.fma(y2, _COS_8, _COS_6), _COS_4), tl.fma(y2, -0.5, 1.0))
    quarter = q.to(tl.int32, bitcast=True)
    odd = (quarter & 1) == 1
    c = tl.where(odd, sin, cos).to(tl.int32, bitcast=True) ^ (((quarter + 1) & 2) << 30)
    s = tl.where(odd, cos, sin).to(tl.int32, bitcast=True) ^ ((quarter & 2) << 30)
    return c.to(tl.float32, bitcast=True), s.to(tl.float32, bitcast=True)


@triton.jit
@no_type_check
def _multiply_add(a_re, a_im, b_re, b_im, c_re, c_im):
    """a·b + c of complex numbers."""
    return tl.fma(a_re, b_re, tl.fma(-a_im, b_im, c_re)), tl.fma(a_re, b_im, tl.fma(a_im, b_re, c_im))


@triton.jit
@no_type_check
def _knot(k, DELTA: tl.constexpr):
    """kδ, rounded to float32 once: rounding δ first would turn all knots by one and the same error."""
    return (k * tl.full((), DELTA, tl.float64)).to(tl.float32)


@triton.jit
@no_type_check
def _sigreg_forward_kernel(
    z_ptr,
    directions_ptr,
    sums_ptr,
    T,
    N,
    D,
    M,
    rows_of_split,
    stride_z_t,
    stride_z_n,
    stride_z_d,
    stride_directions_d,
    stride_directions_m,
    K: tl.constexpr,
    DELTA: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    blocks_m = tl.cdiv(M, BLOCK_M)
    pid = tl.program_id(0)
    row = (pid // blocks_m).to(tl.int64)  # of (S, T)
    o_m = (pid % blocks_m) * BLOCK_M + tl.arange(0, BLOCK_M).to(tl.int64)
    m_m = o_m < M
    o_k = tl.arange(0, BLOCK_K)
    z_ptr += row % T * stride_z_t
    first_n = row // T * rows_of_split
    cos_sum = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)
    sin_sum = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)

    for start_n in range(first_n, tl.minimum(first_n + rows_of_split, N), BLOCK_N):
        o_n = start_n + tl.arange(0, BLOCK_N).to(tl.int64)
        m_n = o_n < N
        h = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)  # embeddings along a row: sums over them stay within a warp
        for start_d in range(0, D, BLOCK_D):
            o_d = start_d + tl.arange(0, BLOCK_D).to(tl.int64)
            m_d = o_d < D
            u = tl.load(
                directions_ptr + o_m[:, None] * stride_directions_m + o_d[None, :] * stride_directions_d,
                mask=m_m[:, None] & m_d[None, :],
                other=0.0,
            )
            z = tl.load(
                z_ptr + o_d[:, None] * stride_z_d + o_n[None, :] * stride_z_n,
                mask=m_d[:, None] & m_n[None, :],
                other=0.0,
            )
            h = tl.dot(u.to(tl.float32), z.to(tl.float32), h, input_precision="ieee")

        r_re, r_im = _cos_sin(_knot(1, DELTA) * h)
        r_re = tl.where(m_n[None, :], r_re, 0.0)  # no embedding, no cosine of 0
        p_re, p_im = r_re, r_im
        for anchor in range(1, K, _STRIDE):
            if anchor > 1:
                p_re, p_im = _cos_sin(_knot(anchor, DELTA) * h)
                p_re = tl.where(m_n[None, :], p_re, 0.0)
            for j in tl.static_range(_STRIDE):
                if j > 0:
                    p_re, p_im = _multiply_add(p_re, p_im, r_re, r_im, 0.0, 0.0)
                column = o_k[None, :] == anchor + j - 1
                cos_sum += tl.where(column, tl.sum(p_re, axis=1)[:, None], 0.0)
                sin_sum += tl.where(column, tl.sum(p_im, axis=1)[:, None], 0.0)

    sums_ptrs = sums_ptr + ((row * M + o_m)[:, None] * (K - 1) + o_k[None, :]) * 2
    m_sums = m_m[:, None] & (o_k[None, :] < K - 1)
    tl.store(sums_ptrs, cos_sum, mask=m_sums)
    tl.store(sums_ptrs + 1, sin_sum, mask=m_sums)


@triton.jit
@no_type_check
def _sigreg_backward_kernel(
    z_ptr,
    directions_ptr,
    coefficients_ptr,
    gradient_ptr,
    T,
    N,
    D,
    M,
    columns_of_split,
    stride_z_t,
    stride_z_n,
    stride_z_d,
    stride_directions_d,
    stride_directions_m,
    K: tl.constexpr,
    DELTA: tl.constexpr,
    BLOCK_HEAD: tl.constexpr,
    BLOCK_TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    blocks_n = tl.cdiv(N, BLOCK_N)
    pid = tl.program_id(0)
    row = (pid // blocks_n).to(tl.int64)  # of (S, T)
    o_n = (pid % blocks_n) * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    m_n = o_n < N
    z_ptr += row % T * stride_z_t
    coefficients_ptr += row % T * M * (K - 1) * 2
    first_m = row // T * columns_of_split
    # One block is a power of two: the rows are held as two, their beginning and their end.
    o_head = tl.arange(0, BLOCK_HEAD).to(tl.int64)
    m_head = o_head < D
    head = tl.zeros((BLOCK_N, BLOCK_HEAD), tl.float32)
    if BLOCK_TAIL > 0:
        o_tail = BLOCK_HEAD + tl.arange(0, BLOCK_TAIL).to(tl.int64)
        m_tail = o_tail < D
        tail = tl.zeros((BLOCK_N, BLOCK_TAIL), tl.float32)

    for start_m in range(first_m, tl.minimum(first_m + columns_of_split, M), BLOCK_M):
        o_m = start_m + tl.arange(0, BLOCK_M).to(tl.int64)
        m_m = o_m < M
        h = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
        for start_d in range(0, D, BLOCK_D):
            o_d = start_d + tl.arange(0, BLOCK_D).to(tl.int64)
            m_d = o_d < D
            z = tl.load(
                z_ptr + o_n[:, None] * stride_z_n + o_d[None, :] * stride_z_d,
                mask=m_n[:, None] & m_d[None, :],
                other=0.0,
            )
            u = tl.load(
                directions_ptr + o_d[:, None] * stride_directions_d + o_m[None, :] * stride_directions_m,
                mask=m_d[:, None] & m_m[None, :],
                other=0.0,
            )
            h = tl.dot(z.to(tl.float32), u.to(tl.float32), h, input_precision="ieee")

        r_re, r_im = _cos_sin(_knot(1, DELTA) * h)
        a_re, a_im = r_re, r_im
        slope = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
        for anchor in range(1, K, _STRIDE):
            if anchor > 1:
                a_re, a_im = _cos_sin(_knot(anchor, DELTA) * h)
            p_re = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
            p_im = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
            for j in tl.static_range(_STRIDE):
                k = anchor + _STRIDE - 1 - j
                c_ptrs = coefficients_ptr + (o_m * (K - 1) + k - 1) * 2
                m_c = tl.where(k < K, m_m, False)
                c_re = tl.load(c_ptrs, mask=m_c, other=0.0)[None, :]
                c_im = tl.load(c_ptrs + 1, mask=m_c, other=0.0)[None, :]
                p_re, p_im = _multiply_add(p_re, p_im, r_re, r_im, c_re, c_im)
            slope = tl.fma(p_re, a_im, tl.fma(p_im, a_re, slope))

        u_ptrs = directions_ptr + o_m[:, None] * stride_directions_m
        u = tl.load(u_ptrs + o_head[None, :] * stride_directions_d, mask=m_m[:, None] & m_head[None, :], other=0.0)
        head = tl.dot(slope, u.to(tl.float32), head, input_precision="ieee")
        if BLOCK_TAIL > 0:
            u = tl.load(u_ptrs + o_tail[None, :] * stride_directions_d, mask=m_m[:, None] & m_tail[None, :], other=0.0)
            tail = tl.dot(slope, u.to(tl.float32), tail, input_precision="ieee")

    gradient_ptrs = gradient_ptr + (row * N + o_n)[:, None] * D
    tl.store(gradient_ptrs + o_head[None, :], head, mask=m_n[:, None] & m_head[None, :])
    if BLOCK_TAIL > 0:
        tl.store(gradient_ptrs + o_tail[None, :], tail, mask=m_n[:, None] & m_tail[None, :])


def power_sums(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"], K: int, delta: float
) -> Float32[Tensor, "T M {K-1} 2"]:
    """Cosine and sine of kδh summed over the embeddings, for k = 1 … K-1.

    Args:
        z: Embeddings of at most 32 bits, of any layout; all arithmetic is in float32.
        directions: Unit columns, of any layout.
        K: Number of knots, 0 among them.
        delta: Distance of two knots; a kernel is compiled for each value.
    """
    T, N, D = z.shape
    M = directions.shape[1]
    tile = forward_tile()
    blocks_m = triton.cdiv(M, tile.BLOCK_M)
    S, rows = split(N, tile.BLOCK_N, T * blocks_m)
    sums = torch.empty(S, T, M, K - 1, 2, dtype=torch.float32, device=z.device)
    _sigreg_forward_kernel[(S * T * blocks_m,)](
        z_ptr=z,
        directions_ptr=directions,
        sums_ptr=sums,
        T=T,
        N=N,
        D=D,
        M=M,
        rows_of_split=rows,
        **_strides(z, directions),
        K=K,
        DELTA=delta,
        BLOCK_K=triton.next_power_of_2(K - 1),
        **vars(tile),
        enable_fp_fusion=True,
    )
    return sums[0] if S == 1 else sums.sum(dim=0)


def gradient(
    z: Float[Tensor, "T N D"],
    directions: Float[Tensor, "D M"],
    coefficients: Float32[Tensor, "T M P 2"],
    delta: float,
) -> Float32[Tensor, "T N D"]:
    """Σ_m u_m Im Σ_k c_k exp(i kδ u_m·z) for every embedding.

    Args:
        z: Embeddings, as for `power_sums`.
        directions: Unit columns, of any layout.
        coefficients: Real and imaginary parts of c_k for k = 1 … P, contiguous.
        delta: Distance of two knots.
    """
    assert coefficients.is_contiguous(), "the kernel reads coefficients by position"
    T, N, D = z.shape
    M = directions.shape[1]
    tile = backward_tile(D)
    head, tail = row_blocks(D)
    blocks_n = triton.cdiv(N, tile.BLOCK_N)
    S, columns = split(M, tile.BLOCK_M, T * blocks_n)
    parts = torch.empty(S, T, N, D, dtype=torch.float32, device=z.device)
    _sigreg_backward_kernel[(S * T * blocks_n,)](
        z_ptr=z,
        directions_ptr=directions,
        coefficients_ptr=coefficients,
        gradient_ptr=parts,
        T=T,
        N=N,
        D=D,
        M=M,
        columns_of_split=columns,
        **_strides(z, directions),
        K=coefficients.shape[2] + 1,
        DELTA=delta,
        BLOCK_HEAD=head,
        BLOCK_TAIL=tail,
        **vars(tile),
        enable_fp_fusion=True,
    )
    return parts[0] if S == 1 else parts.sum(dim=0)


def _strides(z: Tensor, directions: Tensor) -> dict[str, int]:
    names = ("stride_z_t", "stride_z_n", "stride_z_d", "stride_directions_d", "stride_directions_m")
    return dict(zip(names, (*z.stride(), *directions.stride()), strict=True))
