"""The rollout in Triton, for all candidates at once: the common part of the designs.

Shapes: B environments, S candidates, C = B S, L context length, H horizon in blocks, T = L - 1 + H, N new tokens of a
window, D latent width, W predictor width, M modulations, A action-block width, P past blocks, K inputs and O outputs of
a product.

A window that grows has one new token: keys and values of the others are kept. When a window slides, all its tokens have
new places, so all of them are computed again. Only the last token leaves the last layer.

Nothing waits for the device, and equal shapes make equal launches, so a CUDA graph can record them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.rollout.pack import Packed
from lewm_kernels.rollout.tiles import design_for
from lewm_kernels.rollout.torch import products_in


class Layers(Protocol):
    """The layers and the projector in one design, with the values that they keep of a window that grows.

    The module with the design's name makes it with `layers(packed, C)`.
    """

    def predict(
        self,
        x: Float32[Tensor, "N C W"],
        modulations: Float[Tensor, "N C M"],
        place: int,
        skip: Float32[Tensor, "1 C D"] | None,
        out: Float32[Tensor, "C D"],
    ) -> None:
        """Writes the latent after the last of N new tokens; `place` is the first one's place in the window.

        The skip, where there is one, is added to what the projector gives.
        """


def rollout(
    packed: Packed,
    latents: Float32[Tensor, "B L D"],
    candidates: Float32[Tensor, "B S H A"],
    history: Float32[Tensor, "B P A"] | None = None,
    design: str | None = None,
) -> Float32[Tensor, "B S H D"]:
    """Computes `lewm_kernels.rollout`."""
    B, S, H, _ = candidates.shape
    C, D = B * S, packed.latent
    L = min(latents.shape[1], packed.history)  # older latents are in no window
    blocks = candidates.permute(2, 0, 1, 3)  # (H, B, S, A)
    if history is not None and L > 1:
        past = history[:, 1 - L :].transpose(0, 1)[:, :, None]  # (L-1, B, 1, A)
        blocks = torch.cat([past.expand(-1, -1, S, -1), blocks])
    trajectory = latents.new_empty(L + H, C, D)
    trajectory[:L].view(L, B, S, D).copy_(latents[:, -L:].transpose(0, 1)[:, :, None])
    module = import_module(f"lewm_kernels.rollout.{design or design_for(C, packed)}")
    with torch.cuda.device_of(latents), products_in(packed.precision):  # Triton launches on the current device
        modulations = _modulations(packed, blocks.reshape(-1, C, packed.action_block))
        layers: Layers = module.layers(packed, C)
        for end in range(L, L + H):
            begin = max(0, end - packed.history)
            new = end - 1 if begin == 0 and end > L else begin
            x = _enter(packed, trajectory[new:end]) + packed.positions[new - begin : end - begin, None]
            skip = trajectory[end - 1 : end] if packed.residual else None
            layers.predict(x, modulations[new:end], new - begin, skip, trajectory[end])
    return trajectory[L:].transpose(0, 1).reshape(B, S, H, D)


def _modulations(packed: Packed, blocks: Float32[Tensor, "T C A"]) -> Float[Tensor, "T C M"]:
    """Every layer's modulations, without their bias."""
    condition = F.silu(_linear(blocks, packed.action_in_weight, packed.action_in_bias))
    condition = F.silu(_linear(condition, packed.condition_weight, packed.condition_bias))
    return _linear(condition, packed.modulation_weight)


def _enter(packed: Packed, latents: Float32[Tensor, "N C D"]) -> Float32[Tensor, "N C W"]:
    return latents if packed.input_weight is None else _linear(latents, packed.input_weight).float()


def _linear(
    x: Float[Tensor, "N C K"], weight: Float[Tensor, "O K"], bias: Float32[Tensor, " O"] | None = None
) -> Float[Tensor, "N C O"]:
    return F.linear(x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype))
