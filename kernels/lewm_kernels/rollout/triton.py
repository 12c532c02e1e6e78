"""The rollout in Triton: three launches a layer and one for the projector, for all candidates at once.

Shapes: B environments, S candidates, C = B S, L context length, H horizon in blocks, T = L - 1 + H, N new tokens of a
window, n those of them that go on, D latent width, W predictor width, M modulations, A action-block width, P past
blocks, G and g partial sums, K inputs and O outputs of a product.

A window that grows has one new token: queries, keys and values of the others are there. When it slides, all its tokens
have new places, and are new. Of the last layer only the last token goes on. Where no window has a second token,
attention is one product, and the second kernel is not needed.

Nothing waits for the device, and equal shapes make equal launches, so a CUDA graph can record them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.rollout import kernels
from lewm_kernels.rollout.pack import Packed
from lewm_kernels.rollout.tiles import Tile, attention_in_tile, attention_out_tile, columns, mlp_tile
from lewm_kernels.rollout.torch import matmul_precision

# With more, 128 rows would not fit the registers of a thread; with fewer, 16 rows would wait longer for memory.
_WARPS = 8


def rollout(
    packed: Packed,
    latents: Float32[Tensor, "B L D"],
    candidates: Float32[Tensor, "B S H A"],
    history: Float32[Tensor, "B P A"] | None = None,
) -> Float32[Tensor, "B S H D"]:
    """As `lewm_kernels.rollout`."""
    B, S, H, _ = candidates.shape
    C, D = B * S, packed.latent
    L = min(latents.shape[1], packed.history)  # older latents are in no window
    blocks = candidates.permute(2, 0, 1, 3)  # (H, B, S, A)
    if history is not None and L > 1:
        past = history[:, 1 - L :].transpose(0, 1)[:, :, None]  # (L-1, B, 1, A)
        blocks = torch.cat([past.expand(-1, -1, S, -1), blocks])
    modulations = _modulations(packed, blocks.reshape(-1, C, packed.action_block))
    trajectory = latents.new_empty(L + H, C, D)
    trajectory[:L].view(L, B, S, D).copy_(latents[:, -L:].transpose(0, 1)[:, :, None])
    if packed.history == 1:  # what a token takes from itself, ...
        attention = latents.new_empty(len(packed.layers), 1, C, packed.width)
    else:  # ... or queries, keys and values by place in the window
        attention = modulations.new_empty(len(packed.layers), packed.history, C, 3 * packed.inner)
    with torch.cuda.device_of(latents):  # Triton launches on the current device
        for end in range(L, L + H):
            begin = max(0, end - packed.history)
            new = end - 1 if begin == 0 and end > L else begin
            x = _enter(packed, trajectory[new:end]) + packed.positions[new - begin : end - begin, None]
            parts = _predict(packed, x, modulations[new:end], attention, new - begin)
            torch.sum(parts, dim=0, out=trajectory[end : end + 1])
    return trajectory[L:].transpose(0, 1).reshape(B, S, H, D)


def _modulations(packed: Packed, blocks: Float32[Tensor, "T C A"]) -> Float[Tensor, "T C M"]:
    """Every layer's modulations, without their bias."""
    condition = F.silu(_linear(packed, blocks, packed.action_in_weight, packed.action_in_bias))
    condition = F.silu(_linear(packed, condition, packed.condition_weight, packed.condition_bias))
    return _linear(packed, condition, packed.modulation_weight)


def _enter(packed: Packed, latents: Float32[Tensor, "N C D"]) -> Float32[Tensor, "N C W"]:
    return latents if packed.input_weight is None else _linear(packed, latents, packed.input_weight).float()


def _linear(
    packed: Packed, x: Float[Tensor, "N C K"], weight: Float[Tensor, "O K"], bias: Float32[Tensor, " O"] | None = None
) -> Float[Tensor, "N C O"]:
    with matmul_precision("high" if packed.precision == "tf32" else "highest"):
        return F.linear(x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype))


def _predict(
    packed: Packed,
    x: Float32[Tensor, "N C W"],
    modulations: Float[Tensor, "N C M"],
    attention: Float[Tensor, "layers history C O"],
    place: int,
) -> Float32[Tensor, "G 1 C D"]:
    """The latent after the last token, in parts. `place` in the window is the first token's."""
    parts = None
    last = len(packed.layers) - 1
    for i, layer in enumerate(packed.layers):
        asking = 1 if i == last else len(x)
        x, parts = _attend(packed, i, x, parts, modulations, attention[i], place, asking)
        modulations = modulations[-asking:]
        weights = layer.fc1_weight, layer.fc1_bias, layer.fc2_weight, layer.fc2_bias
        x, parts = _mlp(packed, x, parts, modulations, 6 * i + 2, weights, is_projector=False)
    assert parts is not None, "a predictor has layers"
    weights = packed.head_weight, packed.head_bias, packed.tail_weight, packed.tail_bias
    return _mlp(packed, x, parts, modulations, 6 * last + 5, weights, is_projector=True)[1]


