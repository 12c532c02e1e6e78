"""Goal-conditioned inverse dynamics: which block an episode took on its way to a later moment, so many steps ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lewm.heads.fitting import fit, rng_of
from lewm.heads.moves import Moves, draw_moves
from lewm.heads.policies.learning import MEASURED, Learnt, Material, OnShare, PolicySettings, filled
from lewm.heads.policies.measuring import measure
from lewm.planning.policy import Policy, patches_of


@dataclass(frozen=True)
class IdmSettings(PolicySettings):
    """Every number of the policy's training.

    In arXiv 2605.08732, 20,000 steps of 8,192 moves take a GPU, with a learning rate of 3e-4.
    """

    longest: int | None = None  # the most steps to a goal; when None, those of the longest episode
    moves_per_frame: int = 2


def learn_idm(material: Material, settings: IdmSettings, on_share: OnShare) -> Learnt:
    """Learn from moves of the episodes that were seen; see `Material`."""
    model, seen = material.model, material.seen
    count = settings.moves_per_frame * len(seen.latents)
    moves = draw_moves(model, seen, count, material.longest, rng_of(settings, 1))
    policy = train_idm(moves, material.longest, settings, patches_of(model.config), on_share)
    held_out = draw_moves(model, material.unseen, MEASURED, material.unseen_longest, rng_of(settings, 2))
    error, mean_action = measure(policy, held_out)
    return Learnt(
        policy=policy,
        settings=replace(filled(settings, material), longest=material.longest),
        error=error,
        mean_action=mean_action,
    )


def train_idm(
    moves: Moves, longest: int, settings: IdmSettings, patches: int = 1, on_share: OnShare = lambda share: None
) -> Policy:
    """A policy that makes these moves; on a CPU, equal arguments give equal policies.

    Args:
        moves: Moves from the episodes that the model was trained on.
        longest: The most steps to their goals.
        settings: The number of steps, their batch and the seed.
        patches: Patches that a latent consists of.
        on_share: Called with the share of the steps that is done.
    """
    device = moves.latents.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)  # of the first weights and of dropout
        policy = Policy("idm", moves.latents.shape[1], moves.blocks.shape[1], longest, patches).to(device)

        def loss(chosen: Tensor) -> Tensor:
            starts, goals = moves.latents[moves.starts[chosen]], moves.latents[moves.goals[chosen]]
            return F.mse_loss(policy(starts, goals, moves.steps[chosen]), moves.blocks[chosen])

        return fit(policy, loss, len(moves.blocks), settings, on_share)
