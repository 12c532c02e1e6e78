"""EfficientNet-Lite0 up to its map of stride 16.

B frames, C channels of a map, Y and X its sides, W = 112 Y X of the last one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import EfficientnetEncoder
from lewm.model.parts import Encoder
from lewm.model.rows import at_least_min_rows

NORM_EPS = 1e-3  # released code
NORM_MOMENTUM = 0.01  # released code
STEM = 32  # channels
CPU_FRAMES = 32  # at a time on a CPU: the maps of hundreds do not stay in its cache
MIN_FRAMES = 16  # for fewer, PyTorch with one thread takes other code with other rounding: see `lewm.model.rows`


class Stage(NamedTuple):
    """Blocks of one size: the first has the stride and changes the number of channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# Table 1 of the paper up to stride 16.
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
)


class EfficientnetMap(Encoder):
    """Turns normalised frames into the map of stride 16, flattened as `Encoder` says: channel after channel.

    Source: Tan and Le, arXiv 1905.11946, table 1; the Lite variant of the released code has no squeeze-and-excitation
    and clips at 6 (ReLU6), and its first convolution has the width of the table in models of every size.
    Differs: no blocks are dropped while it trains; the map can be normalised.
    """

    def __init__(self, config: EfficientnetEncoder, frame_size: int) -> None:
        super().__init__()
        self.width, self.normalised = config.width_at(frame_size), config.normalised
        self.stem = Convolution(3, STEM, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM
        for stage in STAGES:
            for i in range(stage.blocks):
                blocks.append(Block(channels, stage, stage.stride if i == 0 else 1))
                channels = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        if self.training:
            return self._map(frames)
        pieces = frames.split(CPU_FRAMES) if frames.device.type == "cpu" else (frames,)
        return torch.cat([at_least_min_rows(self._map, piece, MIN_FRAMES) for piece in pieces])

    def _map(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        x = F.relu6(self.stem(frames), inplace=True)
        for block in self.blocks:
            x = block(x)
        if self.normalised:
            places = x.permute(0, 2, 3, 1)  # (B, Y, X, C)
            x = F.layer_norm(places, places.shape[-1:]).permute(0, 3, 1, 2)
        return x.flatten(1)


class Block(nn.Module):
    """Expansion, convolution of each channel by itself, projection; added to its input where the sizes are equal."""

    def __init__(self, channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = channels * stage.expansion
        self.adds = stride == 1 and channels == stage.channels
        self.expand = Convolution(channels, inner, 1) if stage.expansion > 1 else None
        self.depthwise = Convolution(inner, inner, stage.kernel, stride, groups=inner)
        self.project = Convolution(inner, stage.channels, 1)

    def forward(self, x: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B K U V"]:
        """One block."""
        inner = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out = self.project(F.relu6(self.depthwise(inner), inplace=True))
        return x + out if self.adds else out


class Convolution(nn.Module):
    """Convolution without bias, and BatchNorm. The sides are divided by the stride, which has to divide them."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        before, after = (kernel - stride) // 2, -(-(kernel - stride) // 2)
        self.more = (0, after - before) * 2  # after a side, where the two paddings differ
        self.weights = nn.Conv2d(channels, out, kernel, stride, before, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, x: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B K U V"]:
        """The result before the nonlinearity."""
        padded = F.pad(x, self.more) if any(self.more) else x  # without anything to add it would be copied
        norm, convolution = self.norm, self.weights
        if norm.training:
            return norm(convolution(padded))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        return F.conv2d(
            padded, weight, bias, convolution.stride, convolution.padding, convolution.dilation, convolution.groups
        )
