"""SIGReg as the paper writes it. It is the oracle of the tests and the baseline of the benchmark.

Shapes: T leading indices (time steps), N embeddings, D latent width, M directions, K knots.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def statistic(
    z: Float[Tensor, "*T N D"], directions: Float[Tensor, "D M"], knots: Float[Tensor, " K"]
) -> Float[Tensor, "*T M"]:
    """Distance of the projected embeddings from a standard normal, for every direction.

    This is the Epps-Pulley statistic: N times the weighted squared distance between the empirical characteristic
    function of `z @ directions` and that of N(0, 1), integrated over both signs of t by the trapezoid rule.
    The integrand is even, so only knots from 0 on are visited and their weights are doubled.

    Args:
        z: Embeddings, any floating dtype; all arithmetic happens in it.
        directions: Unit columns.
        knots: Increasing numbers, from 0 to the end of the integral; the paper has 17 of them up to 3.

    Source: LeWorldModel, the SIGReg loss; the statistic itself is from LeJEPA.
    """
    h = z @ directions  # (*T, N, M)
    x = h.unsqueeze(-1) * knots  # (*T, N, M, K)
    c = x.cos().mean(dim=-3)  # (*T, M, K)
    s = x.sin().mean(dim=-3)  # (*T, M, K)
    normal = torch.exp(-knots.square() / 2)  # (K,), the characteristic function of N(0, 1) and the weight
    error = (c - normal).square() + s.square()
    return z.shape[-2] * (error @ (trapezoid(knots) * normal))


def sigreg(
    z: Float[Tensor, "*T N D"], directions: Float[Tensor, "D M"], knots: Float[Tensor, " K"]
) -> Float[Tensor, "*T"]:
    """The statistic averaged over directions, for every leading index."""
    return statistic(z, directions, knots).mean(dim=-1)


def trapezoid(knots: Float[Tensor, " K"]) -> Float[Tensor, " K"]:
    """Twice the weights of the trapezoid rule: the factor 2 stands for the integral over negative knots."""
    step = knots.diff()
    zero = step.new_zeros(1)
    return torch.cat([step, zero]) + torch.cat([zero, step])
