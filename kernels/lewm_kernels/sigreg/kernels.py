"""The three kernels of SIGReg: sums of the powers of a rotation, statistic and coefficients, and the gradient.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots, P = K - 1 powers, S splits.

With h = u·z and r = exp(iδh), the kernels know only powers r^k for k = 1 … K-1 (knot 0 contributes nothing):

    forward     Σ_n r_n^k                     cosine and sine parts, which ranks add up
    finish      statistic, c_k                c_k = (slope of knot k) · conj(E_k), E = mean - expectation
    backward    Σ_m u_m Im Σ_k c_k r_n^k

Every fourth power has a sine and cosine of its own, as in the PyTorch path, and each of the others is one complex
multiplication. Sums (S, T, P, 2, M) and coefficients (T, P, 2, M) have directions innermost: a row of them is one load.

Where too few programs would run, loops over N or M are split over more programs. Their partial results, of bounded
size, are added up afterwards. The order of every sum is a function of the shapes alone: equal inputs give equal bits.
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from lewm_kernels._device import columns_tile, cos_sin

_STRIDE = tl.constexpr(4)  # powers for each anchor; the PyTorch path explains why not more


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


@triton.jit(do_not_specialize=["seed"])
@no_type_check
def sigreg_forward_kernel(
    z_ptr,
    directions_ptr,
    step_ptr,
    sums_ptr,
    seed: tl.uint64,
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
    """Each program has a split, a step and a block of directions, whose sums it keeps in registers."""
    blocks_m = tl.cdiv(M, BLOCK_M)
    pid = tl.program_id(0)
    row = (pid // blocks_m).to(tl.int64)  # row of (S, T)
    o_m = (pid % blocks_m) * BLOCK_M + tl.arange(0, BLOCK_M).to(tl.int64)
    m_m = o_m < M
    o_k = tl.arange(0, BLOCK_K)
    z_ptr += row % T * stride_z_t
    first_n = row // T * rows_of_split
    RANDOM: tl.constexpr = directions_ptr is None
    if RANDOM:
        step = tl.load(step_ptr)
    cos_sum = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)
    sin_sum = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)

    for start_n in range(first_n, tl.minimum(first_n + rows_of_split, N), BLOCK_N):
        o_n = start_n + tl.arange(0, BLOCK_N).to(tl.int64)
        m_n = o_n < N
        h = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)  # embeddings along a row: sums over them stay within a warp
        squares = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
        for start_d in range(0, D, BLOCK_D):
            o_d = start_d + tl.arange(0, BLOCK_D).to(tl.int64)
            m_d = o_d < D
            if RANDOM:
                u = columns_tile(seed, step, o_m, start_d, D, M, BLOCK_D)
                squares += u * u
            else:
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
        if RANDOM:
            h *= (1.0 / tl.sqrt(tl.sum(squares, axis=1)))[:, None]

        r_re, r_im = cos_sin(_knot(1, DELTA) * h)
        r_re = tl.where(m_n[None, :], r_re, 0.0)  # else a missing embedding would add cos 0 = 1
        p_re, p_im = r_re, r_im
        for anchor in range(1, K, _STRIDE):
            if anchor > 1:
                p_re, p_im = cos_sin(_knot(anchor, DELTA) * h)
                p_re = tl.where(m_n[None, :], p_re, 0.0)
            for j in tl.static_range(_STRIDE):
                if j > 0:
                    p_re, p_im = _multiply_add(p_re, p_im, r_re, r_im, 0.0, 0.0)
                column = o_k[None, :] == anchor + j - 1
                cos_sum += tl.where(column, tl.sum(p_re, axis=1)[:, None], 0.0)
                sin_sum += tl.where(column, tl.sum(p_im, axis=1)[:, None], 0.0)

    sums_ptrs = sums_ptr + (row * (K - 1) + o_k[None, :]) * 2 * M + o_m[:, None]
    m_sums = m_m[:, None] & (o_k[None, :] < K - 1)
    tl.store(sums_ptrs, cos_sum, mask=m_sums)
    tl.store(sums_ptrs + M, sin_sum, mask=m_sums)


@triton.jit(do_not_specialize=["count"])
@no_type_check
def sigreg_finish_kernel(
    sums_ptr,
    count_ptr,
    statistic_ptr,
    coefficients_ptr,
    count,
    S,
    T,
    M,
    K: tl.constexpr,
    DELTA: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Each program has a step. A row is the cosine or sine part of one power, a column a direction."""
    t = tl.program_id(0).to(tl.int64)
    o_p = tl.arange(0, BLOCK_P)
    m_p = o_p < 2 * (K - 1)
    is_cos = o_p % 2 == 0
    if count_ptr is not None:
        count = tl.load(count_ptr)
    n = count.to(tl.float32)
    k = (o_p // 2 + 1).to(tl.float64)
    delta = tl.full((), DELTA, tl.float64)
    density = tl.exp(-0.5 * (k * delta) * (k * delta))
    weight = delta / M * density * tl.where(k < K - 1, 2.0, 1.0)  # the trapezoid rule, with the knots below 0
    slope = (delta / n.to(tl.float64) * k * weight * tl.where(is_cos, -2.0, 2.0)).to(tl.float32)[:, None]
    # The expectation in E, as two float32: the rounding error of one would be the same in every direction.
    expected = tl.where(is_cos, density, 0.0)
    high = expected.to(tl.float32)
    low = (expected - high.to(tl.float64)).to(tl.float32)

    squares = tl.zeros((BLOCK_P, BLOCK_M), tl.float32)
    for start_m in range(0, M, BLOCK_M):
        o_m = start_m + tl.arange(0, BLOCK_M).to(tl.int64)
        mask = m_p[:, None] & (o_m < M)[None, :]
        error = tl.zeros((BLOCK_P, BLOCK_M), tl.float32)  # N E
        for s in range(S):
            row = (s * T + t) * 2 * (K - 1)
            error += tl.load(sums_ptr + (row + o_p)[:, None] * M + o_m[None, :], mask=mask, other=0.0)
        error = tl.fma(-n, low[:, None], tl.fma(-n, high[:, None], error))
        tl.store(coefficients_ptr + (t * 2 * (K - 1) + o_p)[:, None] * M + o_m[None, :], error * slope, mask=mask)
        squares += tl.where(mask, error * error, 0.0)
    of_part = tl.sum(squares.to(tl.float64), axis=1)
    statistic = tl.sum(tl.where(m_p, of_part * weight, 0.0), axis=0) / n.to(tl.float64)
    tl.store(statistic_ptr + t, statistic.to(tl.float32))


@triton.jit(do_not_specialize=["seed"])
@no_type_check
def sigreg_backward_kernel(
    z_ptr,
    directions_ptr,
    step_ptr,
    coefficients_ptr,
    gradient_ptr,
    seed: tl.uint64,
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
    CHAIN: tl.constexpr,
):
    """Each program has a split, a step and a block of embeddings; it sums the gradient over CHAIN directions at a time.

    It adds these sums in memory: if it added a thousand products one by one in registers, the error would be too large.
    """
    blocks_n = tl.cdiv(N, BLOCK_N)
    pid = tl.program_id(0)
    row = (pid // blocks_n).to(tl.int64)  # row of (S, T)
    o_n = (pid % blocks_n) * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    m_n = o_n < N
    z_ptr += row % T * stride_z_t
    coefficients_ptr += row % T * M * (K - 1) * 2
    first_m = pid // blocks_n // T * columns_of_split
    end_m = tl.minimum(first_m + columns_of_split, M)
    RANDOM: tl.constexpr = directions_ptr is None
    if RANDOM:
        step = tl.load(step_ptr)
    # The width of a block is a power of two, so each row is held in two blocks: its beginning and its end.
    o_head = tl.arange(0, BLOCK_HEAD).to(tl.int64)
    m_head = m_n[:, None] & (o_head < D)[None, :]
    gradient_ptrs = gradient_ptr + (row * N + o_n)[:, None] * D
    if BLOCK_TAIL > 0:
        o_tail = BLOCK_HEAD + tl.arange(0, BLOCK_TAIL).to(tl.int64)
        m_tail = m_n[:, None] & (o_tail < D)[None, :]

    for chain_m in range(first_m, end_m, CHAIN):
        head = tl.zeros((BLOCK_N, BLOCK_HEAD), tl.float32)
        if BLOCK_TAIL > 0:
            tail = tl.zeros((BLOCK_N, BLOCK_TAIL), tl.float32)

        for start_m in range(chain_m, tl.minimum(chain_m + CHAIN, end_m), BLOCK_M):
            o_m = start_m + tl.arange(0, BLOCK_M).to(tl.int64)
            m_m = o_m < M
            h = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
            squares = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
            for start_d in range(0, D, BLOCK_D):
                o_d = start_d + tl.arange(0, BLOCK_D).to(tl.int64)
                m_d = o_d < D
                z = tl.load(
                    z_ptr + o_n[:, None] * stride_z_n + o_d[None, :] * stride_z_d,
                    mask=m_n[:, None] & m_d[None, :],
                    other=0.0,
                )
                if RANDOM:
                    u = columns_tile(seed, step, o_m, start_d, D, M, BLOCK_D)
                    squares += u * u
                    u = u.T
                else:
                    u = tl.load(
                        directions_ptr + o_d[:, None] * stride_directions_d + o_m[None, :] * stride_directions_m,
                        mask=m_d[:, None] & m_m[None, :],
                        other=0.0,
                    )
                h = tl.dot(z.to(tl.float32), u.to(tl.float32), h, input_precision="ieee")
            if RANDOM:
                scale = (1.0 / tl.sqrt(tl.sum(squares, axis=1)))[None, :]
                h *= scale

            r_re, r_im = cos_sin(_knot(1, DELTA) * h)
            a_re, a_im = r_re, r_im
            slope = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
            for anchor in range(1, K, _STRIDE):
                if anchor > 1:
                    a_re, a_im = cos_sin(_knot(anchor, DELTA) * h)
                p_re = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
                p_im = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
                for j in tl.static_range(_STRIDE):
                    k = anchor + _STRIDE - 1 - j
                    c_ptrs = coefficients_ptr + (k - 1) * 2 * M + o_m
                    m_c = tl.where(k < K, m_m, False)
                    c_re = tl.load(c_ptrs, mask=m_c, other=0.0)[None, :]
                    c_im = tl.load(c_ptrs + M, mask=m_c, other=0.0)[None, :]
                    p_re, p_im = _multiply_add(p_re, p_im, r_re, r_im, c_re, c_im)
                slope = tl.fma(p_re, a_im, tl.fma(p_im, a_re, slope))

            if RANDOM:
                slope *= scale
                u = columns_tile(seed, step, o_m, 0, D, M, BLOCK_HEAD)
            else:
                u_ptrs = directions_ptr + o_m[:, None] * stride_directions_m
                m_u = m_m[:, None] & (o_head < D)[None, :]
                u = tl.load(u_ptrs + o_head[None, :] * stride_directions_d, mask=m_u, other=0.0)
            head = tl.dot(slope, u.to(tl.float32), head, input_precision="ieee")
            if BLOCK_TAIL > 0:
                if RANDOM:
                    u = columns_tile(seed, step, o_m, BLOCK_HEAD, D, M, BLOCK_TAIL)
                else:
                    m_u = m_m[:, None] & (o_tail < D)[None, :]
                    u = tl.load(u_ptrs + o_tail[None, :] * stride_directions_d, mask=m_u, other=0.0)
                tail = tl.dot(slope, u.to(tl.float32), tail, input_precision="ieee")

        m_before = tl.where(chain_m > first_m, m_head, False)
        head += tl.load(gradient_ptrs + o_head[None, :], mask=m_before, other=0.0)
        tl.store(gradient_ptrs + o_head[None, :], head, mask=m_head)
        if BLOCK_TAIL > 0:
            m_before = tl.where(chain_m > first_m, m_tail, False)
            tail += tl.load(gradient_ptrs + o_tail[None, :], mask=m_before, other=0.0)
            tl.store(gradient_ptrs + o_tail[None, :], tail, mask=m_tail)
        tl.debug_barrier()  # another thread of the program reads these sums afterwards
