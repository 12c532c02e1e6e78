"""SIGReg over all directions at once, in closed form: what a sketch of random directions estimates.

With φ(s) the mean of cos(s u₁) over unit vectors u, whose first coordinate has the density (1 − u₁²)^((D − 3) / 2),

    statistic = N (mean_ij S(‖z_i − z_j‖²) − 2 mean_i L(‖z_i‖²) + C)
    S(q) = Σ_k w_k φ(t_k √q)      L(q) = Σ_k w_k exp(−t_k²/2) φ(t_k √q)      C = Σ_k w_k exp(−t_k²)

whose w_k are the weights of the definition. S and L are functions of one number: they are read from tables, and so are
their derivatives. Work and memory grow with N², and not at all with a number of directions. A baseline of
bench_sigreg.py: no operator of the project has this form.

T time steps, N embeddings, D latent width, K knots, E entries of a table.
"""

import math
from typing import Any

import torch
from scipy.special import roots_gegenbauer
from torch import Tensor

ENTRIES = 1 << 15
NODES = 256  # of the quadrature, which is exact for polynomials of less than twice this degree


class Exact:
    """The statistic of embeddings of one width; its tables are made beforehand.

    Args:
        D: Latent width.
        knots: Uniform, from 0.
        largest: No squared distance between two embeddings, or of one from 0, is larger.
        like: Of the dtype and on the device of the arithmetic.
        entries: Of each table.
    """

    def __init__(self, D: int, knots: Tensor, largest: float, like: Tensor, entries: int = ENTRIES) -> None:
        t = knots.to(like.device, torch.float64)
        step = t.diff()
        zero = step.new_zeros(1)
        weights = (torch.cat([step, zero]) + torch.cat([zero, step])) * torch.exp(-t.square() / 2)
        squares = torch.linspace(0, largest, entries, dtype=torch.float64, device=like.device)
        normal = torch.exp(-t.square() / 2)
        self.pairs, self.alone = tables(D, t, torch.stack([weights, weights * normal]), squares, like)
        self.constant = float((weights * normal.square()).sum())

    def __call__(self, z: Tensor, *_: object) -> Tensor:
        """The statistic (T,) of embeddings (T, N, D). A sketch's directions and knots, which follow, are not used."""
        squares = z.square().sum(dim=-1)  # (T, N)
        apart = squares[:, :, None] + squares[:, None] - 2 * z @ z.mT  # (T, N, N)
        # The three nearly cancel: what is left is a part in N of each.
        pairs = self.pairs(apart).mean(dim=(1, 2), dtype=torch.float64)
        alone = self.alone(squares).mean(dim=1, dtype=torch.float64)
        return (z.shape[1] * (pairs - 2 * alone + self.constant)).to(z.dtype)


class Table:
    """A function and its derivative at equal distances from 0 on; between them straight lines."""

    def __init__(self, values: Tensor, slopes: Tensor, distance: float) -> None:
        self.values, self.slopes, self.distance = values, slopes, distance

    def __call__(self, q: Tensor) -> Tensor:
        """Values of the function at `q`, of any shape; rounding may have made some of them a little less than 0."""
        result: Tensor = _Read.apply(q, self)
        return result


def tables(D: int, t: Tensor, weights: Tensor, squares: Tensor, like: Tensor) -> list[Table]:
    """Σ_k weights_k φ(t_k √q) at the squares q (E,), and its derivative by q, for each row of weights. D is above 2."""
    positive = (torch.from_numpy(x)[NODES // 2 :] for x in roots_gegenbauer(NODES, (D - 2) / 2))
    nodes, shares = (x.to(squares.device) for x in positive)
    shares = shares / shares.sum()
    root = squares[1:].sqrt()
    values, slopes = squares.new_zeros(2, len(weights), len(squares))
    for t_k, weight in zip(t.tolist(), weights.T, strict=True):
        angles = t_k * root[:, None] * nodes  # (E - 1, n)
        at_0 = squares.new_ones(1), squares.new_full((1,), -(t_k**2) / (2 * D))
        mean = torch.cat([at_0[0], angles.cos() @ shares])
        slope = torch.cat([at_0[1], angles.sin() @ (shares * nodes) * (-t_k / 2) / root])
        values += weight[:, None] * mean
        slopes += weight[:, None] * slope
    distance = float(squares[1])
    return [Table(*(x.to(like) for x in pair), distance) for pair in zip(values, slopes, strict=True)]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, table: Table) -> Tensor:  # noqa: ANN401
        position = (q / table.distance).clamp(0, len(table.values) - 1 - 1e-3)
        index = position.long()
        share = position - index
        ctx.save_for_backward(index, share)
        ctx.table = table
        return _between(table.values, index, share)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return gradient * _between(ctx.table.slopes, *ctx.saved_tensors), None


def _between(entries: Tensor, index: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(entries[index], entries[index + 1], share)


def largest_square(z: Tensor) -> float:
    """A bound for what `Exact` reads of these embeddings."""
    return math.ceil(4 * float(z.detach().square().sum(dim=-1).max()))
