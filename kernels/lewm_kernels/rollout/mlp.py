"""The launch of the MLP kernel, which two designs use.

Shapes: C candidates of all environments, N tokens, D latent width, W predictor width, F hidden width, M modulations, G
and g partial sums, O outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.rollout import kernels
from lewm_kernels.rollout.pack import Layer, Packed
from lewm_kernels.rollout.tiles import Tile, columns, options


class Weights(NamedTuple):
    """Two Linear layers, with GELU between them."""

    fc1_weight: Float[Tensor, "F W"]
    fc1_bias: Float32[Tensor, " F"]
    fc2_weight: Float[Tensor, "O F"]
    fc2_bias: Float32[Tensor, " O"]


def of_layer(layer: Layer) -> Weights:
    """The MLP of a layer."""
    return Weights(layer.fc1_weight, layer.fc1_bias, layer.fc2_weight, layer.fc2_bias)


def of_projector(packed: Packed) -> Weights:
    """The projector behind the last layer."""
    return Weights(packed.head_weight, packed.head_bias, packed.tail_weight, packed.tail_bias)


def mlp(
    packed: Packed,
    x: Float32[Tensor, "N C W"],
    parts: Float[Tensor, "G N C W"],
    modulations: Float[Tensor, "N C M"],
    chunk: int,
    weights: Weights,
    y: Float[Tensor, "g N C O"],
    tile: Tile,
    *,
    is_projector: bool,
    skip: Float32[Tensor, "N C O"] | None = None,
) -> Float32[Tensor, "N C W"]:
    """Writes the MLP's branch into `y`; the result is x plus the branch before.

    The gate of the branch before is modulation `chunk`. The projector neither modulates nor keeps x. The first part of
    the branch contains the skip.
    """
    N, C, _ = x.shape
    outputs, hidden = weights.fc2_weight.shape
    updated = x if is_projector else torch.empty_like(x)
    kernels.mlp_kernel[tile.grid(C, N)](
        x_ptr=x,
        parts_ptr=parts,
        modulations_ptr=modulations,
        modulation_bias_ptr=packed.modulation_bias,
        fc1_weight_ptr=weights.fc1_weight,
        fc1_bias_ptr=weights.fc1_bias,
        fc2_weight_ptr=weights.fc2_weight,
        fc2_bias_ptr=weights.fc2_bias,
        skip_ptr=skip,
        x_out_ptr=updated,
        y_ptr=y,
        C=C,
        N=N,
        splits=tile.splits,
        steps=tile.share // tile.step,
        chunk=chunk,
        stride_modulations=modulations.stride(1),
        PARTS=len(parts),
        IS_PROJECTOR=is_projector,
        HIDDEN=hidden,
        OUTPUTS=outputs,
        BLOCK_F=tile.step,
        BLOCK_O=columns(outputs, weights.fc2_weight.element_size()),
        **options(packed, tile),
    )
    return updated
