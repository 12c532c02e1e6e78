"""SIGReg in PyTorch without anything of size N x M x K.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots, A anchors, s powers from an anchor
to the next; a row is the N projections of one step on one direction, and a tile has b rows.

With h = u·z and knots t_k = kδ, exp(i t_k h) is the k-th power of r = exp(iδh). Every fourth power, an
anchor, has a sine and cosine of its own; each of the others is one complex multiplication. With
E_k = mean_n r_n^k - exp(-t_k²/2) and w_k the weight of knot k,

    statistic       = N Σ_k w_k |E_k|²
    ∂statistic/∂h_n = -2δ Im Σ_k k w_k conj(E_k) r_n^k,

a polynomial in r_n, evaluated by Horner's rule. Knot 0 contributes to neither. There is one number a step, so
the gradient is that number's upstream gradient times a tensor of z's shape: it is computed while the powers
are in the cache, and none of them is stored.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from lewm_kernels._tiles import tile_elements

# Elements of h held at a time, and the fewest directions worth a matrix product: 8 MiB in float32.
_BLOCK_ELEMENTS = 1 << 21
_BLOCK_DIRECTIONS = 32

# Why not one anchor: the k-th power of a rounded r is wrong by k roundings of one sign, where those of the
# definition are independent of each other. From r alone, errors reach three times the definition's.
_STRIDE = 4


def statistic_and_gradient(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"], K: int, delta: float, with_gradient: bool
) -> tuple[Float[Tensor, " T"], Tensor]:
    """Mean statistic of every step and, if asked for, its gradient with respect to that step's embeddings.

    Args:
        z: Embeddings; 16-bit ones are computed and returned in float32.
        directions: Unit columns.
        K: Number of knots, 0 among them.
        delta: Distance of two knots.
        with_gradient: Whether to compute the gradient.

    Returns:
        The statistic (T,) and its gradient (T, N, D), or an empty tensor instead.
    """
    T, N, D = z.shape
    M = directions.shape[1]
    dtype = torch.promote_types(z.dtype, torch.float32)
    rows = max(1, tile_elements(z.device) // N)
    columns = max(_BLOCK_DIRECTIONS, _BLOCK_ELEMENTS // (T * N))
    z2 = z.reshape(T * N, D).to(dtype)
    u = directions.to(dtype).T  # (M, D)
    A = -(-(K - 1) // _STRIDE)
    shape = (A, min(rows, T * M), N)
    anchors, p = torch.empty(2, *shape, dtype=dtype.to_complex(), device=z.device)
    steps, normal, weight, slope = _knot_constants(K, A, delta, M, N, z2)
    total = z2.new_zeros(T)
    gradient = z2.new_zeros(T * N, D) if with_gradient else z2.new_empty(0)

    with torch.autocast(z.device.type, enabled=False):
        for m in range(0, M, columns):
            u_block = u[m : m + columns]
            h = torch.mm(u_block, z2.T).view(-1, N)  # (columns * T, N)
            per_row = h.new_empty(len(h))
            for row in range(0, len(h), rows):
                h_tile = h[row : row + rows]
                some = slice(0, len(h_tile))
                angle = steps * h_tile  # (A, b, N)
                torch.complex(angle.cos(), angle.sin_(), out=anchors[:, some])
                # Over several processes, these sums are what has to be added up before it is squared.
                error = _power_sums(anchors[:, some], p[:, some])  # (_STRIDE, A, b)
                torch.view_as_real(error).div_(N)  # a complex division would round 1 / N
                error.sub_(normal)
                torch.mv(_squared_modulus(error).flatten(0, 1).T, weight, out=per_row[row : row + rows])
                if with_gradient:
                    _horner(anchors[:, some], error.conj_physical_().mul_(slope), p[:, some])
                    h_tile.copy_(p[:, some].sum(dim=0).imag)  # h is spent: it becomes its own gradient
            total += per_row.view(-1, T).sum(dim=0)
            if with_gradient:
                gradient.addmm_(h.view(-1, T * N).T, u_block)
    return total, gradient.view(T, N, D) if with_gradient else gradient


def _knot_constants(
    K: int, A: int, delta: float, M: int, N: int, like: Tensor
) -> tuple[Float[Tensor, "A 1 1"], Float[Tensor, "s A 1"], Float[Tensor, " s*A"], Float[Tensor, "s A 1"]]:
    """The anchors' knots; for all powers what E subtracts, the weight of |E|², the factor of conj(E).

    Power 1 + 4a + j is the j-th after anchor a. Powers past the last knot have weight 0.
    """
    k = torch.arange(1, 1 + A * _STRIDE, dtype=torch.float64)
    normal = torch.exp(-(k * delta).square() / 2)
    area = 2 * delta * (k < K - 1) + delta * (k == K - 1)  # the trapezoid rule, doubled for the knots below 0
    weight = area * normal * (N / M)
    slope = -2 * delta / N * k * weight
    steps = delta * k[::_STRIDE, None, None]
    by_power = [x.view(A, _STRIDE).T.to(like) for x in (normal, weight, slope)]  # (_STRIDE, A)
    return steps.to(like), by_power[0][..., None], by_power[1].flatten(), by_power[2][..., None]


def _power_sums(anchors: Complex[Tensor, "A b N"], p: Complex[Tensor, "A b N"]) -> Complex[Tensor, "s A b"]:
    """Sums over N of the powers of r, the j-th after each anchor; `p` is scratch."""
    sums = p.new_empty(_STRIDE, *p.shape[:2])
    torch.sum(anchors, dim=-1, out=sums[0])
    power = anchors
    for j in range(1, _STRIDE):
        power = torch.mul(power, anchors[0], out=p)
        torch.sum(power, dim=-1, out=sums[j])
    return sums


def _horner(anchors: Complex[Tensor, "A b N"], c: Complex[Tensor, "s A b"], p: Complex[Tensor, "A b N"]) -> None:
    """Write the part of Σ_k c_k r^k that belongs to each anchor into `p`."""
    p.copy_(c[-1, ..., None])
    for c_j in reversed(c[:-1].unbind()):
        p.mul_(anchors[0]).add_(c_j[..., None])
    p.mul_(anchors)


def _squared_modulus(x: Complex[Tensor, "s A b"]) -> Float[Tensor, "s A b"]:
    """|x|² without the square root of `abs`."""
    return torch.view_as_real(x).square().sum(dim=-1)
