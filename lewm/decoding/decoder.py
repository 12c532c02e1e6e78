"""A decoder from latents to pictures, which are only looked at: nothing of it flows back into the world model.

N latents, D their width, W the decoder's width, Q queries, K memory tokens, Y and X the sides of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

CHUNK = 256  # latents decoded together
LEAST_STD = 1e-6  # a latent dimension that varies less is constant


@dataclass(frozen=True)
class DecoderSettings:
    """Every number of the decoder and its training."""

    grid: int = 8  # queries a side, whatever the frame's size: at 64 pixels each draws 8 x 8
    longest_side: int = 128  # pixels; larger frames are shown smaller: enough to see, at half the time of 224
    memory: int = 8  # tokens that the queries look at; half as many leave 1.5 times the error on Two-Room
    memory_hidden: int = 256  # width of the layer before them, which unfolds the latent: a quarter less error
    width: int = 64  # twice as wide leaves a tenth less error and takes twice the time
    depth: int = 2
    heads: int = 4
    mlp: int = 128
    frames: int = 8192  # at most so many frames of the training episodes
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 2e-3  # rises over the warm-up, falls to 0 by a cosine
    warmup: int = 50  # steps
    weight_decay: float = 1e-3
    gradient_clip: float = 1.0
    seed: int = 0  # seed of the choice of frames, the first weights and the batches


class _Block(nn.Module):
    """Pre-norm cross-attention and MLP, each with a residual.

    Queries do not look at each other: that doubles the time and leaves more error after the same steps.
    """

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, settings.mlp), nn.GELU(), nn.Linear(settings.mlp, width)
        )

    def forward(self, x: Float[Tensor, "N Q W"], memory: Float[Tensor, "N K W"]) -> Float[Tensor, "N Q W"]:
        query = self.query(self.attention_norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)  # (N, heads, Q, W / heads)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Decoder(nn.Module):
    """Learnt queries, one a patch, look at a latent through a few memory tokens and draw what differs from the mean.

    Attributes:
        settings: Its sizes.
        latent: D.
        frame_size: Y and X.
        latent_mean, latent_std: Mean and standard deviation of the latents it was trained on, (D,).
        mean_image: Mean of the frames it was trained on, (Y, X, 3) in [0, 1].
    """

    latent_mean: Tensor
    latent_std: Tensor
    mean_image: Tensor

    def __init__(self, latent: int, frame_size: tuple[int, int], settings: DecoderSettings) -> None:
        super().__init__()
        self.latent, self.frame_size, self.settings = latent, frame_size, settings
        self.patch = (-(-frame_size[0] // settings.grid), -(-frame_size[1] // settings.grid))  # the last may be cut
        self.memory = nn.Sequential(
            nn.Linear(latent, settings.memory_hidden),
            nn.GELU(),
            nn.Linear(settings.memory_hidden, settings.memory * settings.width),
            nn.Unflatten(-1, (settings.memory, settings.width)),
            nn.LayerNorm(settings.width),
        )
        self.queries = nn.Parameter(torch.empty(settings.grid**2, settings.width))
        self.blocks = nn.ModuleList(_Block(settings) for _ in range(settings.depth))
        self.head = nn.Sequential(
            nn.LayerNorm(settings.width), nn.Linear(settings.width, 3 * self.patch[0] * self.patch[1])
        )
        nn.init.normal_(self.queries, std=0.02)
        for parameter in self.head[1].parameters():  # the decoder begins as the mean image
            nn.init.zeros_(parameter)
        self.register_buffer("latent_mean", torch.zeros(latent))
        self.register_buffer("latent_std", torch.ones(latent))
        self.register_buffer("mean_image", torch.zeros(*frame_size, 3))

    def fit_statistics(self, latents: Float[Tensor, "N D"], frames: UInt8[Tensor, "N Y X 3"]) -> None:
        """Take the means and the standard deviation from what it will be trained on."""
        self.latent_mean.copy_(latents.mean(dim=0))
        self.latent_std.copy_(latents.std(dim=0).clamp_min(LEAST_STD))
        self.mean_image.copy_(torch.stack([chunk.float().sum(dim=0) for chunk in frames.split(CHUNK)]).sum(dim=0))
        self.mean_image /= 255 * len(frames)

    def draw(self, latents: Float[Tensor, "N D"]) -> Float[Tensor, "N Y X 3"]:
        """Pixels before they are clipped to [0, 1], so that a pixel outside still has a gradient in training."""
        memory = self.memory((latents - self.latent_mean) / self.latent_std)  # (N, K, W)
        x = self.queries.expand(len(latents), -1, -1)
        for block in self.blocks:
            x = block(x, memory)
        grid = self.settings.grid
        patches = self.head(x).unflatten(-1, (*self.patch, 3)).unflatten(1, (grid, grid))
        picture = patches.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (N, grid * patch, grid * patch, 3)
        return self.mean_image + picture[:, : self.frame_size[0], : self.frame_size[1]]

    def forward(self, latents: Float[Tensor, "N D"]) -> Float[Tensor, "N Y X 3"]:
        """Pixels in [0, 1]."""
        return self.draw(latents).clamp(0, 1)

    @torch.inference_mode()
    def frames(self, latents: Float[Tensor, "N D"]) -> UInt8[np.ndarray, "N Y X 3"]:
        """Frames to show, any number of them; the latents may lie on any device."""
        chunks = [self(chunk.to(self.mean_image.device)) for chunk in latents.split(CHUNK)]
        return (torch.cat(chunks) * 255).round().to(torch.uint8).cpu().numpy()
