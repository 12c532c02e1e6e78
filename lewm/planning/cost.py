"""Costs of candidate plans. A planner takes any function with this signature.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lewm.model.world_model import WorldModel
from lewm.planning.cem import Cost
from lewm.runtime import physical_memory
from lewm_kernels.rollout import Packed, rollout

CPU_ROWS = 2400  # candidates that one call of the model sees on a CPU: more only push activations out of the cache
MEMORY_SHARE = 8  # elsewhere one call may fill an eighth of the device's memory


def last_step(packed: Packed, latents: Float[Tensor, "B 1 D"], goal: Float[Tensor, "B D"]) -> Cost:
    """Squared distance of the last predicted latent to the goal's.

    Args:
        packed: The world model's predictor.
        latents: The current frame's embedding.
        goal: The goal's embedding.

    Source: arXiv 2603.19312, section 4: squared distance summed over the latent.
    """

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        reached = rollout(packed, latents, candidates)[:, :, -1]  # (B, S, D)
        return (reached - goal[:, None]).square().sum(dim=-1)

    return cost


def rows_together(model: WorldModel, horizon: int) -> int:
    """Candidates of `horizon` blocks that one rollout may see."""
    if model.device.type == "cpu":
        return CPU_ROWS
    predictor = model.config.predictor
    modulations = 6 * predictor.width * predictor.depth * horizon
    attention = 3 * predictor.heads * predictor.head_dim * predictor.depth * predictor.history
    mlp = 4 * predictor.mlp * predictor.history
    ends = horizon * (model.config.latent + 4 * model.config.action_block)
    return physical_memory(model.device) // MEMORY_SHARE // (4 * (modulations + attention + mlp + ends))
