"""How well a policy does in episodes that it was not trained on."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from lewm.heads.fitting import rng_of
from lewm.heads.moves import Moves
from lewm.heads.policies.learning import MEASURED, Material, PolicySettings
from lewm.heads.policies.transitions import later_goals, transitions_of
from lewm.planning.policy import Policy


def draw_held_out(material: Material, settings: PolicySettings) -> Moves:
    """Moves of held-out episodes; every later moment of an episode is equally likely to be the goal."""
    transitions, rng = transitions_of(material.model, material.unseen), rng_of(settings, 2)
    device = transitions.starts.device
    chosen = torch.from_numpy(rng.integers(len(transitions.blocks), size=MEASURED)).to(device)
    starts, lasts = transitions.starts[chosen], transitions.lasts[chosen]
    goals = later_goals(starts, lasts, torch.from_numpy(rng.random(MEASURED, np.float32)).to(device))
    return Moves(transitions.latents, starts, goals, goals - starts, transitions.blocks[chosen])


@torch.inference_mode()
def measure(policy: Policy, moves: Moves) -> tuple[float, float]:
    """The mean squared error of normalised actions, of the policy and of the mean action; the latter is about 1."""
    told = policy(moves.latents[moves.starts], moves.latents[moves.goals], moves.steps)
    return float(F.mse_loss(told, moves.blocks)), float(moves.blocks.square().mean())
