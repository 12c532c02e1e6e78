"""The cross-entropy method, a function of a cost.

B environments, S candidates, E elites, H horizon in blocks, A action-block width, I iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.config import Cem
from lewm.model.actions import BlockBounds
from lewm_kernels.candidates import Sampler

Cost = Callable[[Float[Tensor, "B S H A"]], Float[Tensor, "B S"]]
# Candidates of an iteration, from the mean and the standard deviation that it has.
Sample = Callable[[int, Float[Tensor, "B H A"], Float[Tensor, "B H A"]], Float[Tensor, "B S H A"]]


@dataclass(frozen=True)
class Gaussian:
    """A distribution over plans, one an environment, independent over blocks and action dimensions.

    Attributes:
        bounds: Of normalised blocks. A planner looks at no plan outside them.
    """

    mean: Float[Tensor, "B H A"]
    std: Float[Tensor, "B H A"]
    bounds: BlockBounds | None = None

    @classmethod
    def standard(
        cls,
        environments: int,
        horizon: int,
        action_block: int,
        device: torch.device,
        bounds: BlockBounds | None = None,
    ) -> Gaussian:
        """Mean 0 and standard deviation 1: the actions of the training data, normalised. Source: released code."""
        shape = (environments, horizon, action_block)
        return cls(torch.zeros(shape, device=device), torch.ones(shape, device=device), bounds)


@dataclass(frozen=True)
class Keys:
    """What the candidates' noise is a function of, together with the iteration: nothing else enters.

    Attributes:
        seed: 64 bits.
        episodes: A number for each environment.
        replan: How many plans the episodes have had; a tensor where a CUDA graph is to be replayed with another number.
    """

    seed: int
    episodes: Int64[Tensor, " B"]
    replan: int | Int64[Tensor, ""]

    def streams(self, iterations: int) -> Int64[Tensor, "I B 3"]:
        """One random stream an iteration and environment, made without waiting for the device."""
        streams = self.episodes.new_empty(iterations, len(self.episodes), 3)
        streams[..., 0] = self.episodes
        streams[..., 1] = self.replan
        streams[..., 2] = torch.arange(iterations, device=streams.device)[:, None]
        return streams


@dataclass(frozen=True)
class Plan:
    """What a planner returns.

    Attributes:
        actions: Of `cem` the last mean, normalised blocks; of `categorical_cem` one-hot blocks in environment units.
        cost: Cost of `actions`.
        history: Mean cost of the elites at each iteration.
    """

    actions: Float[Tensor, "B H A"]
    cost: Float[Tensor, " B"]
    history: Float[Tensor, "B I"]


def sampler(start: Gaussian, config: Cem, keys: Keys) -> Sample:
    """What a planner draws its candidates from: Gaussian, then clamped to the bounds of the start."""
    draw, bounds = Sampler(keys.seed, keys.streams(config.iterations), config.samples), start.bounds
    if bounds is None:
        return draw
    # The candidates are read and written once more, 8 B S H A bytes, which is little beside what their costs take.
    return lambda iteration, mean, std: bounds.clamp(draw(iteration, mean, std))


def cem(cost: Cost, start: Gaussian, config: Cem, keys: Keys) -> Plan:
    """Refit a Gaussian over plans to its cheapest samples, again and again.

    Candidate 0 of every iteration is the current mean; the elites' mean and unbiased standard deviation are the next
    Gaussian; the result is the last mean, which lies within the bounds because the elites do, but for rounding. An
    environment's plan is a function of its cost, its start and its key: the same alone or in any batch, as long as the
    cost is. Nothing here waits for the device.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: The first Gaussian, and the bounds of all.
        config: Samples, elites and iterations.
        keys: Of the noise.

    Source: arXiv 2603.19312, section 4, and the released code.
    """
    mean, std = start.mean, start.std
    _, H, A = mean.shape
    sample = sampler(start, config, keys)
    history = []
    for iteration in range(config.iterations):
        candidates = sample(iteration, mean, std)  # (B, S, H, A)
        costs = cost(candidates)  # (B, S)
        lowest, elites = costs.topk(config.elites, dim=1, largest=False)
        # in the order of their indices, so that rounding in the costs cannot reorder the sums below
        elites = elites.sort(dim=1).values[:, :, None, None].expand(-1, -1, H, A)
        best = candidates.gather(1, elites)  # (B, E, H, A)
        std, mean = torch.std_mean(best, dim=1)
        history.append(lowest.mean(dim=1))
    return Plan(mean, cost(mean[:, None])[:, 0], torch.stack(history, dim=1))
