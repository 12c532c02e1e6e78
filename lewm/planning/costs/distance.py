"""Distances between imagined latents and the goal's.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lewm.planning.dynamics import Dynamics
from lewm.planning.plan import Context, Cost


def last(dynamics: Dynamics, context: Context, goal: Float[Tensor, "B D"]) -> Cost:
    """Squared distance between the last predicted latent and the goal's.

    Source: arXiv 2603.19312, section 4: squared distance summed over the latent.
    """

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        reached = dynamics(context.latents, candidates, context.actions)[:, :, -1]  # (B, S, D)
        return (reached - goal[:, None]).square().sum(dim=-1)

    return cost


def nearest(dynamics: Dynamics, context: Context, goal: Float[Tensor, "B D"]) -> Cost:
    """Squared distance between the goal's latent and the predicted latent that comes nearest to it."""

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        return squared(dynamics(context.latents, candidates, context.actions), goal).amin(dim=-1)

    return cost


def mean(dynamics: Dynamics, context: Context, goal: Float[Tensor, "B D"]) -> Cost:
    """Squared distance to the goal's latent, averaged over the predicted latents."""

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        return squared(dynamics(context.latents, candidates, context.actions), goal).mean(dim=-1)

    return cost


def squared(predicted: Float[Tensor, "B S H D"], goal: Float[Tensor, "B D"]) -> Float[Tensor, "B S H"]:
    """Squared distances between predicted latents and the goal's."""
    return (predicted - goal[:, None, None]).square().sum(dim=-1)
