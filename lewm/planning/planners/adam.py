"""Gradient descent on plans.

B environments, S candidates, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import torch

from lewm.config import Adam
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners.cem import sampler, selected


def adam(cost: Cost, start: Start, settings: Adam, keys: Keys) -> Plan:
    """Descend from several plans at once with Adam; the plan that is cheapest at the end is the result.

    Candidate 0 begins at the start's mean, the others are drawn from its Gaussian. After each step they are clamped to
    the bounds. Candidates do not affect each other. As in `cem`, an environment's plan is the same alone or in any
    batch, as long as the cost and its gradient are.

    Args:
        cost: Maps candidates to their cost, with a gradient; called once an iteration, and once for the result.
        start: Where candidates begin, and the bounds of all candidates.
        settings: Candidates, iterations, and the learning rate.
        keys: Keys of the first candidates' noise.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", arXiv 1412.6980.
    """
    with torch.enable_grad():
        candidates = sampler(start, settings.samples, 1, keys)(0, start.mean, start.std).requires_grad_()
        optimizer = torch.optim.Adam([candidates], lr=settings.learning_rate)
        history = []
        for _ in range(settings.iterations):
            costs = cost(candidates)  # (B, S)
            (candidates.grad,) = torch.autograd.grad(costs.sum(), candidates)
            optimizer.step()
            if start.bounds is not None:
                candidates.data = start.bounds.clamp(candidates.data)
            history.append(costs.detach().amin(dim=1))
    with torch.no_grad():
        costs, order = cost(candidates).sort(dim=1, stable=True)
        return Plan(selected(candidates, order[:, :1])[:, 0], costs[:, 0], torch.stack(history, dim=1))
