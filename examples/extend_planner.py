"""A planner of one's own: random shooting, which keeps the cheapest of plans drawn at random.

    lewm --import examples/extend_planner.py plan --planner shooting --samples 1000

B environments, S candidates, H horizon in blocks, A action-block width.
"""

from typing import Literal

import torch

from lewm.config import Planner
from lewm.config.limits import Candidates, Iterations
from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners import PLANNERS, Search
from lewm.planning.planners.cem import sampler


class Shooting(Planner):
    """Its settings: `--set planner.samples=...`, or the section [planning.planner] of a file."""

    kind: Literal["shooting"] = "shooting"
    samples: Candidates = 300
    iterations: Iterations = 30


def shooting(cost: Cost, start: Start, settings: Shooting, keys: Keys) -> Plan:
    """The cheapest of `samples` × `iterations` plans drawn from the start."""
    sample = sampler(start, settings.samples, settings.iterations, keys)
    best, least = start.mean, torch.full_like(start.mean[:, 0, 0], torch.inf)
    history = []
    for iteration in range(settings.iterations):
        candidates = sample(iteration, start.mean, start.std)  # (B, S, H, A)
        lowest, which = cost(candidates).min(dim=1)
        cheapest = candidates.take_along_dim(which[:, None, None, None], dim=1)[:, 0]  # (B, H, A)
        best = torch.where((lowest < least)[:, None, None], cheapest, best)
        least = least.minimum(lowest)
        history.append(least)
    return Plan(best, least, torch.stack(history, dim=1))


PLANNERS["shooting"] = Search(shooting)
