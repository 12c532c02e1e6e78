"""The predictor over patches: a transformer whose tokens are the patches of frames, each joined with the action.

N sequences, T time in blocks, P patches of a frame, C numbers of a patch, D = C P latent width, A width of an embedded
action, W = C + A width of a token, F tokens of several frames, S places that are seen, R heads, E their width, B
environments, K candidates of each, H horizon in blocks, L context length, X = L - 1 past blocks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lewm.config import PatchesPredictor
from lewm.model.parts import Predictor

Seen = tuple[Tensor, Tensor]  # keys and values of the places seen so far, both (N, R, S, E)


class Layer(nn.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, config: PatchesPredictor, width: int) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads, self.dropout = config.heads, config.dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, width)

    def forward(
        self, x: Float[Tensor, "N F W"], seen: Seen | None = None, mask: Bool[Tensor, "F S"] | None = None
    ) -> tuple[Float[Tensor, "N F W"], Seen]:
        """One layer; also gives the keys and values of the tokens and of those before them.

        Args:
            x: The tokens.
            seen: Keys and values of the frames before them.
            mask: Which token (row) sees which place; each sees all when None.
        """
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # 3 x (N, R, F, E)
        if seen is not None:
            key, value = torch.cat([seen[0], key], dim=2), torch.cat([seen[1], value], dim=2)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        x = x + self._dropped(self.out(attended.transpose(1, 2).flatten(2)))
        hidden = self._dropped(F.gelu(self.fc1(self.mlp_norm(x))))
        return x + self._dropped(self.fc2(hidden)), (key, value)

    def _dropped(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return F.dropout(x, self.dropout, self.training)


class PatchTransformer(Predictor):
    """Predicts the patches of the next frame from those of the frames up to it, and from the actions.

    The embedded action is joined to every patch of its frame, and a position that is learnt for each patch of each
    frame in the window is added. A patch sees all patches of its frame and of the frames before it. What the last layer
    gives for a patch begins with the C numbers of the next frame's patch at that place.

    Source: Zhou et al., DINO-WM, arXiv 2411.04983, and its released code.
    Differs: there is no proprioception, which DINO-WM joins to the patches and predicts with them, where there is one:
    our models see frames alone.
    """

    def __init__(self, config: PatchesPredictor, latent: int) -> None:
        super().__init__()
        self.history, self.tokens = config.history, config.patches
        self.dropout = config.embedding_dropout
        self.channels = latent // config.patches
        width = self.channels + config.action_width
        self.positions = nn.Parameter(torch.randn(1, config.history, config.patches, width))
        self.layers = nn.ModuleList(Layer(config, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        frames = torch.arange(config.history).repeat_interleave(config.patches)
        self.register_buffer("mask", frames[:, None] >= frames, persistent=False)

    mask: Tensor

    def forward(self, latents: Float[Tensor, "N T D"], actions: Float[Tensor, "N T A"]) -> Float[Tensor, "N T D"]:
        """Predicts the following latent at each of T <= `history` steps; each step sees only the steps up to it."""
        steps = latents.shape[1]
        x = self._tokens(latents, actions, 0).flatten(1, 2)  # (N, T P, W)
        size = x.shape[1]
        mask = None if steps == 1 else self.mask[:size, :size]
        for layer in self.layers:
            x, _ = layer(x, mask=mask)
        return self._latents(x.unflatten(1, (steps, -1)))

    def rollout(
        self,
        latents: Float[Tensor, "B L D"],
        actions: Float[Tensor, "B K H A"],
        history: Float[Tensor, "B X A"] | None = None,
    ) -> Float[Tensor, "B K H D"]:
        """The latents after each block of the candidates, which equal those of `forward` called step by step.

        Frame after frame enters, and keys and values of those before it stay as they are until the window slides: then
        positions begin from 0 again, and all of the window enters once more. What candidates have in common, which is
        the context apart from its last action, is computed once for an environment.

        Args:
            latents: The context, oldest first.
            actions: Embedded blocks of the candidates, the first from the last latent of the context on.
            history: Embedded blocks between the latents of the context.
        """
        K, H = actions.shape[1:3]
        L, blocks = latents.shape[1], actions.flatten(0, 1)  # (N, H, A)
        # Latents and actions of all frames: a row for each environment, from the present one on for each candidate.
        frames: list[tuple[Tensor, Tensor]] = []
        if history is not None:
            frames += zip(latents.unbind(1), history.unbind(1), strict=False)
        frames.append((latents[:, -1].repeat_interleave(K, dim=0), blocks[:, 0]))
        begin = entered = max(0, L - self.history)
        seen: list[Seen] = []
        reached: list[Tensor] = []
        for step in range(H):
            end = L + step
            if end - self.history > begin:  # the window slides
                begin = entered = end - self.history
                seen = []
            for frame in range(entered, end):
                x, seen = self._enter(*frames[frame], frame - begin, seen)
            entered = end
            reached.append(self._latents(x[:, None])[:, 0])
            if step + 1 < H:
                frames.append((reached[-1], blocks[:, step + 1]))
        return torch.stack(reached, dim=1).unflatten(0, (-1, K))

    def _enter(
        self, latent: Float[Tensor, "N D"], action: Float[Tensor, "N A"], place: int, seen: list[Seen]
    ) -> tuple[Float[Tensor, "N P W"], list[Seen]]:
        """What the last layer gives for a frame at a place of the window, and what is seen from the next one on.

        Args:
            latent: The frame's latent.
            action: The embedded block from it on.
            place: Its place in the window, from 0.
            seen: What each layer has seen; empty where there is no frame before. Rows are repeated where there are
                more latents.
        """
        x = self._tokens(latent[:, None], action[:, None], place)[:, 0]
        after = []
        for i, layer in enumerate(self.layers):
            x, both = layer(x, _repeated(seen[i], len(latent)) if seen else None)
            after.append(both)
        return x, after

    def _tokens(
        self, latents: Float[Tensor, "N T D"], actions: Float[Tensor, "N T A"], place: int
    ) -> Float[Tensor, "N T P W"]:
        """The tokens of frames that stand in the window from `place` on."""
        patches = latents.unflatten(-1, (self.channels, self.tokens)).mT  # (N, T, P, C)
        joined = actions[:, :, None].expand(-1, -1, self.tokens, -1)
        x = torch.cat([patches, joined], dim=-1) + self.positions[:, place : place + latents.shape[1]]
        return F.dropout(x, self.dropout, self.training)

    def _latents(self, x: Float[Tensor, "N T P W"]) -> Float[Tensor, "N T D"]:
        """What the last layer gives as latents."""
        return self.norm(x)[..., : self.channels].mT.flatten(2)


def _repeated(seen: Seen, rows: int) -> Seen:
    """As many rows, in the order of the environments."""
    key, value = seen
    times = rows // len(key)
    return seen if times == 1 else (key.repeat_interleave(times, dim=0), value.repeat_interleave(times, dim=0))
