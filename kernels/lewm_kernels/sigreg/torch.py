"""SIGReg in PyTorch, without a tensor of size N x M x K.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots and P = K - 1 powers, A anchors, s powers
from an anchor to the next; a row is the N projections of one step on one direction, and a tile has b rows.

With h = u·z and knots t_k = kδ, exp(i t_k h) is the k-th power of r = exp(iδh). Every fourth power, an
anchor, has a sine and cosine of its own; each of the others is one complex multiplication. With
E_k = mean_n r_n^k - exp(-t_k²/2) and w_k the weight of knot k,

    statistic       = N Σ_k w_k |E_k|²
    ∂statistic/∂h_n = -2δ Im Σ_k k w_k conj(E_k) r_n^k,

a polynomial in r_n, evaluated by Horner's rule. Knot 0 contributes to neither. There is one number a step, so
the gradient is that number's upstream gradient times a tensor of z's shape: it is computed while the powers
are in the cache, and none of them is stored.

Over several processes the sums Σ_n r_n^k have to be added up before they are squared, so there are two passes,
`power_sums` and `gradient`, and `finish` between them.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from lewm_kernels._tiles import tile_elements

# Elements of h held at a time, 8 MiB in float32, and the fewest directions worth a matrix product.
_BLOCK_ELEMENTS = 1 << 21
_BLOCK_DIRECTIONS = 32

# One anchor is not enough: the k-th power of a rounded r has the error of k roundings of one sign, while the
# roundings of the definition are independent of each other. From r alone, errors reach three times the definition's.
_STRIDE = 4


def statistic_and_gradient(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"], K: int, delta: float, with_gradient: bool
) -> tuple[Float[Tensor, " T"], Tensor]:
    """The mean statistic of every step and, if asked for, its gradient with respect to that step's embeddings.

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
    z2, u, columns, rows = _operands(z, directions)
    A, anchors, p = _scratch(z2, K, min(rows, T * M), N)
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
                _rotate(steps, h_tile, anchors[:, some])
                error = _power_sums(anchors[:, some], p[:, some])  # (_STRIDE, A, b)
                torch.view_as_real(error).div_(N)  # a complex division would multiply by a rounded 1 / N
                error.sub_(normal)
                torch.mv(_squared_modulus(error).flatten(0, 1).T, weight, out=per_row[row : row + rows])
                if with_gradient:
                    _horner(anchors[:, some], error.conj_physical_().mul_(slope), p[:, some])
                    h_tile.copy_(p[:, some].sum(dim=0).imag)  # h is not needed any more: its gradient takes its place
            total += per_row.view(-1, T).sum(dim=0)
            if with_gradient:
                gradient.addmm_(h.view(-1, T * N).T, u_block)
    return total, gradient.view(T, N, D) if with_gradient else gradient


def power_sums(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"], K: int, delta: float
) -> Float[Tensor, "T M {K-1} 2"]:
    """Σ_n cos(kδ h_n) and Σ_n sin(kδ h_n) for k = 1 to K - 1, which processes add up."""
    T, N, _ = z.shape
    M = directions.shape[1]
    z2, u, columns, rows = _operands(z, directions)
    A, anchors, p = _scratch(z2, K, min(rows, T * M), N)
    steps = _anchor_knots(A, delta, z2)
    sums = anchors.new_empty(M * T, A, _STRIDE)

    with torch.autocast(z.device.type, enabled=False):
        for m in range(0, M, columns):
            h = torch.mm(u[m : m + columns], z2.T).view(-1, N)  # (columns * T, N)
            for row in range(0, len(h), rows):
                h_tile = h[row : row + rows]
                some = slice(0, len(h_tile))
                _rotate(steps, h_tile, anchors[:, some])
                of_tile = _power_sums(anchors[:, some], p[:, some])  # (_STRIDE, A, b)
                sums[m * T + row :][some] = of_tile.permute(2, 1, 0)
    by_knot = sums.view(M, T, A * _STRIDE)[..., : K - 1]  # power 1 + 4a + j is the j-th after anchor a
    return torch.view_as_real(by_knot.transpose(0, 1).contiguous())  # (T, M, K - 1, 2)


def finish(
    sums: Float[Tensor, "T M P 2"], count: int | Float[Tensor, ""], delta: float
) -> tuple[Float[Tensor, " T"], Float[Tensor, "T M P 2"]]:
    """Computes the mean statistic and the coefficients c_k of its gradient, Σ_m u_m Im Σ_k c_k r_n^k, from the sums.

    This is one part in N of the work, so float64 costs almost nothing, and avoids further rounding errors. Numbers go
    from the host to the device only as a kernel's arguments, so that a CUDA graph can hold the computation.

    Args:
        sums: The `power_sums` of all processes, added up.
        count: The number of embeddings of all processes.
        delta: Distance of two knots.
    """
    M = sums.shape[1]
    k = torch.arange(1, sums.shape[2] + 1, dtype=torch.float64, device=sums.device)
    normal = k.square().mul_(-(delta**2) / 2).exp_()
    weight = normal * (2 * delta / M)
    weight[-1:].mul_(0.5)  # the trapezoid rule
    error = sums.double().div_(count)
    error[..., 0].sub_(normal)
    statistic = error.square().sum(dim=-1).mul_(weight).sum(dim=(1, 2)).mul_(count)
    coefficients = error.mul_(k.mul_(weight).mul_(-2 * delta)[:, None])
    coefficients[..., 1].neg_()
    return statistic.to(sums.dtype), coefficients.to(sums.dtype)


