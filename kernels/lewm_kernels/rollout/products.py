"""The products of a rollout, in the form in which PyTorch multiplies fastest.

On a CPU PyTorch leaves float32 products of plain tensors to MKL. oneDNN takes half the time where it uses AVX-512 and
MKL does not. The operator with which torch.compile replaces a Linear calls oneDNN with plain rows; it adds the bias and
applies GELU while the result is in registers.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lewm_kernels.rollout.pack import Packed


class Linear(NamedTuple):
    """Weight and bias in the dtype of the product; the weight is plain or in oneDNN's layout.

    A bias of another dtype is added to the product in float32.
    """

    weight: Tensor
    bias: Tensor | None


class LayerProducts(NamedTuple):
    """The products of one `Layer`; keys, values and `out` are without their bias."""

    modulation: Linear
    alone: Linear
    query: Linear
    key_value: Linear
    out: Linear
    fc1: Linear
    fc2: Linear


class Products(NamedTuple):
    """All products of a rollout, from `Packed`."""

    action_in: Linear
    condition: Linear
    latent_in: Linear | None
    layers: tuple[LayerProducts, ...]
    head: Linear
    tail: Linear


_known: WeakKeyDictionary[Packed, Products] = WeakKeyDictionary()


def products_of(packed: Packed) -> Products:
    """The products of `packed`: made at the first call, and kept as long as `packed`."""
    if packed not in _known:
        _known[packed] = _products(packed)
    return _known[packed]


def through(x: Float[Tensor, "*rows width"], *linears: Linear) -> Float[Tensor, "*rows out"]:
    """Applies one product after the other, with GELU (erf) between them; the result is in float32."""
    rows = x.flatten(0, -2)
    for linear in linears[:-1]:
        rows = _through_onednn(rows, linear, "gelu") if linear.weight.is_mkldnn else F.gelu(_through(rows, linear))
    last = linears[-1]
    rows = _through_onednn(rows, last, "none") if last.weight.is_mkldnn else _through(rows, last).float()
    return rows.unflatten(0, x.shape[:-1])


def _through(rows: Float[Tensor, "rows width"], linear: Linear) -> Float[Tensor, "rows out"]:
    weight, bias = linear
    rows = rows.to(weight.dtype)
    if bias is None or bias.dtype == weight.dtype:
        return F.linear(rows, weight, bias)
    return F.linear(rows, weight).to(bias.dtype).add_(bias)


def _through_onednn(rows: Float[Tensor, "rows width"], linear: Linear, activation: str) -> Float[Tensor, "rows out"]:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, *linear, activation, [], "none")
    return result


def _products(packed: Packed) -> Products:
    inner, depth = packed.inner, len(packed.layers)
    modulations = zip(packed.modulation_weight.chunk(depth), packed.modulation_bias.chunk(depth), strict=True)
    layers = [
        LayerProducts(
            # 1 + scale, rounded to bfloat16, would lose most of the scale's bits
            _linear(*modulation)._replace(bias=modulation[1]),
            _linear(layer.alone_weight, layer.alone_bias),
            _linear(layer.qkv_weight[:inner], layer.qkv_bias[:inner]),
            _linear(layer.qkv_weight[inner:]),
            _linear(layer.out_weight),
            _linear(layer.fc1_weight, layer.fc1_bias),
            _linear(layer.fc2_weight, layer.fc2_bias),
        )
        for layer, modulation in zip(packed.layers, modulations, strict=True)
    ]
    return Products(
        _linear(packed.action_in_weight, packed.action_in_bias),
        _linear(packed.condition_weight, packed.condition_bias),
        None if packed.input_weight is None else _linear(packed.input_weight),
        tuple(layers),
        _linear(packed.head_weight, packed.head_bias),
        _linear(packed.tail_weight, packed.tail_bias),
    )


def _linear(weight: Tensor, bias: Tensor | None = None) -> Linear:
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and _has_onednn():
        weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
    return Linear(weight, None if bias is None else bias.to(weight.dtype))


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
