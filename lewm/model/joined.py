"""Several encoders, whose embeddings are put side by side.

B frames, W sum of the widths of their embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lewm.model.parts import Encoder


class Joined(Encoder):
    """Turns each frame into the embeddings of all parts, one after the other in the order of the parts.

    Args:
        parts: The encoders; each may be trained or frozen.
    """

    def __init__(self, parts: Sequence[Encoder]) -> None:
        super().__init__()
        self.width = sum(part.width for part in parts)
        self.parts = nn.ModuleList(parts)

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        return torch.cat([part(frames) for part in self.parts], dim=1)
