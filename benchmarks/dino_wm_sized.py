"""A world model of DINO-WM's size with random weights: the cost of planning over patch tokens.

It computes every window from its beginning, as DINO-WM does: it is the plain loop that benchmarks compare with, beside
the predictor of the recipe dino-wm, `lewm/model/patches.py`, which is what users run. Parts that take no time are left
out: the encoder's CLS token, its positions and its last LayerNorm.

B environments, S candidates, N = B S, T frames of a window, P patches, V width of a patch's latent, A action-block
width, C = V + 10 width of the predictor's tokens, Y and X the sides of a frame.

Source: Zhou et al., DINO-WM, arXiv 2411.04983, and its released configuration: patches of DINOv2's ViT-S/14, to each
of which the embedded proprioception and action are appended.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH, WIDTH, DEPTH, HEADS = 14, 384, 12, 6  # ViT-S/14
HISTORY, LAYERS, PREDICTOR_HEADS, HEAD_DIM, MLP = 3, 6, 16, 64, 2048
EXTRA = 10  # width of the embedded action, and of the embedded proprioception


class Layer(nn.Module):
    """Pre-norm attention and MLP, each with a residual."""

    def __init__(self, width: int, heads: int, head_dim: int, mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` is (N, tokens, width); `mask` says which token (row) sees which."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (N, heads, tokens, head_dim)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.mlp_norm(x))


class DinoWmSized(nn.Module):
    """Encoder, action embedding and predictor."""

    def __init__(self, frame_size: int, action_block: int) -> None:
        super().__init__()
        self.patches = (frame_size // PATCH) ** 2
        width = WIDTH + 2 * EXTRA
        self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.encoder = nn.ModuleList(Layer(WIDTH, HEADS, WIDTH // HEADS, 4 * WIDTH) for _ in range(DEPTH))
        self.action = nn.Linear(action_block, EXTRA)
        self.positions = nn.Parameter(torch.randn(HISTORY * self.patches, width))
        self.predictor = nn.ModuleList(Layer(width, PREDICTOR_HEADS, HEAD_DIM, MLP) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        frames = torch.arange(HISTORY).repeat_interleave(self.patches)
        self.register_buffer("mask", frames[:, None] >= frames)  # causal by frame

    def encode(self, frames: Tensor) -> Tensor:
        """Latents (B, P, V) of normalised frames (B, 3, Y, X); the proprioception is zero."""
        x = self.patch(frames).flatten(2).transpose(1, 2)  # (B, P, WIDTH)
        for layer in self.encoder:
            x = layer(x)
        return F.pad(x, (0, EXTRA))

    def rollout(self, latents: Tensor, candidates: Tensor) -> Tensor:
        """Latents (B, S, P, V) after the last block of `candidates` (B, S, H, A), from `latents` (B, P, V)."""
        B, S, H, _ = candidates.shape
        actions = self.action(candidates.flatten(0, 1))[:, :, None].expand(-1, -1, self.patches, -1)  # (N, H, P, EXTRA)
        trajectory = latents.repeat_interleave(S, dim=0)[:, None]  # (N, 1, P, V), grows by one a step
        for end in range(1, H + 1):
            window = slice(max(0, end - HISTORY), end)
            x = torch.cat([trajectory[:, window], actions[:, window]], dim=-1).flatten(1, 2)  # (N, T P, C)
            tokens = x.shape[1]
            x = x + self.positions[:tokens]
            for layer in self.predictor:
                x = layer(x, self.mask[:tokens, :tokens])
            predicted = self.norm(x)[:, None, -self.patches :, :-EXTRA]  # (N, 1, P, V)
            trajectory = torch.cat([trajectory, predicted], dim=1)
        return trajectory[:, -1].unflatten(0, (B, S))

    def cost(self, latents: Tensor, candidates: Tensor, goals: Tensor) -> Tensor:
        """Mean squared distance (B, S) of the last patches to those of `goals` (B, P, V)."""
        return (self.rollout(latents, candidates) - goals[:, None]).square().mean(dim=(2, 3))
