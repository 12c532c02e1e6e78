"""Layers for few rows: programs share heads and hidden units, and the next kernel adds up their partial sums.

A layer takes three launches, and the projector one. Where no window has a second token, attention is one product, and
the second kernel is not needed.

Shapes: C candidates of all environments, N new tokens of a window, n of them that go on, D latent width, W predictor
width, M modulations, G and g partial sums, O outputs of a product.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.rollout import kernels
from lewm_kernels.rollout.mlp import Weights, mlp, of_layer, of_projector
from lewm_kernels.rollout.pack import Packed
from lewm_kernels.rollout.tiles import attention_in_tile, attention_out_tile, mlp_tile, options


def layers(packed: Packed, C: int) -> _Split:
    """The layers for C candidates."""
    return _Split(packed, C)


class _Split:
    """Implements `lewm_kernels.rollout.triton.Layers`."""

    def __init__(self, packed: Packed, C: int) -> None:
        self.packed, weights = packed, packed.modulation_weight
        if packed.history == 1:  # the attention of a token to itself alone
            self.attention = packed.positions.new_empty(len(packed.layers), 1, C, packed.width)
        else:  # queries, keys and values by place in the window
            self.attention = weights.new_empty(len(packed.layers), packed.history, C, 3 * packed.inner)

    def predict(
        self,
        x: Float32[Tensor, "N C W"],
        modulations: Float[Tensor, "N C M"],
        place: int,
        skip: Float32[Tensor, "1 C D"] | None,
        out: Float32[Tensor, "C D"],
    ) -> None:
        """Predicts the next latent: see `Layers.predict`."""
        packed, parts = self.packed, None
        last = len(packed.layers) - 1
        for i, layer in enumerate(packed.layers):
            asking = 1 if i == last else len(x)
            x, parts = self._attend(i, x, parts, modulations, place, asking)
            modulations = modulations[-asking:]
            x, parts = self._mlp(x, parts, modulations, 6 * i + 2, of_layer(layer), is_projector=False)
        assert parts is not None, "a predictor has layers"
        _, parts = self._mlp(x, parts, modulations, 6 * last + 5, of_projector(packed), is_projector=True, skip=skip)
        torch.sum(parts, dim=0, out=out[None])

    def _attend(
        self,
        i: int,
        x: Float32[Tensor, "N C W"],
        parts: Float32[Tensor, "G N C W"] | None,
        modulations: Float[Tensor, "N C M"],
        place: int,
        asking: int,
    ) -> tuple[Float32[Tensor, "n C W"], Float32[Tensor, "g n C W"]]:
        """The last `asking` tokens plus the branch before, and the branch of layer i's attention."""
        packed, layer, attention = self.packed, self.packed.layers[i], self.attention[i]
        (N, C, W), outputs, is_alone = x.shape, attention.shape[-1], packed.history == 1
        size = packed.modulation_weight.element_size()
        updated = x if parts is None else torch.empty_like(x)
        tile = attention_in_tile(C, N, W, outputs, size)
        kernels.attention_in_kernel[tile.grid(C, N)](
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
            splits=tile.splits,
            chunk=6 * i - 1,
            place=place,
            asking=asking,
            stride_modulations=modulations.stride(1),
            PARTS=0 if parts is None else len(parts),
            QUERIES=0 if is_alone else packed.inner,
            OUTPUTS=outputs,
            BLOCK_O=tile.step,
            **options(packed, tile),
        )
        updated = updated[-asking:]
        if is_alone:
            return updated, attention[None]
        head_dim = packed.inner // packed.heads
        tile = attention_out_tile(C, asking, W, packed.heads, head_dim, size)
        branch = x.new_empty(tile.splits, asking, C, W)
        kernels.attention_out_kernel[tile.grid(C, asking)](
            qkv_ptr=attention,
            weight_ptr=layer.out_weight,
            bias_ptr=layer.out_bias,
            parts_ptr=branch,
            C=C,
            N=asking,
            splits=tile.splits,
            share=tile.share,
            place=place + N - asking,
            PLACES=place + N,
            HEADS=packed.heads,
            HEAD_DIM=head_dim,
            **options(packed, tile),
        )
        return updated, branch

    def _mlp(
        self,
        x: Float32[Tensor, "N C W"],
        parts: Float32[Tensor, "G N C W"],
        modulations: Float[Tensor, "N C M"],
        chunk: int,
        weights: Weights,
        *,
        is_projector: bool,
        skip: Float32[Tensor, "N C O"] | None = None,
    ) -> tuple[Float32[Tensor, "N C W"], Float32[Tensor, "g N C O"]]:
        """x plus the branch before, and the MLP's branch, which contains the skip."""
        outputs, hidden = weights.fc2_weight.shape
        tile = mlp_tile(x.shape[1], len(x), x.shape[2], hidden, weights.fc2_weight.element_size())
        branch = x.new_empty(tile.splits, *x.shape[:2], outputs)
        updated = mlp(
            self.packed, x, parts, modulations, chunk, weights, branch, tile, is_projector=is_projector, skip=skip
        )
        return updated, branch
