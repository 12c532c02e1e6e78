"""DINOv2's vision transformer, whose normalised patch tokens are a map.

B frames, P patches, W width of a token, T tokens: the CLS token, registers, patches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import Dinov2Encoder
from lewm.model.parts import Encoder
from lewm.model.rows import at_least_min_rows

NORM_EPS = 1e-6  # released code
FIRST_SCALE = 1.0  # of every number, before training: the weights of a file replace it
MIN_FRAMES = 16  # fewer are rounded in other ways: see `lewm.model.rows`


class Block(nn.Module):
    """Pre-norm attention and MLP, each scaled number by number and added to its input."""

    def __init__(self, config: Dinov2Encoder) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_scale = nn.Parameter(torch.full((width,), FIRST_SCALE))
        self.mlp_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.fc1 = nn.Linear(width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, width)
        self.mlp_scale = nn.Parameter(torch.full((width,), FIRST_SCALE))

    def forward(self, x: Float[Tensor, "B T W"]) -> Float[Tensor, "B T W"]:
        """One layer."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B, heads, T, W / heads)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.attention_scale * self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp_scale * self.fc2(F.gelu(self.fc1(self.mlp_norm(x))))


class Dinov2(Encoder):
    """Turns normalised frames into the patch tokens after the last LayerNorm, flattened channel after channel.

    The CLS token and the registers take part in the attention, and are no part of the embedding. Frames of another size
    than that of the stored positions get positions that are interpolated bicubically, those of a model with registers
    with antialiasing.

    Source: Oquab et al., arXiv 2304.07193, and Darcet et al., arXiv 2309.16588, as the transformers package computes
    them (tests/lewm/test_dinov2.py).
    Differs: the released code interpolates the positions of a model without registers as if the frame were a tenth of a
    patch larger on each side.
    """

    def __init__(self, config: Dinov2Encoder, frame_size: int) -> None:
        super().__init__()
        self.width, self.grid, self.smooth = config.width_at(frame_size), config.grid, config.registers > 0
        width = config.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.registers = nn.Parameter(torch.empty(1, config.registers, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + config.grid**2, width))
        self.patch = nn.Conv2d(3, width, config.patch, config.patch)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        for tensor in (self.cls_token, self.registers, self.positions):
            nn.init.trunc_normal_(tensor, std=0.02)

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B D"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        return self._map(frames) if self.training else at_least_min_rows(self._map, frames, MIN_FRAMES)

    def _map(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B D"]:
        patches = self.patch(frames)  # (B, W, Y / patch, X / patch)
        beginning, positions = self._positions(patches.shape[-1])
        before = torch.cat([self.cls_token + beginning, self.registers], dim=1).expand(len(frames), -1, -1)
        x = torch.cat([before, patches.flatten(2).mT + positions], dim=1)  # (B, T, W)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, before.shape[1] :]).mT.flatten(1)

    def _positions(self, side: int) -> tuple[Float[Tensor, "1 1 W"], Float[Tensor, "1 P W"]]:
        """The position of the CLS token, and those of the patches of a frame with so many patches a side."""
        first, others = self.positions[:, :1], self.positions[:, 1:]
        if side == self.grid:
            return first, others
        grid = others.mT.unflatten(2, (self.grid, self.grid)).float()
        grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False, antialias=self.smooth)
        return first, grid.flatten(2).mT.to(others.dtype)
