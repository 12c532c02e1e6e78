"""The mean of cos(s u₁) over all unit vectors u of D dimensions.

    φ_D(s) = ₀F₁(; D/2; −s²/4) = Γ(D/2) (2/s)^(D/2 − 1) J_(D/2 − 1)(s)

The power series is of no use for large s: its terms grow like e^s while their sum does not grow. The first coordinate
of u has the density (1 − u²)^((D − 3)/2), up to a factor, and there is a Gauss rule for this density.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float64
from torch import Tensor

# The quadrature is used for s up to D/2 + _MARGIN. Beyond it the recurrence is used, which is stable where s exceeds
# the order of J.
_MARGIN = 16


@functools.lru_cache(maxsize=64)
def gauss_rule(D: int, largest: float) -> tuple[Float64[Tensor, " nodes"], Float64[Tensor, " nodes"]]:
    """Nodes u ≥ 0 and weights, so that φ_D(s) = Σ weights · cos(s u) to rounding for |s| up to `largest`.

    cos(s u) is a polynomial in u to rounding, of degree s + 8 s^(1/3) + 20, and n nodes are exact up to degree 2n − 1.
    The nodes are the eigenvalues of the matrix of the recurrence of Gegenbauer's polynomials.

    Source: Golub and Welsch, Calculation of Gauss quadrature rules, 1969.
    """
    n = 2 * int(largest / 4 + 2 * largest ** (1 / 3) + 6)  # an even number, so that no node is 0
    k = torch.arange(1, n, dtype=torch.float64)
    beta = k * (k + D - 3) / ((2 * k + D - 2) * (2 * k + D - 4))
    beta[0] = 1 / D  # the mean of u², also for D = 2, where the formula is 0 / 0
    off = beta.sqrt()
    nodes, vectors = torch.linalg.eigh(off.diag(1) + off.diag(-1))
    return nodes[n // 2 :], 2 * vectors[0, n // 2 :].square()


def mean_cosine(D: int, s: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """φ_D(s) for any s ≥ 0, with an error of about 1e-15."""
    turn = D / 2 + _MARGIN
    near = s <= turn
    result = torch.empty_like(s)
    nodes, weights = (x.to(s.device) for x in gauss_rule(D, turn))
    result[near] = (s[near][:, None] * nodes).cos_() @ weights
    result[~near] = _by_recurrence(D, s[~near])
    return result


def _by_recurrence(D: int, s: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """φ_D by the recurrence of J in terms of φ, upwards from φ_1 and φ_3, or from φ_2 and φ_4."""
    if D % 2:
        start, before, this = 3, s.cos(), s.sin() / s
    else:
        start, before, this = 4, torch.special.bessel_j0(s), 2 * torch.special.bessel_j1(s) / s
    for width in range(start, D, 2):
        before, this = this, width * (width - 2) / s.square() * (this - before)
    return before if start > D else this
