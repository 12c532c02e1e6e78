"""SIGReg through torch.compile: the work that takes `torch.py` some thirty calls a tile becomes two loops.

Compiling takes some twenty seconds, once for each number of knots, distance and dtype, and on a CPU needs a C++
compiler: so this backend runs only where it is asked for.

Shapes: T time steps, N embeddings, D latent width, M directions, m of them in a block, K knots, P = K - 1 powers.

The powers of r = exp(iδh) are written out, knot after knot, as in `torch.py`: every fourth has its own sine and cosine,
and each other power is a complex multiplication. The compiler fuses the powers with their sums over N, and Horner's
rule with its sum, so that neither leaves the registers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from lewm_kernels.sigreg.torch import finish

_BLOCK_ELEMENTS = 1 << 22  # elements of the projections held at a time: 16 MiB in float32
_STRIDE = 4  # powers from one anchor to the next; `torch.py` explains the accuracy


def statistic_and_gradient(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"], K: int, delta: float, with_gradient: bool
) -> tuple[Float[Tensor, " T"], Tensor]:
    """Computes `torch.statistic_and_gradient`; a block of directions is projected once for both."""
    z, directions = _in_float(z, directions)
    M = directions.shape[1]
    sums_of, slope_of = _compiled(K, delta)
    statistic, total = z.new_zeros(len(z)), torch.zeros_like(z) if with_gradient else z.new_empty(0)
    for u in directions.split(_columns(z), dim=1):
        h = _projected(z, u)
        share, coefficients = finish(_knots_last(sums_of(h)), z.shape[1], delta)  # means over the block's directions
        statistic += share * (u.shape[1] / M)
        if with_gradient:
            total += _back(slope_of(h, _knots_first(coefficients * (u.shape[1] / M))), u)
    return statistic, total


def power_sums(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"], K: int, delta: float
) -> Float[Tensor, "T M P 2"]:
    """Computes `torch.power_sums`."""
    z, directions = _in_float(z, directions)
    sums_of, _ = _compiled(K, delta)
    return torch.cat([_knots_last(sums_of(_projected(z, u))) for u in directions.split(_columns(z), dim=1)], dim=1)


def gradient(
    z: Float[Tensor, "T N D"],
    directions: Float[Tensor, "D M"],
    coefficients: Float[Tensor, "T M P 2"],
    delta: float,
) -> Float[Tensor, "T N D"]:
    """Computes `torch.gradient`."""
    z, directions = _in_float(z, directions)
    _, slope_of = _compiled(coefficients.shape[2] + 1, delta)
    total, columns = torch.zeros_like(z), _columns(z)
    for u, c in zip(directions.split(columns, dim=1), coefficients.split(columns, dim=1), strict=True):
        total += _back(slope_of(_projected(z, u), _knots_first(c)), u)
    return total


def _in_float(z: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(z.dtype, torch.float32)
    return z.to(dtype).contiguous(), directions.to(dtype)


def _columns(z: Float[Tensor, "T N D"]) -> int:
    return max(32, _BLOCK_ELEMENTS // (z.shape[0] * z.shape[1]))


def _projected(z: Float[Tensor, "T N D"], u: Float[Tensor, "D m"]) -> Float[Tensor, "T N m"]:
    with torch.autocast(z.device.type, enabled=False):
        return (z.flatten(0, 1) @ u).unflatten(0, z.shape[:2])


def _back(slope: Float[Tensor, "T N m"], u: Float[Tensor, "D m"]) -> Float[Tensor, "T N D"]:
    with torch.autocast(slope.device.type, enabled=False):
        return (slope.flatten(0, 1) @ u.T).unflatten(0, slope.shape[:2])


def _knots_last(sums: Float[Tensor, "P 2 T m"]) -> Float[Tensor, "T m P 2"]:
    return sums.permute(2, 3, 0, 1)


def _knots_first(coefficients: Float[Tensor, "T m P 2"]) -> Float[Tensor, "P 2 T m"]:
    return coefficients.permute(2, 3, 0, 1).contiguous()


Sums = Callable[[Tensor], Tensor]
Slope = Callable[[Tensor, Tensor], Tensor]


@functools.cache
def _compiled(K: int, delta: float) -> tuple[Sums, Slope]:
    """Two functions of projections (T, N, m): power sums (K-1, 2, T, m) and, from coefficients so shaped, the gradient.

    The directions are innermost everywhere, so that a vector of them is one load. The checker of shapes must not wrap
    the functions, because the compiler would trace it too.
    """

    @no_type_check
    def powers(h: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        c, s = torch.cos(delta * h), torch.sin(delta * h)
        for k in range(1, K):
            if k % _STRIDE == 1:
                re, im = (c, s) if k == 1 else (torch.cos(delta * k * h), torch.sin(delta * k * h))
            else:
                re, im = re * c - im * s, re * s + im * c
            yield re, im

    @no_type_check
    def sums(h: Tensor) -> Tensor:
        return torch.stack([torch.stack([re.sum(1), im.sum(1)]) for re, im in powers(h)])

    @no_type_check
    def slope(h: Tensor, coefficients: Tensor) -> Tensor:
        c, s = torch.cos(delta * h), torch.sin(delta * h)
        total = torch.zeros_like(h)
        for anchor in range(1, K, _STRIDE):
            last = min(anchor + _STRIDE, K) - 1
            re, im = (coefficients[last - 1, i, :, None].expand_as(h) for i in (0, 1))
            for k in range(last - 1, anchor - 1, -1):
                c_re, c_im = (coefficients[k - 1, i, :, None] for i in (0, 1))
                re, im = re * c - im * s + c_re, re * s + im * c + c_im
            a, b = (c, s) if anchor == 1 else (torch.cos(delta * anchor * h), torch.sin(delta * anchor * h))
            total = total + re * b + im * a
        return total

    return torch.compile(sums, fullgraph=True, dynamic=True), torch.compile(slope, fullgraph=True, dynamic=True)
