"""Costs of candidate plans. A planner takes any function with this signature.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lewm.model.world_model import WorldModel
from lewm.planning.cem import Cost
from lewm.runtime import physical_memory

CPU_ROWS = 2400  # candidates that one call of the model sees on a CPU: more only push activations out of the cache
MEMORY_SHARE = 8  # elsewhere one call may fill an eighth of the device's memory


def last_step(model: WorldModel, latents: Float[Tensor, "B 1 D"], goal: Float[Tensor, "B D"]) -> Cost:
    """Squared distance of the last predicted latent to the goal's.

    Args:
        model: In eval mode.
        latents: The current frame's embedding.
        goal: The goal's embedding.

    Source: arXiv 2603.19312, section 4: squared distance summed over the latent.
    """

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        together = max(1, rows_together(model, candidates.shape[2]) // candidates.shape[1])
        parts = []
        for begin in range(0, len(candidates), together):
            some = slice(begin, begin + together)
            reached = model.rollout(latents[some], candidates[some])[:, :, -1]  # (b, S, D)
            parts.append((reached - goal[some, None]).square().sum(dim=-1))
        return torch.cat(parts)

    return cost


def rows_together(model: WorldModel, horizon: int) -> int:
    """Candidates of `horizon` blocks that one call of `WorldModel.rollout` may see."""
    if model.device.type == "cpu":
        return CPU_ROWS
    predictor = model.config.predictor
    one = 4 * (6 * predictor.width * predictor.depth * horizon + 4 * predictor.mlp * predictor.history)  # bytes
    return physical_memory(model.device) // MEMORY_SHARE // one
