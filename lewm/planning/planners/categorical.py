"""Searches where actions are choices, given as one-hot vectors: categorical distributions in the place of Gaussians.

B environments, S candidates, E elites, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from lewm.config import Cem, Mppi, Planner
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners.mppi import total, weights
from lewm.planning.planners.noise import drawn
from lewm_kernels import uniform

# Every refit counts so many additional elites, which choose as the start does. Without them, a choice that the few
# elites happen to lack is lost for good; with about one or more, plans of 25 choices vary in too many places to settle.
SPREAD = 0.5

VOTES = 2**16  # the sum of the weights of `categorical_mppi`, up to rounding

# Tells from costs and choices of candidates: the votes for each choice, all votes of a vector, a cost for the history.
Count = Callable[
    [Float[Tensor, "B S"], Bool[Tensor, "B S H A"]],
    tuple[Int64[Tensor, "B H A"], Int64[Tensor, "#B 1 1"], Float[Tensor, " B"]],
]


def categorical_cem(cost: Cost, start: Start, settings: Cem, keys: Keys) -> Plan:
    """Refit categorical distributions over plans to their cheapest samples, again and again.

    It works like `cem`, with a distribution for each one-hot vector, independent of the others. Candidate 0 of every
    iteration is the most probable plan. The next distributions are made of the choices of the elites and a little of
    the start (`SPREAD`), so a choice that the start allows keeps some probability. The result is the plan that is most
    probable at the end.

    Where there are fewer plans than samples, candidates repeat, and each counts. Among equal costs, candidates with
    lower numbers go first: the most probable plan, then samples in the order in which they were drawn. Choices are
    counted in whole numbers, which no order of summation changes: an environment's plan is the same alone or in any
    batch, as long as the cost is. Nothing here waits for the device.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: What plans consist of, the first distributions, and the most probable plan of the first.
        settings: Samples, elites and iterations.
        keys: Keys of the samples.

    Source: de Boer et al., "A Tutorial on the Cross-Entropy Method" (2005), for categorical distributions.
    """
    E = settings.elites
    every = keys.episodes.new_full((1, 1, 1), E)

    def elites(costs: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        costs, order = costs.sort(dim=1, stable=True)
        cheapest = order[:, :E, None, None].expand(-1, -1, *chosen.shape[2:])
        return chosen.gather(1, cheapest).sum(dim=1), every, costs[:, :E].mean(dim=1)

    return _search(cost, start, settings, keys, elites, SPREAD)


def categorical_mppi(cost: Cost, start: Start, settings: Mppi, keys: Keys) -> Plan:
    """Refit categorical distributions over plans to all their samples, weighted by `mppi.weights`, again and again.

    It works like `mppi`, just as `categorical_cem` works like `cem`. Weights are whole numbers that add up to `VOTES`.
    The square of `least_spread` is the share of the start in every distribution, so that the variance of a choice does
    not fall below that share of the first variance.

    Args:
        cost: Maps candidates to their cost; called once an iteration, and once for the result.
        start: What plans consist of, the first distributions, and the most probable plan of the first.
        settings: Samples, iterations, and how sharply to weigh.
        keys: Keys of the samples.
    """
    first = settings.least_spread**2 * VOTES

    def votes(costs: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = weights(costs, settings.temperature)
        votes = (share * (VOTES - first)).round().long()
        return (chosen * votes[:, :, None, None]).sum(dim=1), votes.sum(dim=1)[:, None, None], total(share * costs)

    return _search(cost, start, settings, keys, votes, first)


def _search(cost: Cost, start: Start, settings: Planner, keys: Keys, count: Count, first: float) -> Plan:
    """The search of both planners, which differ in how they `count` choices, and in how many votes the start has."""
    one_hot = start.one_hot
    assert one_hot is not None
    below, above = (edges.expand_as(start.mean) for edges in (one_hot.below, one_hot.above))  # (B, H, A)
    likeliest = one_hot.chosen(start.mean)
    history = []
    shape = settings.samples, start.mean.shape[1], len(one_hot.columns)
    for numbers in drawn(uniform, keys, settings.iterations, math.prod(shape)):
        draws = numbers.unflatten(1, shape)[..., one_hot.vector]  # the same number for all choices of a vector
        chosen = (draws >= below[:, None]) & (draws < above[:, None])  # (B, S, H, A)
        chosen[:, 0] = likeliest
        counts, every, mean = count(cost(one_hot.normalized(chosen)), chosen)
        upto = counts.cumsum(dim=-1) - every * one_hot.vector  # without the votes in earlier vectors
        likeliest = one_hot.likeliest(counts + first * one_hot.probability)
        below = (upto - counts + first * one_hot.below) / (every + first)
        above = (upto + first * one_hot.above) / (every + first)
        history.append(mean)
    plan = one_hot.normalized(likeliest)
    return Plan(plan, cost(plan[:, None])[:, 0], torch.stack(history, dim=1))
