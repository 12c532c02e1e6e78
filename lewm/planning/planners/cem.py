"""The cross-entropy method.

B environments, S candidates, E elites, K selected candidates, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.config import Cem
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm_kernels.candidates import Sampler

# Draws the candidates of an iteration, from its mean and its standard deviation.
Sample = Callable[[int, Float[Tensor, "B H A"], Float[Tensor, "B H A"]], Float[Tensor, "B S H A"]]


def sampler(start: Start, samples: int, iterations: int, keys: Keys) -> Sample:
    """A function that draws candidates from a Gaussian and clamps them to the bounds of the start.

    Candidate 0 of every iteration is the mean.
    """
    draw, bounds = Sampler(keys.seed, keys.streams(iterations), samples), start.bounds
    if bounds is None:
        return draw
    # The candidates are read and written once more, 8 B S H A bytes, which is little beside computing their costs.
    return lambda iteration, mean, std: bounds.clamp(draw(iteration, mean, std))


def selected(candidates: Float[Tensor, "B S H A"], numbers: Int64[Tensor, "B K"]) -> Float[Tensor, "B K H A"]:
    """The candidates with these numbers, in ascending order: rounding in the costs cannot reorder a sum over them."""
    numbers = numbers.sort(dim=1).values[:, :, None, None]
    return candidates.gather(1, numbers.expand(-1, -1, *candidates.shape[2:]))


def cem(cost: Cost, start: Start, settings: Cem, keys: Keys) -> Plan:
    """Refit a Gaussian over plans to its cheapest samples, again and again.

    Candidate 0 of every iteration is the current mean; the elites' mean and unbiased standard deviation are the next
    Gaussian; the result is the last mean, which lies within the bounds, up to rounding, because the elites do. An
    environment's plan is a function of its cost, its start and its key: it is the same alone or in any batch, as long
    as the cost is. Nothing here waits for the device.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: The first Gaussian, and the bounds of all candidates.
        settings: Samples, elites and iterations.
        keys: Keys of the noise.

    Source: arXiv 2603.19312, section 4, and the released code.
    """
    mean, std = start.mean, start.std
    sample = sampler(start, settings.samples, settings.iterations, keys)
    history = []
    for iteration in range(settings.iterations):
        candidates = sample(iteration, mean, std)  # (B, S, H, A)
        costs = cost(candidates)  # (B, S)
        lowest, elites = costs.topk(settings.elites, dim=1, largest=False)
        std, mean = torch.std_mean(selected(candidates, elites), dim=1)
        history.append(lowest.mean(dim=1))
    return Plan(mean, cost(mean[:, None])[:, 0], torch.stack(history, dim=1))
