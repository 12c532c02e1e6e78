"""The convolutional network of IMPALA.

B frames, W width, C channels of a feature map, Y and X its sides.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import ImpalaEncoder
from lewm.model.parts import Encoder
from lewm.model.rows import at_least_min_rows


class Impala(Encoder):
    """Turns normalised frames into one vector each: stages that halve the frame, then a linear map.

    A stage is a convolution, a max-pool of stride 2, and residual blocks.

    Source: Espeholt et al., arXiv 1802.01561, figure 3, right.
    Differs: no LSTM, and no nonlinearity after the linear map. GroupNorm comes before every ReLU: it takes no
    statistics of the batch, so that a frame's embedding never depends on its batch.
    """

    def __init__(self, config: ImpalaEncoder, frame_size: int) -> None:
        super().__init__()
        self.width = config.width
        layers: list[nn.Module] = []
        channels = 3
        for out in config.channels:
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]
            layers += [Block(out) for _ in range(config.blocks)]
            channels = out
        side = frame_size // 2 ** len(config.channels)
        layers += [
            nn.GroupNorm(1, channels),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * side * side, config.width),
        ]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        return self.layers(frames) if self.training else at_least_min_rows(self.layers, frames)


class Block(nn.Module):
    """Two convolutions, each after GroupNorm and ReLU, added to what comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.GroupNorm(1, channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B C Y X"]:
        """One block."""
        return x + self.layers(x)
