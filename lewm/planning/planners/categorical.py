"""The cross-entropy method where actions are choices, given as one-hot vectors.

B environments, S candidates, E elites, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import math

import torch

from lewm.config import Cem
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners.noise import drawn
from lewm_kernels import uniform

# Every refit counts this many elites that choose as the start does. Without them, choices that a few elites happen to
# lack are lost for good; from about one on, plans of 25 choices vary in too many places at once to settle.
SPREAD = 0.5


def categorical_cem(cost: Cost, start: Start, settings: Cem, keys: Keys) -> Plan:
    """Refit categorical distributions over plans to their cheapest samples, again and again.

    As `cem`, with a distribution for each one-hot vector, independent of the others. Candidate 0 of every iteration is
    the most probable plan; the choices of the elites, and a little of the start (`SPREAD`), are the next distributions;
    the result is the plan that is most probable at last. A choice that the start allows keeps some probability.

    Where there are fewer plans than samples, candidates repeat, and each counts. Of equal costs, those of lower number
    go first: the most probable plan, then samples in the order they were drawn in. Choices are counted in whole
    numbers, which no order of summation changes: an environment's plan is the same alone or in any batch, as long as
    the cost is. Nothing here waits for the device.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: What plans consist of, the first distributions, and the most probable plan of the first.
        settings: Samples, elites and iterations.
        keys: Of the samples.

    Source: de Boer et al., "A Tutorial on the Cross-Entropy Method" (2005), for categorical distributions.
    """
    one_hot, E = start.one_hot, settings.elites
    assert one_hot is not None
    below, above = (edges.expand_as(start.mean) for edges in (one_hot.below, one_hot.above))  # (B, H, A)
    likeliest = one_hot.chosen(start.mean)
    spread = [SPREAD * part for part in (one_hot.probability, one_hot.below, one_hot.above)]
    earlier = E * one_hot.vector  # choices that the elites made in the vectors before
    history = []
    shape = settings.samples, start.mean.shape[1], len(one_hot.columns)
    for numbers in drawn(uniform, keys, settings.iterations, math.prod(shape)):
        draws = numbers.unflatten(1, shape)[..., one_hot.vector]  # the same for all of a vector
        chosen = (draws >= below[:, None]) & (draws < above[:, None])  # (B, S, H, A)
        chosen[:, 0] = likeliest
        costs, order = cost(one_hot.normalized(chosen)).sort(dim=1, stable=True)
        elites = order[:, :E, None, None].expand(-1, -1, *chosen.shape[2:])
        counts = chosen.gather(1, elites).sum(dim=1)  # (B, H, A)
        upto = counts.cumsum(dim=-1) - earlier
        likeliest = one_hot.likeliest(counts + spread[0])
        below, above = (upto - counts + spread[1]) / (E + SPREAD), (upto + spread[2]) / (E + SPREAD)
        history.append(costs[:, :E].mean(dim=1))
    plan = one_hot.normalized(likeliest)
    return Plan(plan, cost(plan[:, None])[:, 0], torch.stack(history, dim=1))
