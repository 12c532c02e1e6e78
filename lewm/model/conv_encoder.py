"""A small convolutional encoder for CPUs.

B frames, W width, C channels of a feature map, Y and X its sides, P = 2 C.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import ConvEncoder
from lewm.model.parts import Encoder
from lewm.model.rows import at_least_min_rows


class ConvolutionalEncoder(Encoder):
    """Turns normalised frames into one vector each: strided convolutions, then a linear map.

    Where a thing is matters more to a planner than what it is. So the last feature map is flattened, not pooled. With
    keypoints, only their places in it are kept: a thing that moves then makes the embedding move as far.

    Source: the paper ablates a ResNet-18 encoder (94 % on Push-T, ViT-Tiny 96 %, arXiv 2603.19312). Keypoints come from
    Finn et al., "Deep Spatial Autoencoders for Visuomotor Learning" (2016).
    Differs: much smaller, and without batch statistics, so that a frame's embedding never depends on its batch.
    """

    def __init__(self, config: ConvEncoder, frame_size: int) -> None:
        super().__init__()
        self.width = config.width
        layers: list[nn.Module] = []
        channels = 3
        for i, out in enumerate(config.channels):
            kernel = 5 if i == 0 else 3
            layers += [nn.Conv2d(channels, out, kernel, stride=2, padding=kernel // 2), nn.GroupNorm(1, out), nn.SiLU()]
            channels = out
        side = frame_size // 2 ** len(config.channels)
        if config.keypoints is None:
            layers += [nn.Flatten(), nn.Linear(channels * side * side, config.width)]
        else:
            layers += [
                nn.Conv2d(channels, config.keypoints, 1),
                Places(side),
                nn.Linear(2 * config.keypoints, config.width),
            ]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        return self.layers(frames) if self.training else at_least_min_rows(self.layers, frames)


class Places(nn.Module):
    """The mean place of each channel of a feature map, weighted by the channel's softmax.

    Coordinates of a place that may be anywhere in the map have variance 1.

    Args:
        side: Side of the map.
    """

    along: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.register_buffer("along", torch.linspace(-(3**0.5), 3**0.5, side), persistent=False)

    def forward(self, maps: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B P"]:
        """The rows of all places, then their columns."""
        weights = maps.flatten(2).softmax(dim=-1).unflatten(2, maps.shape[2:])
        rows, columns = weights.sum(dim=3) * self.along, weights.sum(dim=2) * self.along
        return torch.cat([rows.sum(dim=2), columns.sum(dim=2)], dim=1)
