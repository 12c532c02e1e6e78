"""A cost of one's own, with a head: the distance to the goal in a linear map of the latents.

    lewm --import examples/extend_cost.py plan --cost mapped --set cost.path=map.safetensors

The file holds one tensor, "map" (E, D), which was learnt elsewhere.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width, E width of the map.
"""

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from lewm import config
from lewm.planning.costs import COSTS, MakeCost
from lewm.planning.dynamics import Dynamics
from lewm.planning.plan import Context, Cost


class MappedCost(config.Cost):
    """Its settings."""

    kind: Literal["mapped"] = "mapped"
    path: Path


def mapped(settings: MappedCost, device: torch.device) -> MakeCost:
    """Reads the head; what it returns makes a cost for each goal."""
    head = load_file(settings.path)["map"].to(device)

    def make(dynamics: Dynamics, context: Context, goal: Float[Tensor, "B D"]) -> Cost:
        def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
            reached = dynamics(context.latents, candidates, context.actions)[:, :, -1]  # (B, S, D)
            return ((reached - goal[:, None]) @ head.T).square().sum(dim=-1)

        return cost

    return make


COSTS["mapped"] = mapped
