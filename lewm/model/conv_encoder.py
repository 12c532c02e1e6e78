"""A small convolutional encoder for CPUs.

B frames, W width, C channels of a feature map, Y and X its sides, K keypoints, F features, P = K (2 + F).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import ConvEncoder
from lewm.model.parts import Encoder
from lewm.model.rows import at_least_min_rows

# Rows of a product are padded to a multiple of so many numbers, 64 bytes in float32. Else the frames of a batch begin
# at different alignments, and a frame's result is rounded according to its place in the batch (MKL).
ALIGNED = 16


class ConvolutionalEncoder(Encoder):
    """Turns normalised frames into one vector each: convolutions, then a linear map.

    Where a thing is matters more to a planner than what it is. So the last feature map is flattened, not pooled. With
    keypoints, only their places in it are kept: a thing that moves then makes the embedding move as far. The features
    there say what a place alone cannot, such as how the thing is turned.

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
            layers += _convolution(channels, out, 5 if i == 0 else 3, stride=2)
            channels = out
        layers += [Residual(channels, dilation) for dilation in config.dilations]
        side = frame_size // 2 ** len(config.channels)
        if config.keypoints is None:
            layers += [nn.Flatten(), nn.Linear(channels * side * side, config.width)]
        else:
            features = config.features or 0
            layers += [
                nn.Conv2d(channels, config.keypoints + features, 1),
                Keypoints(config.keypoints, side),
                nn.Linear(config.keypoints * (2 + features), config.width),
            ]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        return self.layers(frames) if self.training else at_least_min_rows(self.layers, frames)


class Residual(nn.Module):
    """A 3 x 3 convolution that is added to what comes in.

    Args:
        channels: C.
        dilation: How far apart the pixels are that it sees.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(channels, channels, 3, dilation=dilation))

    def forward(self, x: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B C Y X"]:
        """One block."""
        return x + self.layers(x)


class Keypoints(nn.Module):
    """The mean place of each keypoint, and the means of the features there, weighted by the softmax of its map.

    Coordinates of a place that may be anywhere in the map have variance 1.

    Args:
        count: K, of which the maps are the first channels; all further channels are features.
        side: Side of the map.
    """

    along: Tensor

    def __init__(self, count: int, side: int) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("along", torch.linspace(-(3**0.5), 3**0.5, side), persistent=False)

    def forward(self, maps: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B P"]:
        """The rows of all places, then their columns, then all features of one keypoint after the other."""
        weights = maps[:, : self.count].flatten(2).softmax(dim=-1)
        there = weights.unflatten(2, maps.shape[2:])
        rows, columns = there.sum(dim=3) * self.along, there.sum(dim=2) * self.along
        features = maps[:, self.count :].flatten(2).mT  # (B, Y X, F)
        padded = F.pad(features, (0, -features.shape[2] % ALIGNED))
        means = (weights @ padded)[..., : features.shape[2]]  # (B, K, F)
        return torch.cat([rows.sum(dim=2), columns.sum(dim=2), means.flatten(1)], dim=1)


def _convolution(channels: int, out: int, kernel: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, dilation=dilation)
    return [convolution, nn.GroupNorm(1, out), nn.SiLU()]
