"""The predictor: a causal transformer over latents whose every layer is modulated by the actions (AdaLN-zero).

N sequences, T time in blocks, D latent width, W predictor width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lewm.config import AdalnPredictor
from lewm.model.parts import Predictor

MODULATION_EPS = 1e-6  # released code


class Block(nn.Module):
    """x += gate · attention(modulate(LN(x))), then the same with an MLP; six modulation values from the action."""

    def __init__(self, config: AdalnPredictor) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, config.width)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)
        self.modulation = nn.Linear(config.width, 6 * config.width)
        nn.init.zeros_(self.modulation.weight)  # the "zero" of AdaLN-zero: every layer starts as the identity
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Float[Tensor, "N T W"], condition: Float[Tensor, "N T W"]) -> Float[Tensor, "N T W"]:
        """One layer. The six values as released: shift, scale and gate of the attention, then those of the MLP."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(condition).chunk(6, dim=-1)
        x = x + gate * self._attention(_modulate(x, shift, scale))
        return x + mlp_gate * self._mlp(_modulate(x, mlp_shift, mlp_scale))

    def _attention(self, x: Float[Tensor, "N T W"]) -> Float[Tensor, "N T W"]:
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        dropout = self.dropout if self.training else 0.0
        if x.shape[1] == 1 and not dropout:  # a single token attends to itself
            attended = qkv[:, :, 2]
        else:
            query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (N, heads, T, head_dim)
            attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
            attended = attended.transpose(1, 2)
        return F.dropout(self.out(attended.flatten(2)), self.dropout, self.training)

    def _mlp(self, x: Float[Tensor, "N T W"]) -> Float[Tensor, "N T W"]:
        hidden = F.dropout(F.gelu(self.fc1(self.mlp_norm(x))), self.dropout, self.training)
        return F.dropout(self.fc2(hidden), self.dropout, self.training)


class AdalnTransformer(Predictor):
    """Turns latents and embedded actions into the next latents (before their projector).

    The rollout operator reads its tensors by their names.

    Source: arXiv 2603.19312, section 3; every detail is that of the released code.
    """

    def __init__(self, config: AdalnPredictor, latent: int) -> None:
        super().__init__()
        width = config.width
        self.history, self.heads = config.history, config.heads
        self.dropout = config.embedding_dropout
        self.positions = nn.Parameter(torch.randn(1, config.history, latent))
        self.input = nn.Linear(latent, width) if latent != width else nn.Identity()
        self.condition = nn.Linear(latent, width) if latent != width else nn.Identity()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, latent) if latent != width else nn.Identity()

    def forward(self, latents: Float[Tensor, "N T D"], actions: Float[Tensor, "N T D"]) -> Float[Tensor, "N T D"]:
        """Predicts the following latent at each of T <= `history` steps; each step sees only the steps up to it."""
        condition = F.silu(self.condition(actions))
        x = latents + self.positions[:, : latents.shape[1]]
        x = self.input(F.dropout(x, self.dropout, self.training))
        for block in self.blocks:
            x = block(x, condition)
        return self.output(self.norm(x))


class ResidualTransformer(AdalnTransformer):
    """The same transformer, whose projector gives the change from each latent to the next one."""

    residual = True


def _modulate(
    x: Float[Tensor, "N T W"], shift: Float[Tensor, "N T W"], scale: Float[Tensor, "N T W"]
) -> Float[Tensor, "N T W"]:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=MODULATION_EPS), 1 + scale)
