"""The products of a rollout, in the form in which PyTorch multiplies fastest.

On a CPU PyTorch leaves float32 products of its plain tensors to MKL, and those of oneDNN's tensors to oneDNN, which
takes half the time where it uses AVX-512 and MKL does not. Copying in and out costs a small part of what that saves.
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
    """Weight and bias in the dtype of the product, plain or oneDNN's."""

    weight: Tensor
    bias: Tensor | None


class LayerProducts(NamedTuple):
    """The products of one layer, as `Layer` has them; modulations, keys, values and `out` without their bias."""

    modulation: Linear
    alone: Linear
    query: Linear
    key_value: Linear
    out: Linear
    fc1: Linear
    fc2: Linear


class Products(NamedTuple):
    """All products of a rollout, as `Packed` has them."""

    action_in: Linear
    condition: Linear
    latent_in: Linear | None
    layers: tuple[LayerProducts, ...]
    head: Linear
    tail: Linear


_known: WeakKeyDictionary[Packed, Products] = WeakKeyDictionary()


def products_of(packed: Packed) -> Products:
    """Made at the first call, and kept as long as `packed` is."""
    if packed not in _known:
        _known[packed] = _products(packed)
    return _known[packed]


def through(x: Float[Tensor, "*rows width"], *linears: Linear) -> Float[Tensor, "*rows out"]:
    """One product after the other, with GELU (erf) between them; the result in float32."""
    weight = linears[0].weight
    rows = x.flatten(0, -2)
    rows = rows.to_mkldnn() if weight.is_mkldnn else rows.to(weight.dtype)
    rows = F.linear(rows, *linears[0])
    for linear in linears[1:]:
        rows = F.linear(F.gelu(rows), *linear)
    rows = rows.to_dense() if weight.is_mkldnn else rows.float()
    return rows.unflatten(0, x.shape[:-1])


def _products(packed: Packed) -> Products:
    inner, modulation_weights = packed.inner, packed.modulation_weight.chunk(len(packed.layers))
    layers = [
        LayerProducts(
            _linear(modulation_weight),
            _linear(layer.alone_weight, layer.alone_bias),
            _linear(layer.qkv_weight[:inner], layer.qkv_bias[:inner]),
            _linear(layer.qkv_weight[inner:]),
            _linear(layer.out_weight),
            _linear(layer.fc1_weight, layer.fc1_bias),
            _linear(layer.fc2_weight, layer.fc2_bias),
        )
        for layer, modulation_weight in zip(packed.layers, modulation_weights, strict=True)
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
    bias = None if bias is None else bias.to(weight.dtype)
    on_cpu = weight.device.type == "cpu"
    if on_cpu and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return Linear(weight.to_mkldnn(), None if bias is None else bias.to_mkldnn())
    return Linear(weight, bias)
