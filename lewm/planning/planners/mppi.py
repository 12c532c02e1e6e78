"""Model predictive path integral control: a candidate counts the more, the cheaper it is.

B environments, S candidates, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lewm.config import Mppi
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners.cem import sampler


def mppi(cost: Cost, start: Start, settings: Mppi, keys: Keys) -> Plan:
    """Refit a Gaussian over plans to all its samples, weighted by `weights`, again and again.

    Candidate 0 of every iteration is the current mean; the weighted mean and standard deviation are the next Gaussian;
    the result is the last mean, which lies within the bounds, up to rounding, because the candidates do. As in `cem`,
    an environment's plan is the same alone or in any batch, as long as the cost is, and nothing waits for the device.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: The first Gaussian, and the bounds of all candidates.
        settings: Samples, iterations, and how sharply to weigh.
        keys: Keys of the noise.

    Source: Williams et al., "Information theoretic MPC for model-based reinforcement learning" (2017); the refit of the
        standard deviation from Hansen et al., "Temporal difference learning for model predictive control" (TD-MPC),
        arXiv 2203.04955.
    Differs: weights have no term for the effort of control, and their temperature has a unit, see `weights`.
    """
    mean, std = start.mean, start.std
    sample = sampler(start, settings.samples, settings.iterations, keys)
    history = []
    for iteration in range(settings.iterations):
        candidates = sample(iteration, mean, std)  # (B, S, H, A)
        costs = cost(candidates)
        share = weights(costs, settings.temperature)
        history.append(total(share * costs))
        share = share[:, :, None, None]
        mean = total(share * candidates)
        std = total(share * (candidates - mean[:, None]).square()).sqrt()
        std = std.maximum(settings.least_spread * start.std).minimum(start.std)
    return Plan(mean, cost(mean[:, None])[:, 0], torch.stack(history, dim=1))


def weights(costs: Float[Tensor, "B S"], temperature: float) -> Float[Tensor, "B S"]:
    """How much each candidate counts: softmax of −cost / temperature, for each environment; they add up to 1.

    The unit of the temperature is the mean cost of the candidates less the least cost. So weights do not change where
    costs are scaled or shifted, and one temperature serves latents of any scale, near a goal and far away.
    """
    excess = costs - costs.amin(dim=1, keepdim=True)
    unit = total(excess)[:, None] / costs.shape[1]
    smallest = torch.finfo(unit.dtype).tiny  # the unit where all cost the same
    return (-excess / (temperature * unit).clamp(min=smallest)).softmax(dim=1)


def total(parts: Float[Tensor, "B S ..."]) -> Float[Tensor, "B ..."]:
    """The sum over candidates, in an order that no batch changes: halves are added until one is left."""
    while parts.shape[1] > 1:
        half = parts.shape[1] // 2
        parts = torch.cat([parts[:, :half] + parts[:, half : 2 * half], parts[:, 2 * half :]], dim=1)
    return parts[:, 0]
