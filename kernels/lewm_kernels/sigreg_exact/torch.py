"""SIGReg averaged over all directions, in PyTorch: one product of all pairs, and tables of one variable.

Shapes: T time steps, N embeddings of the sample, n of them that are rows, D latent width, k knots above 0, F functions,
E cells of a table, C coefficients of a cell's polynomial.

With y = z − mean z, r_ij = ‖y_i − y_j‖, and derivatives by the squared distance,

    statistic          = Σ_i (mean_j S(r_ij) − 2 L(‖z_i‖) + C)
    ∂statistic/∂z_i    = 4 (mean_j S'(r_ij) (y_i − y_j) − L'(‖z_i‖) z_i)

For embeddings that are nearly normal, S, L and C nearly cancel. The tables are of S − C and L − C, which are small at
the distances of such embeddings, and so is their rounding.

S, L, S' and L' are even functions of r without singularities. Each cell of a table has the polynomial that equals the
function at C Chebyshev points: its error is below the rounding of the dtype, and so the tables of S' and L' are the
derivatives of those of S and L to rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lewm_kernels._tiles import tile_elements
from lewm_kernels.sigreg.reference import trapezoid
from lewm_kernels.sigreg_exact.sphere import mean_cosine

# A table ends at this multiple of √D. The distances in a normal sample are near √(2D).
_REACH = 16

# In float32 a product of all pairs loses the distances that are small beside the farthest, such as those in tight
# groups far from each other. Where norms allow distances beyond this multiple of √D, all is computed in float64. They
# allow normal samples twice the largest norm: below 4 √D from 16 dimensions on, for tens of thousands of embeddings.
_SINGLE = 4

# Cells for a change of t r by √D, with t the last knot, and the coefficients of a cell. The derivative of order C of
# φ_D(t r) is at most t^C times the mean of u₁^C, which gives errors of 2e-10 in float32 and below 1e-15 in float64.
_CELLS = 64
_COEFFICIENTS = {torch.float32: 4, torch.float64: 6}

# Narrower embeddings are computed in float64. BLAS adds up the products of few columns one after the other; in float32
# the gradient's error would be several times the definition's.
_NARROW = 16

_LEAST_ROWS = 32  # the least rows of a tile, so that products of all pairs remain products of matrices for large N


def statistic_and_gradient(
    z: Float[Tensor, "T N D"], rows: slice, knots: tuple[float, ...], with_gradient: bool
) -> tuple[Float64[Tensor, " T"], Tensor]:
    """The contribution of some embeddings to the statistic of a sample, and the statistic's gradient by them.

    Args:
        z: The whole sample, in float32 or float64.
        rows: The embeddings that contribute.
        knots: Increasing numbers, from 0.
        with_gradient: Whether to compute the gradient.

    Returns:
        The contribution (T,), and the gradient (T, n, D) or an empty tensor instead.
    """
    N, D = z.shape[1:]
    mean = z.mean(dim=1, keepdim=True)  # (T, 1, D)
    y = z - mean
    squares = y.square().sum(dim=-1)  # (T, N)
    farthest = torch.maximum(4 * squares.max(), z.square().sum(dim=-1).max()).sqrt().item()
    outside = not farthest <= _reach(D)  # also true for NaN
    single = farthest <= _SINGLE * math.sqrt(D) and D >= _NARROW
    if z.dtype != torch.float64 and not single:
        statistic, gradient = statistic_and_gradient(z.double(), rows, knots, with_gradient)
        return statistic, gradient.to(z.dtype)

    pairs, alone = tables_of(D, knots, z.dtype, z.device)
    value, slope = alone(z[:, rows].square().sum(dim=-1), with_gradient, outside)  # (T, n)
    statistic = value.sum(dim=1, dtype=torch.float64).mul_(-2)
    gradient = -slope[..., None] * mean if with_gradient else z.new_empty(0)  # (T, n, D)
    whole = rows == slice(0, N)
    with torch.autocast(z.device.type, enabled=False):
        for t, first, last in _tiles(len(z), rows, N, tile_elements(z.device)):
            start = first if whole else 0  # earlier tiles have computed the pairs with earlier embeddings
            own, others = y[t, first:last], y[t, start:]
            diagonal = slice(first - start, last - start)
            q = squares[t, first:last, None] + squares[t, None, start:]  # (t, b, N - start)
            q.baddbmm_(own, others.mT, alpha=-2)
            q[:, :, diagonal].diagonal(dim1=1, dim2=2).zero_()
            value, pair_slope = pairs(q, with_gradient, outside)
            statistic[t] += _total(value) / N
            if whole:
                statistic[t] += _total(value[:, :, diagonal.stop :]) / N
            if with_gradient:
                pair_slope[:, :, diagonal].diagonal(dim1=1, dim2=2).zero_()  # it is multiplied by y_i − y_i = 0
                tile = slice(first - rows.start, last - rows.start)
                gradient[t, tile] += (pair_slope.sum(dim=2) / N - slope[t, tile])[..., None] * own
                gradient[t, tile] -= pair_slope @ others / N
                if whole:
                    after = pair_slope[:, :, diagonal.stop :].mT
                    gradient[t, last:] += (after.sum(dim=2) / N)[..., None] * y[t, last:]
                    gradient[t, last:] -= after @ own / N
    return statistic, gradient.mul_(4)


def _total(value: Float[Tensor, "t b N"]) -> Float64[Tensor, " t"]:
    return value.sum(dim=2).sum(dim=1, dtype=torch.float64)


def _tiles(T: int, rows: slice, N: int, elements: int) -> Iterator[tuple[slice, int, int]]:
    """Steps, first row and last row + 1 of tiles of about `elements` pairs."""
    steps, height = max(1, elements // N**2), max(_LEAST_ROWS, elements // N)
    for t in range(0, T, steps):
        for first in range(rows.start, rows.stop, height):
            yield slice(t, min(t + steps, T)), first, min(first + height, rows.stop)


@dataclass(frozen=True)
class Table:
    """S − C or L − C as a function of the distance, and its derivative by the squared distance."""

    values: Float[Tensor, "C E"]
    slopes: Float[Tensor, "C E"]
    width: float  # the width of a cell
    reach: float
    beyond: Callable[[Float64[Tensor, " n"]], Float64[Tensor, "1 2 n"]]  # computes both, without a table

    def __call__(
        self, squares: Float[Tensor, "*shape"], with_slopes: bool, outside: bool
    ) -> tuple[Float[Tensor, "*shape"], Tensor]:
        """Values and slopes at squared distances, which are overwritten.

        Args:
            squares: Squared distances; rounding may have made some of them a little less than 0.
            with_slopes: Whether slopes are wanted; else they are an empty tensor.
            outside: Whether some may lie beyond the table's end: these are computed one by one.
        """
        r = squares.clamp_(min=0).sqrt_()
        far = ~(r <= self.reach) if outside else None
        position = (r if far is None else r.masked_fill(far, 0)) / self.width
        cell = position.long()
        share = position.frac_()
        value = _polynomial(self.values, cell, share)
        slope = _polynomial(self.slopes, cell, share) if with_slopes else r.new_empty(0)
        if far is not None and far.any():
            ((value[far], slope_beyond),) = self.beyond(r[far].double()).to(r)
            if with_slopes:
                slope[far] = slope_beyond
        return value, slope


def _polynomial(
    coefficients: Float[Tensor, "C E"], cell: Int64[Tensor, "*shape"], share: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Horner's rule in each cell. Selecting with one index is several times faster than `coefficients[:, cell]`."""
    cells = cell.flatten()
    *lower, highest = coefficients
    result = highest.index_select(0, cells).view_as(share)
    for c in reversed(lower):
        result.mul_(share).add_(c.index_select(0, cells).view_as(share))
    return result


