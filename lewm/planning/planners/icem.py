"""The improved cross-entropy method: similar noise in neighbouring steps, elites that are kept, and fewer samples.

B environments, S candidates, n candidates of an iteration, E elites, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import torch

from lewm.config import Icem
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners.cem import selected
from lewm.planning.planners.noise import coloured, drawn
from lewm_kernels import normal


def icem(cost: Cost, start: Start, settings: Icem, keys: Keys) -> Plan:
    """Refit a Gaussian over plans to its cheapest samples, with fewer samples each time; the best plan is the result.

    Noise is coloured along environment steps (`noise.coloured`). The cheapest elites of an iteration are candidates of
    the next one too, and the mean is a candidate of the first and of the last iteration. So the result costs no more
    than the start's mean, and no more than any plan that the search has seen while elites are kept. As in `cem`, an
    environment's plan is the same alone or in any batch, as long as the cost is, and nothing waits for the device.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: The first Gaussian, and the bounds of all candidates.
        settings: Samples of the first iteration, and how the search goes on.
        keys: Keys of the noise.

    Source: Pinneri et al., "Sample-efficient Cross-Entropy Method for Real-time Planning", arXiv 2008.06389.
    Differs: kept elites and the mean count among the samples, so that no iteration has more than S candidates; elites
        of the plan before are not kept, and the first mean, which may be a warm start, takes their place.
    """
    mean, std = start.mean, start.std
    if start.bounds is not None:
        mean = start.bounds.clamp(mean)
    B, H, A = mean.shape
    kept, history = mean[:, None], []
    sizes = settings.sizes
    for iteration, numbers in enumerate(drawn(normal, keys, len(sizes), sizes[0] * H * A)):
        if 0 < iteration == len(sizes) - 1:
            kept = torch.cat([kept, mean[:, None]], dim=1)
        new = sizes[iteration] - kept.shape[1]
        white = numbers[:, : new * H * A].reshape(B, new, H, A)
        candidates = mean[:, None] + std[:, None] * coloured(white, settings.noise, start.frameskip)
        if start.bounds is not None:
            candidates = start.bounds.clamp(candidates)
        candidates = torch.cat([kept, candidates], dim=1)  # (B, n, H, A)
        costs, order = cost(candidates).sort(dim=1, stable=True)
        new_std, new_mean = torch.std_mean(selected(candidates, order[:, : settings.elites]), dim=1)
        mean = settings.momentum * mean + (1 - settings.momentum) * new_mean
        std = settings.momentum * std + (1 - settings.momentum) * new_std
        kept = selected(candidates, order[:, : settings.kept])
        history.append(costs[:, : settings.elites].mean(dim=1))
    best = selected(candidates, order[:, :1])
    return Plan(best[:, 0], cost(best)[:, 0], torch.stack(history, dim=1))