def _attend(
    packed: Packed,
    i: int,
    x: Float32[Tensor, "N C W"],
    parts: Float32[Tensor, "G N C W"] | None,
    modulations: Float[Tensor, "N C M"],
    attention: Float[Tensor, "history C O"],
    place: int,
    asking: int,
) -> tuple[Float32[Tensor, "n C W"], Float32[Tensor, "g n C W"]]:
    """The last `asking` tokens with the branch before added, and the branch that layer i's attention makes of them."""
    layer, size = packed.layers[i], packed.modulation_weight.element_size()
    (N, C, W), outputs, is_alone = x.shape, attention.shape[-1], packed.history == 1
    updated = x if parts is None else torch.empty_like(x)
    tile = attention_in_tile(C, N, W, outputs, size)
    kernels.attention_in_kernel[_grid(C, N, tile)](
        x_ptr=x,
        parts_ptr=parts,
        modulations_ptr=modulations,
        modulation_bias_ptr=packed.modulation_bias,
        weight_ptr=layer.alone_weight if is_alone else layer.qkv_weight,
        bias_ptr=layer.alone_bias if is_alone else layer.qkv_bias,
        x_out_ptr=updated,
        y_ptr=attention,
        C=C,
        N=N,
        chunk=6 * i - 1,
        place=place,
        asking=asking,
        stride_modulations=modulations.stride(1),
        PARTS=0 if parts is None else len(parts),
        QUERIES=0 if is_alone else packed.inner,
        OUTPUTS=outputs,
        BLOCK_O=tile.step,
        **_options(packed, tile),
    )
    updated = updated[-asking:]
    if is_alone:
        return updated, attention[None]
    head_dim = packed.inner // packed.heads
    tile = attention_out_tile(C, asking, W, packed.heads, head_dim, size)
    branch = x.new_empty(tile.splits, asking, C, W)
    kernels.attention_out_kernel[_grid(C, asking, tile)](
        qkv_ptr=attention,
        weight_ptr=layer.out_weight,
        bias_ptr=layer.out_bias,
        parts_ptr=branch,
        C=C,
        N=asking,
        share=tile.share,
        place=place + N - asking,
        PLACES=place + N,
        HEADS=packed.heads,
        HEAD_DIM=head_dim,
        **_options(packed, tile),
    )
    return updated, branch


def _mlp(
    packed: Packed,
    x: Float32[Tensor, "N C W"],
    parts: Float32[Tensor, "G N C W"],
    modulations: Float[Tensor, "N C M"],
    chunk: int,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    *,
    is_projector: bool,
) -> tuple[Float32[Tensor, "N C W"], Float32[Tensor, "g N C O"]]:
    """x with the branch before added, whose gate is the modulation `chunk`, and the branch that the MLP makes of it."""
    fc1_weight, fc1_bias, fc2_weight, fc2_bias = weights
    (outputs, hidden), size = fc2_weight.shape, fc2_weight.element_size()
    N, C, W = x.shape
    updated = x if is_projector else torch.empty_like(x)
    tile = mlp_tile(C, N, W, hidden, size)
    branch = x.new_empty(tile.splits, N, C, outputs)
    kernels.mlp_kernel[_grid(C, N, tile)](
        x_ptr=x,
        parts_ptr=parts,
        modulations_ptr=modulations,
        modulation_bias_ptr=packed.modulation_bias,
        fc1_weight_ptr=fc1_weight,
        fc1_bias_ptr=fc1_bias,
        fc2_weight_ptr=fc2_weight,
        fc2_bias_ptr=fc2_bias,
        x_out_ptr=updated,
        y_ptr=branch,
        C=C,
        N=N,
        share=tile.share,
        chunk=chunk,
        stride_modulations=modulations.stride(1),
        PARTS=len(parts),
        IS_PROJECTOR=is_projector,
        HIDDEN=hidden,
        OUTPUTS=outputs,
        BLOCK_F=tile.step,
        BLOCK_O=columns(outputs, size),
        **_options(packed, tile),
    )
    return updated, branch


def _grid(C: int, N: int, tile: Tile) -> tuple[int]:
    return (-(-C // tile.rows) * N * tile.splits,)


def _options(packed: Packed, tile: Tile) -> dict[str, Any]:
    """What all three kernels are told."""
    return {
        "splits": tile.splits,
        "WIDTH": packed.width,
        "PRECISION": "tf32" if packed.precision == "tf32" else "ieee",
        "BLOCK_R": tile.rows,
        "BLOCK_W": columns(packed.width, packed.modulation_weight.element_size()),
        "num_warps": _WARPS,
        "num_stages": tile.stages,
        "enable_fp_fusion": True,
    }
