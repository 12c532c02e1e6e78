"""The vision transformer of the paper (ViT-Tiny, from scratch).

B frames, P patches, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import VitEncoder
from lewm.model.parts import Encoder

NORM_EPS = 1e-12  # released code


class Block(nn.Module):
    """Pre-norm attention and MLP, each with a residual."""

    def __init__(self, config: VitEncoder) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)

    def forward(self, x: Float[Tensor, "B P W"]) -> Float[Tensor, "B P W"]:
        """One layer."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B, heads, P, W / heads)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.mlp_norm(x))))


class VisionTransformer(Encoder):
    """Turns normalised frames into the CLS token of the last layer.

    Source: arXiv 2603.19312, section 3; sizes and initialisation of the released code. Frames of another size than
    `frame_size` are accepted: positions are interpolated (bicubic).
    """

    def __init__(self, config: VitEncoder, frame_size: int) -> None:
        super().__init__()
        self.width = config.width
        self.grid = frame_size // config.patch
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.grid**2, config.width))
        self.patch = nn.Conv2d(3, config.width, config.patch, config.patch)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        for tensor in (self.cls_token, self.positions):
            nn.init.trunc_normal_(tensor, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, with sides of at least one patch; remainders are cut off."""
        patches = self.patch(frames)  # (B, W, Y / patch, X / patch)
        rows, columns = patches.shape[-2:]
        x = torch.cat([self.cls_token.expand(len(frames), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        x = x + self._positions(rows, columns)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def _positions(self, rows: int, columns: int) -> Float[Tensor, "1 P W"]:
        if rows == columns == self.grid:
            return self.positions
        grid = self.positions[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