def gradient(
    z: Float[Tensor, "T N D"],
    directions: Float[Tensor, "D M"],
    coefficients: Float[Tensor, "T M P 2"],
    delta: float,
) -> Float[Tensor, "T N D"]:
    """The gradient Σ_m u_m Im Σ_k c_k r_n^k; the powers are computed again."""
    T, N, D = z.shape
    M, K = coefficients.shape[1], coefficients.shape[2] + 1
    z2, u, columns, rows = _operands(z, directions)
    A, anchors, p = _scratch(z2, K, min(rows, T * M), N)
    steps = _anchor_knots(A, delta, z2)
    c = anchors.new_zeros(M, T, A * _STRIDE)  # powers past the last knot have coefficient 0
    torch.view_as_real(c)[:, :, : K - 1] = coefficients.transpose(0, 1)
    by_row = c.view(M * T, A, _STRIDE).permute(2, 1, 0)  # (_STRIDE, A, M * T)
    out = z2.new_zeros(T * N, D)

    with torch.autocast(z.device.type, enabled=False):
        for m in range(0, M, columns):
            u_block = u[m : m + columns]
            h = torch.mm(u_block, z2.T).view(-1, N)  # (columns * T, N)
            for row in range(0, len(h), rows):
                h_tile = h[row : row + rows]
                some = slice(0, len(h_tile))
                _rotate(steps, h_tile, anchors[:, some])
                _horner(anchors[:, some], by_row[..., m * T + row :][..., some], p[:, some])
                h_tile.copy_(p[:, some].sum(dim=0).imag)
            out.addmm_(h.view(-1, T * N).T, u_block)
    return out.view(T, N, D)


def _operands(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"]
) -> tuple[Float[Tensor, "T*N D"], Float[Tensor, "M D"], int, int]:
    """Embeddings and directions in the dtype of the arithmetic, the directions of a block, and the rows of a tile."""
    T, N, D = z.shape
    dtype = torch.promote_types(z.dtype, torch.float32)
    columns = max(_BLOCK_DIRECTIONS, _BLOCK_ELEMENTS // (T * N))
    return z.reshape(T * N, D).to(dtype), directions.to(dtype).T, columns, max(1, tile_elements(z.device) // N)


def _scratch(like: Tensor, K: int, b: int, N: int) -> tuple[int, Complex[Tensor, "A b N"], Complex[Tensor, "A b N"]]:
    """The number of anchors, and two buffers for a tile's powers."""
    A = -(-(K - 1) // _STRIDE)
    anchors, p = torch.empty(2, A, b, N, dtype=like.dtype.to_complex(), device=like.device)
    return A, anchors, p


def _anchor_knots(A: int, delta: float, like: Tensor) -> Float[Tensor, "A 1 1"]:
    """The knots kδ of the anchors."""
    return (delta * torch.arange(1, 1 + A * _STRIDE, _STRIDE, dtype=torch.float64))[:, None, None].to(like)


def _rotate(steps: Float[Tensor, "A 1 1"], h: Float[Tensor, "b N"], anchors: Complex[Tensor, "A b N"]) -> None:
    """Writes exp(i kδh) of the anchors' knots."""
    angle = steps * h  # (A, b, N)
    torch.complex(angle.cos(), angle.sin_(), out=anchors)


def _knot_constants(
    K: int, A: int, delta: float, M: int, N: int, like: Tensor
) -> tuple[Float[Tensor, "A 1 1"], Float[Tensor, "s A 1"], Float[Tensor, " s*A"], Float[Tensor, "s A 1"]]:
    """The anchors' knots; for all powers the expectation in E, the weight of |E|², and the factor of conj(E).

    Power 1 + 4a + j is the j-th after anchor a. Powers past the last knot have weight 0.
    """
    k = torch.arange(1, 1 + A * _STRIDE, dtype=torch.float64)
    normal = torch.exp(-(k * delta).square() / 2)
    halves = (k < K - 1).double() + (k < K).double()  # the trapezoid rule, doubled for the knots below 0
    weight = halves * normal * (delta * N / M)
    slope = -2 * delta / N * k * weight
    by_power = [x.view(A, _STRIDE).T.to(like) for x in (normal, weight, slope)]  # (_STRIDE, A)
    return _anchor_knots(A, delta, like), by_power[0][..., None], by_power[1].flatten(), by_power[2][..., None]


def _power_sums(anchors: Complex[Tensor, "A b N"], p: Complex[Tensor, "A b N"]) -> Complex[Tensor, "s A b"]:
    """Sums over N of the powers of r, each of them the j-th after an anchor; `p` is scratch memory."""
    sums = p.new_empty(_STRIDE, *p.shape[:2])
    torch.sum(anchors, dim=-1, out=sums[0])
    power = anchors
    for j in range(1, _STRIDE):
        power = torch.mul(power, anchors[0], out=p)
        torch.sum(power, dim=-1, out=sums[j])
    return sums


def _horner(anchors: Complex[Tensor, "A b N"], c: Complex[Tensor, "s A b"], p: Complex[Tensor, "A b N"]) -> None:
    """Writes the part of Σ_k c_k r^k that belongs to each anchor into `p`."""
    p.copy_(c[-1, ..., None])
    for c_j in reversed(c[:-1].unbind()):
        p.mul_(anchors[0]).add_(c_j[..., None])
    p.mul_(anchors)


def _squared_modulus(x: Complex[Tensor, "s A b"]) -> Float[Tensor, "s A b"]:
    """|x|² without the square root of `abs`."""
    return torch.view_as_real(x).square().sum(dim=-1)
