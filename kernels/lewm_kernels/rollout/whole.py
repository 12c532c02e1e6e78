"""Layers for many rows: attention in one kernel and the MLP in another; programs do not share the work of a row.

Before attention comes a launch that adds the branch before, normalises and modulates, because a token needs the
operands of the tokens before it. All other values between the products of a layer never reach memory.

Shapes: C candidates of all environments, N new tokens of a window, n of them that go on, D latent width, W predictor
width, M modulations.
"""

from __future__ import annotations

from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.rollout import whole_kernels
from lewm_kernels.rollout.layerwise import enter
from lewm_kernels.rollout.mlp import mlp, of_layer, of_projector
from lewm_kernels.rollout.pack import Layer, Packed
from lewm_kernels.rollout.tiles import options, whole_attention_tile, whole_mlp_tile


def layers(packed: Packed, C: int) -> _Whole:
    """The layers for C candidates."""
    return _Whole(packed, C)


class _Whole:
    """Implements `lewm_kernels.rollout.triton.Layers`."""

    def __init__(self, packed: Packed, C: int) -> None:
        self.packed = packed
        self.operands = packed.modulation_weight.new_empty(len(packed.layers), packed.history, C, packed.width)

    def predict(
        self,
        x: Float32[Tensor, "N C W"],
        modulations: Float[Tensor, "N C M"],
        place: int,
        skip: Float32[Tensor, "1 C D"] | None,
        out: Float32[Tensor, "C D"],
    ) -> None:
        """Predicts the next latent: see `Layers.predict`."""
        packed, branch = self.packed, None
        last, end = len(packed.layers) - 1, place + len(x)
        for i, layer in enumerate(packed.layers):
            x = enter(packed, x, branch, None, modulations, 6 * i - 1, self.operands[i, place:end])
            asking = 1 if i == last else len(x)
            x, modulations = x[-asking:], modulations[-asking:]
            branch = self.operands.new_empty(1, *x.shape)
            for n, place_of_token in enumerate(range(end - asking, end)):
                self._attend(layer, self.operands[i], place_of_token, branch[0, n])
            weights = of_layer(layer)
            tile = whole_mlp_tile(len(weights.fc1_weight))
            made = self.operands.new_empty(1, *x.shape)
            x = mlp(packed, x, branch, modulations, 6 * i + 2, weights, made, tile, is_projector=False)
            branch = made
        assert branch is not None, "a predictor has layers"
        weights, y = of_projector(packed), out[None, None]
        tile = whole_mlp_tile(len(weights.fc1_weight))
        mlp(packed, x, branch, modulations, 6 * last + 5, weights, y, tile, is_projector=True, skip=skip)

    def _attend(
        self, layer: Layer, operands: Float[Tensor, "history C W"], place: int, y: Float[Tensor, "C W"]
    ) -> None:
        """Writes the branch of the tokens at `place`."""
        packed, C = self.packed, len(y)
        head_dim = packed.inner // packed.heads
        tile = whole_attention_tile(head_dim)
        whole_kernels.attention_kernel[tile.grid(C, 1)](
            operands_ptr=operands,
            alone_weight_ptr=layer.alone_weight,
            alone_bias_ptr=layer.alone_bias,
            qkv_weight_ptr=layer.qkv_weight,
            qkv_bias_ptr=layer.qkv_bias,
            out_weight_ptr=layer.out_weight,
            y_ptr=y,
            C=C,
            PLACE=place,
            HEADS=packed.heads,
            HEAD_DIM=head_dim,
            BLOCK_D=tile.step,
            **options(packed, tile),
        )
