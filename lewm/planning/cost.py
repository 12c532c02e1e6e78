"""Costs of candidate plans. A planner takes any function with this signature.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lewm.model.world_model import WorldModel
from lewm.planning.cem import Cost

# Rows (candidates) that one call of the model sees on the CPU. More rows only push activations out of the cache.
CPU_ROWS = 2400


def last_step(model: WorldModel, latents: Float[Tensor, "B 1 D"], goal: Float[Tensor, "B D"]) -> Cost:
    """Squared distance of the last predicted latent to the goal's.

    Args:
        model: In eval mode.
        latents: The current frame's embedding.
        goal: The goal's embedding.

    Source: arXiv 2603.19312, section 4: squared distance summed over the latent.
    """

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        together = max(1, CPU_ROWS // candidates.shape[1]) if candidates.device.type == "cpu" else len(candidates)
        parts = []
        for begin in range(0, len(candidates), together):
            some = slice(begin, begin + together)
            reached = model.rollout(latents[some], candidates[some])[:, :, -1]  # (b, S, D)
            parts.append((reached - goal[some, None]).square().sum(dim=-1))
        return torch.cat(parts)

    return cost
