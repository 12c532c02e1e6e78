"""The training of what is learnt on frozen latents: random batches, AdamW, and a learning rate that falls to 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class FitSettings:
    """Numbers of a training.

    Attributes:
        steps: Number of steps.
        batch: Examples a step.
        learning_rate: The rate at the first step; it falls to 0 by a cosine.
        weight_decay: The weight decay of AdamW.
        seed: Seed of the batches.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    seed: int


def rng_of(settings: FitSettings, use: int) -> np.random.Generator:
    """The random numbers of one use of a training's seed."""
    return np.random.default_rng([settings.seed, use])


def fit(
    module: M,
    loss: Callable[[Int64[Tensor, " batch"]], Float[Tensor, ""]],
    examples: int,
    settings: FitSettings,
    on_progress: Callable[[float], None],
    after_step: Callable[[], None] = lambda: None,
) -> M:
    """The module, trained; then in eval mode, and its weights ask for no gradient.

    Args:
        module: What is trained, on its device.
        loss: The loss of the examples with these numbers, which are on that device.
        examples: How many examples there are.
        settings: Steps, batch, learning rate, weight decay and seed.
        on_progress: Called with the share of the steps that is done.
        after_step: Called after each step.
    """
    device = next(module.parameters()).device
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    generator = torch.Generator().manual_seed(settings.seed)
    for step in range(settings.steps):
        chosen = torch.randint(examples, (settings.batch,), generator=generator).to(device)
        optimizer.zero_grad()
        loss(chosen).backward()
        optimizer.step()
        falling.step()
        after_step()
        on_progress((step + 1) / settings.steps)
    return module.eval().requires_grad_(False)
