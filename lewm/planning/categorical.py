"""The cross-entropy method where actions are choices, given as one-hot vectors.

B environments, S candidates, E elites, H horizon in blocks, A action-block width, I iterations, N one-hot vectors of a
block, n choices of the largest of these, C of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from lewm.config import Cem
from lewm.model.world_model import WorldModel
from lewm.planning.cem import Cost, Keys, Plan
from lewm_kernels import uniform
from lewm_kernels.candidates.torch import iterations_together

# Every refit counts this many elites that choose as the start does. Without them, choices that a few elites happen to
# lack are lost for good; from about one on, plans of 25 choices vary in too many places at once to settle.
SPREAD = 0.5


@dataclass(frozen=True, eq=False)
class OneHot:
    """What an action block of one-hot vectors consists of, and how probable each choice is at the start.

    Attributes:
        vector: Which vector of the block each number belongs to, from 0.
        columns: The numbers of each vector, the last of a smaller one repeated.
        probability: Of each choice.
        below: Of all choices before it in its vector.
        above: `below` with its own; 1 for the last of a vector.
        taken: What a 1 is when normalised.
        left: What a 0 is when normalised.
    """

    vector: Int64[Tensor, " A"]
    columns: Int64[Tensor, "N n"]
    probability: Float32[Tensor, " A"]
    below: Float32[Tensor, " A"]
    above: Float32[Tensor, " A"]
    taken: Float32[Tensor, " A"]
    left: Float32[Tensor, " A"]

    @classmethod
    def of(cls, model: WorldModel, groups: tuple[int, ...]) -> OneHot:
        """Choices are as probable as the training data have them, just as `cem` starts from the data's mean and spread.

        So a choice that the data never have is never planned: what the model predicts of it means nothing, and a search
        would find out where that looks best. Where a vector is 0 throughout the data, its choices are equally probable.

        Args:
            model: With its action statistics.
            groups: Sizes of the one-hot vectors of an environment step, one behind the other.

        Raises:
            LewmError: the checkpoint has no action statistics, or a standard deviation is 0.
        """
        frameskip, device = model.config.frameskip, model.device
        zeros = torch.zeros(model.config.action_block, device=device)
        starts = [_start(mean) for mean in model.action_mean.cpu().double().split(groups)]
        probability, below, above = (
            torch.cat(parts).repeat(frameskip).float().to(device) for parts in zip(*starts, strict=True)
        )
        sizes = torch.tensor(groups * frameskip)
        number = torch.arange(max(groups)).minimum(sizes[:, None] - 1)  # (N, n) within the vector
        return cls(
            vector=torch.arange(len(sizes)).repeat_interleave(sizes).to(device),
            columns=((sizes.cumsum(dim=0) - sizes)[:, None] + number).to(device),
            probability=probability,
            below=below,
            above=above,
            taken=model.normalize_actions(zeros + 1),
            left=model.normalize_actions(zeros),
        )

    def normalized(self, chosen: Bool[Tensor, "*batch A"]) -> Float32[Tensor, "*batch A"]:
        """Plans as the model takes them."""
        return torch.where(chosen, self.taken, self.left)

    def likeliest(self, weights: Float32[Tensor, "*batch A"]) -> Bool[Tensor, "*batch A"]:
        """The choice of the largest weight in each vector; of equal ones the first."""
        best = self.columns[:, 0] + weights[..., self.columns].argmax(dim=-1)  # (*batch, N)
        return torch.zeros_like(weights, dtype=torch.bool).scatter_(-1, best, True)


def categorical_cem(cost: Cost, one_hot: OneHot, config: Cem, keys: Keys) -> Plan:
    """Refit categorical distributions over plans to their cheapest samples, again and again.

    As `cem`, with a distribution for each one-hot vector, independent of the others. Candidate 0 of every iteration is
    the most probable plan; the choices of the elites, and a little of the start (`SPREAD`), are the next distributions;
    the result is the plan that is most probable at last. A choice that the start allows keeps some probability.

    Where there are fewer plans than samples, candidates repeat, and each counts. Of equal costs, those of lower number
    go first: the most probable plan, then samples in the order they were drawn in. Choices are counted in whole
    numbers, which no order of summation changes: an environment's plan is the same alone or in any batch, as long as
    the cost is. Nothing here waits for the device.

    Args:
        cost: Maps normalised candidates to their cost; called once an iteration, and once for the result.
        one_hot: What plans consist of, and the first distributions.
        config: Samples, elites, iterations and horizon.
        keys: Of the samples.

    Returns:
        The plan in environment units: each number is 0 or 1.

    Source: de Boer et al., "A Tutorial on the Cross-Entropy Method" (2005), for categorical distributions.
    """
    B, H, E = len(keys.episodes), config.horizon, config.elites
    weights, below, above = (
        start.expand(B, H, -1) for start in (one_hot.probability, one_hot.below, one_hot.above)
    )  # (B, H, A)
    spread = [SPREAD * start for start in (one_hot.probability, one_hot.below, one_hot.above)]
    earlier = E * one_hot.vector  # choices that the elites made in the vectors before
    history = []
    for draws in _draws(one_hot, config, keys):
        chosen = (draws >= below[:, None]) & (draws < above[:, None])  # (B, S, H, A)
        chosen[:, 0] = one_hot.likeliest(weights)
        costs, order = cost(one_hot.normalized(chosen)).sort(dim=1, stable=True)
        elites = order[:, :E, None, None].expand(-1, -1, *chosen.shape[2:])
        counts = chosen.gather(1, elites).sum(dim=1)  # (B, H, A)
        upto = counts.cumsum(dim=-1) - earlier
        weights = counts + spread[0]
        below, above = (upto - counts + spread[1]) / (E + SPREAD), (upto + spread[2]) / (E + SPREAD)
        history.append(costs[:, :E].mean(dim=1))
    plan = one_hot.likeliest(weights)
    return Plan(plan.float(), cost(one_hot.normalized(plan)[:, None])[:, 0], torch.stack(history, dim=1))


def _start(mean: Float64[Tensor, " C"]) -> tuple[Tensor, Tensor, Tensor]:
    """`probability`, `below` and `above` of one vector."""
    seen = mean.clamp(min=0)
    probability = seen / seen.sum() if seen.any() else torch.full_like(seen, 1 / len(seen))
    edges = torch.cat([seen.new_zeros(1), probability.cumsum(dim=0)])
    return probability, edges[:-1], edges[1:]


def _draws(one_hot: OneHot, config: Cem, keys: Keys) -> Iterator[Float32[Tensor, "B S H A"]]:
    """Uniform numbers of each iteration, the same for all of a vector.

    Those of several iterations are drawn at once while that is faster, which changes no number.
    """
    streams = keys.streams(config.iterations)  # (I, B, 3)
    shape = config.samples, config.horizon, len(one_hot.columns)
    count = config.samples * config.horizon * len(one_hot.columns)
    for some in streams.split(iterations_together(streams.device, streams.shape[1] * count)):
        drawn = uniform(keys.seed, some.flatten(0, 1), count).unflatten(1, shape)  # (some B, S, H, N)
        for draws in drawn.unflatten(0, (len(some), -1)):
            yield draws[..., one_hot.vector]