def _reach(D: int) -> float:
    return _REACH * math.sqrt(D)


@functools.lru_cache(maxsize=16)
def tables_of(D: int, knots: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> tuple[Table, Table]:
    """The tables of S and L for one latent width and one set of knots. They take some tenths of a second to make."""
    t = torch.tensor(knots, dtype=torch.float64)
    normal = torch.exp(-t.square() / 2)
    weight = trapezoid(t) * normal
    weights = torch.stack([weight, weight * normal])[:, 1:]  # knot 0 adds nothing: its parts of S, L and C cancel
    constant = float((weights[1] * normal[1:]).sum())

    C, width = _COEFFICIENTS[dtype], math.sqrt(D) / (_CELLS * knots[-1])
    cells = int(_reach(D) / width) + 2  # rounding may put a distance a little beyond the reach
    exponents = torch.arange(C)
    points = (1 - torch.cos(math.pi * (exponents.double() + 0.5) / C)) / 2
    r = (torch.arange(cells) + points[:, None]) * width  # (C, E)
    computed = _computed(D, t[1:], weights, constant, r.flatten()).unflatten(-1, r.shape)
    coefficients = torch.linalg.solve(points[:, None] ** exponents, computed).to(device, dtype)  # (2, 2, C, E)

    def table(which: int) -> Table:
        beyond = functools.partial(_computed, D, t[1:], weights[which, None], constant)
        values, slopes = coefficients[which]
        return Table(values, slopes, width, _reach(D), beyond)

    return table(0), table(1)


def _computed(
    D: int,
    t: Float64[Tensor, " k"],
    weights: Float64[Tensor, "F k"],
    constant: float,
    r: Float64[Tensor, " n"],
) -> Float64[Tensor, "F 2 n"]:
    """Σ_k weights_k φ_D(t_k r) minus the constant, and its derivative by r².

    The derivative of φ_D(t √q) by q is −t² / (2D) · φ_(D + 2)(t √q).
    """
    result = r.new_zeros(len(weights), 2, len(r))
    result[:, 0] -= constant
    for t_k, weight in zip(t.tolist(), weights.T.to(r), strict=True):
        result[:, 0] += weight[:, None] * mean_cosine(D, t_k * r)
        result[:, 1] -= weight[:, None] * (t_k**2 / (2 * D)) * mean_cosine(D + 2, t_k * r)
    return result
