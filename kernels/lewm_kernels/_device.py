"""Device functions of the Triton kernels: cosine and sine, and random directions, drawn tile by tile.

Shapes: D latent width, M directions.
"""

# Triton reads the source of device functions and infers their types: type checkers must neither wrap nor check them.
# mypy: disable-error-code="import-untyped"
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import math
from typing import no_type_check

import triton
import triton.language as tl

from lewm_kernels.philox import DIRECTIONS_STREAM

# Argument reduction by quarter turns (Cody and Waite): π/2 = high + middle + low; the first two are so short that their
# products with the number of turns are exact. The polynomials have the least maximum relative error on [-π/4, π/4],
# which is below 2^-28.
_TWO_OVER_PI = tl.constexpr(0.6366197466850281)
_HIGH = tl.constexpr(1.5703125)
_MIDDLE = tl.constexpr(0.0004837512969970703)
_LOW = tl.constexpr(7.549790126404332e-08)
_SIN_3, _SIN_5, _SIN_7 = map(tl.constexpr, (-0.16666655242443085, 0.008332177996635437, -0.00019517233886290342))
_COS_4, _COS_6, _COS_8 = map(tl.constexpr, (0.04166664555668831, -0.0013887366512790322, 2.4438381914144482e-05))
_ROUNDER = tl.constexpr(12582912.0)  # 1.5 · 2^23: adding it rounds to an integer, held by the sum's last bits

_STEP, _HALF_STEP = tl.constexpr(2.0**-23), tl.constexpr(2.0**-24)
_TWO_PI = tl.constexpr(2 * math.pi)
_DIRECTIONS_STREAM = tl.constexpr(DIRECTIONS_STREAM)


@triton.jit
@no_type_check
def cos_sin(x):
    """Cosine and sine with one argument reduction and no branch; both are within 1.5 · 2^-24 up to 10^4.

    From 6·10^6 on, where neighbouring float32 lie half a radian apart, the angle is rounded to quarter turns.
    """
    q = tl.fma(x, _TWO_OVER_PI, _ROUNDER)
    turns = q - _ROUNDER
    y = tl.fma(turns, -_LOW, tl.fma(turns, -_MIDDLE, tl.fma(turns, -_HIGH, x)))
    y = tl.where(tl.abs(y) > 1.0, 0.0, y)  # the comparison is false for NaN, so NaN is kept
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
def _uniform(word):
    """A uniform number, as in `philox.uniform`: (k + 1/2) / 2^23, with k the 23 leading bits of the word."""
    return tl.fma((word >> 9).to(tl.float32), _STEP, _HALF_STEP)


@triton.jit
@no_type_check
def _box_muller(word, other):
    radius = tl.sqrt(-2.0 * tl.log(_uniform(word)))
    c, s = cos_sin(_uniform(other) * _TWO_PI)
    return radius * c, radius * s


@triton.jit
@no_type_check
def columns_tile(seed, step, o_m, start_d, D, M, BLOCK_D: tl.constexpr):
    """Columns o_m of `philox.directions`, not yet of length 1, as rows: elements from start_d on, with 0 from D on."""
    o_q = start_d // 4 + tl.arange(0, BLOCK_D // 4)
    blocks = (o_q[None, :] * M + o_m[:, None]).to(tl.uint32)
    low, high = (step & 0xFFFFFFFF).to(tl.uint32), (step >> 32).to(tl.uint32)
    stream = tl.full((), _DIRECTIONS_STREAM, tl.uint32)
    w0, w1, w2, w3 = tl.philox(seed, blocks, low, high, stream)
    x0, x1 = _box_muller(w0, w1)
    x2, x3 = _box_muller(w2, w3)
    tile = tl.interleave(tl.interleave(x0, x2), tl.interleave(x1, x3))
    o_d = start_d + tl.arange(0, BLOCK_D)
    return tl.where(o_d[None, :] < D, tile, 0.0)
