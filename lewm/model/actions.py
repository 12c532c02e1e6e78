"""Action blocks in environment units and as z-scores, which the predictor takes; their bounds and their embedding.

A action-block width, E width of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import ActionEmbedder as ActionEmbedderConfig


@dataclass(frozen=True, eq=False)
class BlockStatistics:
    """Turns action blocks into z-scores, and z-scores into action blocks. Nothing here waits for the device.

    Attributes:
        mean: The mean of each number of a block in the training data.
        std: The standard deviation of each number there, above 0.
    """

    mean: Float[Tensor, " A"]
    std: Float[Tensor, " A"]

    def normalize(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Turns action blocks in environment units into z-scores."""
        return (blocks - self.mean) / self.std

    def denormalize(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The inverse of `normalize`."""
        return blocks * self.std + self.mean


@dataclass(frozen=True, eq=False)
class BlockBounds:
    """The values between which the numbers of a block can lie. Nothing here waits for the device.

    Attributes:
        low: The least value of each number; -inf where there is none.
        high: The greatest value of each number, not below `low`; inf where there is none.
    """

    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]

    def clamp(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The nearest blocks within the bounds."""
        return blocks.clamp(self.low, self.high)

    def normalized(self, statistics: BlockStatistics) -> BlockBounds:
        """These bounds, which are in environment units, as bounds of z-scores."""
        return BlockBounds(statistics.normalize(self.low), statistics.normalize(self.high))


class ActionEmbedder(nn.Module):
    """Turns normalised action blocks into embeddings of the width that the predictor takes.

    Source: the released code (the paper does not describe it); its width-1 convolution is written as a Linear.

    Args:
        config: Its sizes; without a hidden width it is the first map alone.
        action_block: A.
        width: E.
    """

    def __init__(self, config: ActionEmbedderConfig, action_block: int, width: int) -> None:
        super().__init__()
        self.bottleneck = nn.Linear(action_block, config.bottleneck)
        if config.hidden is not None:
            self.hidden = nn.Linear(config.bottleneck, config.hidden)
            self.out = nn.Linear(config.hidden, width)
        self.single = config.hidden is None

    def forward(self, actions: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch E"]:
        """Embeds each block by itself."""
        first = self.bottleneck(actions)
        return first if self.single else self.out(F.silu(self.hidden(first)))
