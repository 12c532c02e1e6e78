"""The learning rate as a function of the step, so that nothing has to be saved."""

from __future__ import annotations

import math

from lewm.config import Training


def learning_rate(config: Training, step: int, steps: int) -> float:
    """Linear warm-up over the first `warmup` share of `steps`, then cosine to zero.

    Source: released code.
    """
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
