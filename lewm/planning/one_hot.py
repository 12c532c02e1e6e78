"""Action blocks that consist of choices, given as one-hot vectors.

A action-block width, N one-hot vectors of a block, n choices of the largest vector, C choices of one vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from lewm.model.world_model import WorldModel


@dataclass(frozen=True, eq=False)
class OneHot:
    """What an action block of one-hot vectors consists of, and how probable each choice is at the start.

    Attributes:
        vector: Which vector of the block each number belongs to, from 0.
        columns: The numbers of the block that each vector has; in a smaller vector the last is repeated.
        probability: Probability of each choice.
        below: Probability of all choices before it in its vector.
        above: The sum of `below` and `probability`; exactly 1 for the last choice of a vector.
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
        """Choices are as probable as in the training data, just as numbers start from the data's mean and spread.

        So a choice that the data never have is never planned. What the model predicts of it means nothing, and a search
        would find where that looks best. Where a vector is 0 throughout the data, its choices are equally probable.

        Args:
            model: The world model, with action statistics.
            groups: Sizes of the one-hot vectors of an environment step, one after the other.

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
        """Choices as normalised blocks, which the model takes."""
        return torch.where(chosen, self.taken, self.left)

    def chosen(self, normalized: Float32[Tensor, "*batch A"]) -> Bool[Tensor, "*batch A"]:
        """The inverse of `normalized`."""
        return normalized == self.taken

    def likeliest(self, weights: Float32[Tensor, "*batch A"]) -> Bool[Tensor, "*batch A"]:
        """The choice with the largest weight in each vector; among equal ones the first."""
        best = self.columns[:, 0] + weights[..., self.columns].argmax(dim=-1)  # (*batch, N)
        return torch.zeros_like(weights, dtype=torch.bool).scatter_(-1, best, True)


def _start(mean: Float64[Tensor, " C"]) -> tuple[Tensor, Tensor, Tensor]:
    """`probability`, `below` and `above` of one vector."""
    seen = mean.clamp(min=0)
    probability = seen / seen.sum() if seen.any() else torch.full_like(seen, 1 / len(seen))
    edges = torch.cat([seen.new_zeros(1), probability.cumsum(dim=0)])
    return probability, edges[:-1], edges[1:]
