"""Goal-conditioned inverse dynamics: which block an episode took on its way to a later moment, so many steps ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lewm.heads.fitting import fit
from lewm.heads.moves import Moves, draw_moves
from lewm.heads.policies.learning import MEASURED, STEPS, Learnt, Material, OnShare, PolicySettings, filled, rng_of
from lewm.planning.policy import Policy, patches_of


@dataclass(frozen=True)
class IdmSettings(PolicySettings):
    """Every number of the policy's training. They are our choice.

    In arXiv 2605.08732, 20,000 steps of 8,192 moves take a GPU, with a learning rate of 3e-4.
    """

    longest: int | None = None  # the most steps to a goal; when None, those of the longest episode
    moves_per_frame: int = 2
    steps: int = STEPS
    batch: int = 256
    learning_rate: float = 1e-3  # falls to 0 by a cosine
    weight_decay: float = 1e-2
    seed: int = 0  # seed of the choice of episodes and moves, the first weights, dropout and the batches


def learn_idm(material: Material, settings: IdmSettings, on_share: OnShare) -> Learnt:
    """Learn from moves of the episodes that were seen; see `Material`."""
    model, seen = material.model, material.seen
    count = settings.moves_per_frame * len(seen.latents)
    moves = draw_moves(model, seen, count, material.longest, rng_of(settings, 1))
    policy = train_idm(moves, material.longest, settings, patches_of(model.config), on_share)
    held_out = draw_moves(model, material.unseen, MEASURED, material.unseen_longest, rng_of(settings, 2))
    return Learnt(
        policy=policy,
        settings=replace(filled(settings, material), longest=material.longest),
        error=measure_idm(policy, held_out),
        mean_action=float(held_out.blocks.square().mean()),
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


@torch.inference_mode()
def measure_idm(policy: Policy, moves: Moves) -> float:
    """The mean squared error of normalised actions on held-out moves; the mean action's is about 1."""
    starts, goals = moves.latents[moves.starts], moves.latents[moves.goals]
    return float(F.mse_loss(policy(starts, goals, moves.steps), moves.blocks))
