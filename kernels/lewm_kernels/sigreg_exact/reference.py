"""SIGReg averaged over all directions. It is the oracle of the tests and the baseline of the benchmark.

Shapes: T leading indices (time steps), N embeddings, D latent width, K knots.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lewm_kernels.sigreg.reference import trapezoid
from lewm_kernels.sigreg_exact.sphere import gauss_rule


def sigreg_exact(z: Float[Tensor, "*T N D"], knots: Float[Tensor, " K"]) -> Float[Tensor, "*T"]:
    """The mean of `lewm_kernels.sigreg.reference.statistic` over all unit directions u.

    |mean_n exp(i t u·z_n)|² is the mean over pairs of cos(t u·(z_i − z_j)). The mean of this cosine over u depends on
    the distance of the pair alone, so that

        statistic = N (mean_ij S(‖z_i − z_j‖) − 2 mean_i L(‖z_i‖) + C)
        S(r) = Σ_k w_k φ(t_k r)      L(r) = Σ_k w_k exp(−t_k²/2) φ(t_k r)      C = Σ_k w_k exp(−t_k²)

    with φ(s) the mean of cos(s u₁), and w_k the weights of the definition. A Gauss rule computes φ; it is exact to
    rounding up to the largest distance in the sample.

    The rule's nodes grow in number with that distance, and memory with N² K times the nodes: this is for distances of
    some tens of √D. One outlier at ten thousand times the norm of the others asks for more memory than machines have.

    Args:
        z: Embeddings, any floating dtype; all arithmetic happens in it.
        knots: Increasing numbers, from 0 to the end of the integral; the paper has 17 of them up to 3.

    Source: derived from LeWorldModel's SIGReg loss, whose directions are drawn again at each step.
    """
    N, D = z.shape[-2:]
    apart = torch.linalg.vector_norm(z.unsqueeze(-2) - z.unsqueeze(-3), dim=-1)  # (*T, N, N)
    length = torch.linalg.vector_norm(z, dim=-1)  # (*T, N)
    farthest = max(float(apart.detach().max()), float(length.detach().max()))
    nodes, shares = (x.to(z) for x in gauss_rule(D, float(knots[-1]) * farthest))
    normal = torch.exp(-knots.square() / 2)  # (K,)
    weight = trapezoid(knots) * normal

    def mean_cosines(r: Tensor) -> Tensor:
        angle = r[..., None, None] * knots[:, None] * nodes  # (*r, K, nodes)
        return angle.cos() @ shares  # (*r, K)

    pairs = (mean_cosines(apart) @ weight).mean(dim=(-2, -1))
    alone = (mean_cosines(length) @ (weight * normal)).mean(dim=-1)
    return N * (pairs - 2 * alone + (weight * normal.square()).sum())
