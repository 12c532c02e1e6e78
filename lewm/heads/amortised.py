"""Training the policy: it learns which block an episode took on its way to a later moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lewm.heads.fitting import FitSettings, fit
from lewm.heads.moves import Moves
from lewm.planning.policy import Policy


@dataclass(frozen=True)
class PolicySettings(FitSettings):
    """Every number of the policy's training. They are our choice.

    In arXiv 2605.08732, 20,000 steps of 8,192 moves take a GPU, with a learning rate of 3e-4.
    """

    longest: int | None = None  # the most steps to a goal; when None, those of the longest episode
    frames: int | None = None  # at most so many frames, but one episode at least; when None, all training episodes
    moves_per_frame: int = 2
    steps: int = 6000
    batch: int = 256
    learning_rate: float = 1e-3  # falls to 0 by a cosine
    weight_decay: float = 1e-2
    seed: int = 0  # seed of the choice of episodes and moves, the first weights, dropout and the batches


def train_policy(
    moves: Moves, longest: int, settings: PolicySettings, on_progress: Callable[[float], None] = lambda share: None
) -> Policy:
    """A policy that makes these moves; on a CPU, equal arguments give equal policies.

    Args:
        moves: Moves from the episodes that the model was trained on.
        longest: The most steps to their goals.
        settings: The number of steps, their batch and the seed.
        on_progress: Called with the share of the steps that is done.
    """
    device = moves.latents.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)  # of the first weights and of dropout
        policy = Policy(moves.latents.shape[1], moves.blocks.shape[1], longest).to(device)

        def loss(chosen: Tensor) -> Tensor:
            starts, goals = moves.latents[moves.starts[chosen]], moves.latents[moves.goals[chosen]]
            return F.mse_loss(policy(starts, goals, moves.steps[chosen]), moves.blocks[chosen])

        return fit(policy, loss, len(moves.blocks), settings, on_progress)


@torch.inference_mode()
def measure_policy(policy: Policy, moves: Moves) -> float:
    """The mean squared error of normalised actions on held-out moves; the mean action's is about 1."""
    starts, goals = moves.latents[moves.starts], moves.latents[moves.goals]
    return float(F.mse_loss(policy(starts, goals, moves.steps), moves.blocks))
