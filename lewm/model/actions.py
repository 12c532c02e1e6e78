"""Action blocks in environment units and as the predictor takes them.

A action-block width.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class BlockStatistics:
    """What makes z-scores of action blocks and the other way round. Nothing here waits for the device.

    Attributes:
        mean: The mean of each number of a block in the training data.
        std: Likewise the standard deviation, above 0.
    """

    mean: Float[Tensor, " A"]
    std: Float[Tensor, " A"]

    def normalize(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Action blocks in environment units to z-scores."""
        return (blocks - self.mean) / self.std

    def denormalize(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The inverse of `normalize`."""
        return blocks * self.std + self.mean
