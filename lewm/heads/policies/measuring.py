"""How well a policy that is not told the steps does in episodes that it was not trained on.

K moves, D latent width, A action-block width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm.heads.policies.learning import MEASURED, Material, PolicySettings, rng_of
from lewm.heads.policies.transitions import later_goals, transitions_of
from lewm.planning.policy import Policy


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Moves of held-out episodes; every later moment of an episode is equally likely to be the goal.

    Attributes:
        starts: The latent of each moment.
        goals: The latent of its goal.
        steps: Environment steps to the goal.
        blocks: The normalised block that was executed from the moment on.
    """

    starts: Float32[Tensor, "K D"]
    goals: Float32[Tensor, "K D"]
    steps: Int64[Tensor, " K"]
    blocks: Float32[Tensor, "K A"]


def draw_held_out(material: Material, settings: PolicySettings) -> HeldOut:
    """Moves that the policy is measured on."""
    transitions, rng = transitions_of(material.model, material.unseen), rng_of(settings, 2)
    device = transitions.starts.device
    chosen = torch.from_numpy(rng.integers(len(transitions.blocks), size=MEASURED)).to(device)
    starts, lasts = transitions.starts[chosen], transitions.lasts[chosen]
    goals = later_goals(starts, lasts, torch.from_numpy(rng.random(MEASURED, np.float32)).to(device))
    latents = transitions.latents
    return HeldOut(latents[starts], latents[goals], goals - starts, transitions.blocks[chosen])


@torch.inference_mode()
def measure(policy: Policy, held_out: HeldOut) -> tuple[float, float]:
    """The mean squared error of normalised actions, of the policy and of the mean action; the latter is about 1."""
    told = policy(held_out.starts, held_out.goals, None)
    return float(F.mse_loss(told, held_out.blocks)), float(held_out.blocks.square().mean())
