"""Layers whose products are PyTorch's own, which on a GPU are cuBLAS's, with one kernel between every two of them.

A layer takes seven launches and the projector four. The first half of an MLP is a kernel of ours, since cuBLAS cannot
apply GELU (erf) to a product. Biases are added where the product is read, in float32. The bias of the keys is left out:
it changes all scores of a query alike, so softmax does not depend on it.

Shapes: C candidates of all environments, N new tokens of a window, R = N C rows, D latent width, W predictor width,
M modulations, F hidden width, K inputs and O outputs of a product.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.rollout import layerwise_kernels
from lewm_kernels.rollout.pack import Packed
from lewm_kernels.rollout.tiles import attend_tile, enter_tile, gelu_linear_tile, options, precision


def layers(packed: Packed, C: int) -> _Layerwise:
    """The layers for C candidates."""
    return _Layerwise(packed, C)


class _Layerwise:
    """Implements `lewm_kernels.rollout.triton.Layers`."""

    def __init__(self, packed: Packed, C: int) -> None:
        self.packed = packed
        shape = len(packed.layers), packed.history, C, 3 * packed.inner
        self.qkv = packed.modulation_weight.new_empty(shape if packed.history > 1 else 0)

    def predict(
        self,
        x: Float32[Tensor, "N C W"],
        modulations: Float[Tensor, "N C M"],
        place: int,
        skip: Float32[Tensor, "1 C D"] | None,
        out: Float32[Tensor, "C D"],
    ) -> None:
        """Predicts the next latent: see `Layers.predict`."""
        packed, branch, bias = self.packed, None, None
        last = len(packed.layers) - 1
        for i, layer in enumerate(packed.layers):
            operand = layer.fc1_weight.new_empty(x.shape)
            x = enter(packed, x, branch, bias, modulations, 6 * i - 1, operand)
            asking = 1 if i == last else len(x)
            if packed.history == 1:  # a token attends to itself alone
                branch, bias = _product(operand, layer.alone_weight), layer.alone_bias
            else:
                branch, bias = _product(self._attend(i, operand, place, asking), layer.out_weight), layer.out_bias
            x, modulations = x[-asking:], modulations[-asking:]
            operand = layer.fc1_weight.new_empty(x.shape)
            x = enter(packed, x, branch, bias, modulations, 6 * i + 2, operand)
            hidden = _gelu_linear(packed, operand, layer.fc1_weight, layer.fc1_bias)
            branch, bias = _product(hidden, layer.fc2_weight), layer.fc2_bias
        operand = packed.head_weight.new_empty(x.shape)
        enter(packed, x, branch, bias, modulations, 6 * last + 5, operand, is_projector=True)
        hidden = _gelu_linear(packed, operand, packed.head_weight, packed.head_bias)
        torch.add(_product(hidden, packed.tail_weight)[0], packed.tail_bias, out=out)
        if skip is not None:  # after the bias, since the product may be in bfloat16
            out += skip[0]

    def _attend(self, i: int, operand: Float[Tensor, "N C W"], place: int, asking: int) -> Float[Tensor, "n C I"]:
        """The attention of the last `asking` tokens to their windows; keys and values of all N are kept."""
        packed, layer, qkv = self.packed, self.packed.layers[i], self.qkv[i]
        N, C, _ = operand.shape
        torch.mm(operand.flatten(0, 1), layer.qkv_weight.T, out=qkv[place : place + N].flatten(0, 1))
        attended = operand.new_empty(asking, C, packed.inner)
        head_dim = packed.inner // packed.heads
        tile = attend_tile()
        layerwise_kernels.attend_kernel[tile.grid(C, asking * packed.heads)](
            qkv_ptr=qkv,
            bias_ptr=layer.qkv_bias,
            y_ptr=attended,
            C=C,
            N=asking,
            place=place + N - asking,
            PLACES=place + N,
            HEADS=packed.heads,
            HEAD_DIM=head_dim,
            **tile.options(),
            **precision(packed),
        )
        return attended


def enter(
    packed: Packed,
    x: Float32[Tensor, "N C W"],
    branch: Float[Tensor, "*1 N C W"] | None,
    bias: Float32[Tensor, " W"] | None,
    modulations: Float[Tensor, "N C M"],
    chunk: int,
    operand: Float[Tensor, "N C W"],
    *,
    is_projector: bool = False,
) -> Float32[Tensor, "N C W"]:
    """Writes the operand of the next product; the result is x plus the branch before.

    The gate of the branch before is modulation `chunk`. The projector neither modulates nor keeps x.
    """
    updated = x if branch is None or is_projector else torch.empty_like(x)
    tile, R = enter_tile(), x.shape[0] * x.shape[1]
    layerwise_kernels.enter_kernel[tile.grid(R, 1)](
        x_ptr=x,
        branch_ptr=branch,
        branch_bias_ptr=bias,
        modulations_ptr=modulations,
        modulation_bias_ptr=packed.modulation_bias,
        x_out_ptr=updated,
        operand_ptr=operand,
        R=R,
        chunk=chunk,
        stride_modulations=modulations.stride(1),
        IS_PROJECTOR=is_projector,
        **options(packed, tile),
    )
    return updated


def _gelu_linear(
    packed: Packed, x: Float[Tensor, "N C W"], weight: Float[Tensor, "F W"], bias: Float32[Tensor, " F"]
) -> Float[Tensor, "N C F"]:
    R, hidden = x.shape[0] * x.shape[1], len(weight)
    y = x.new_empty(*x.shape[:2], hidden)
    tile = gelu_linear_tile(R, x.shape[2], x.element_size())
    layerwise_kernels.gelu_linear_kernel[tile.grid(R, -(-hidden // tile.step))](
        x_ptr=x,
        weight_ptr=weight,
        bias_ptr=bias,
        y_ptr=y,
        R=R,
        HIDDEN=hidden,
        BLOCK_F=tile.step,
        **options(packed, tile),
    )
    return y


def _product(x: Float[Tensor, "N C K"], weight: Float[Tensor, "O K"]) -> Float[Tensor, "N C O"]:
    return torch.mm(x.flatten(0, 1), weight.T).unflatten(0, x.shape[:2])
