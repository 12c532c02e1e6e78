"""Weights of the predictor in the form that a rollout reads: neighbouring linear maps are multiplied out beforehand.

Shapes: A action-block width, E hidden width of the action embedder, D latent width, W predictor width, I heads times
their width, Q = 3 I, F hidden width of a layer's MLP, P that of the projector, M = 6 W times the number of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

# Released code: epsilon of the LayerNorms before a modulation, and of all other LayerNorms and BatchNorm.
MODULATION_EPS = 1e-6
NORM_EPS = 1e-5

PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer. Products contain the weights of the LayerNorm before them; rows of queries contain 1 / √head_dim.

    Attributes:
        qkv_weight: Rows of the queries, then of the keys, then of the values, each head after head.
        out_weight: Output product of the attention.
        alone_weight: Attention of a token to itself alone: values and `out_weight` in one matrix.
        fc1_weight: First product of the MLP; GELU (erf) follows.
        fc2_weight: Second product of the MLP.
    """

    qkv_weight: Float[Tensor, "Q W"]
    qkv_bias: Float32[Tensor, " Q"]
    out_weight: Float[Tensor, "W I"]
    out_bias: Float32[Tensor, " W"]
    alone_weight: Float[Tensor, "W W"]
    alone_bias: Float32[Tensor, " W"]
    fc1_weight: Float[Tensor, "F W"]
    fc1_bias: Float32[Tensor, " F"]
    fc2_weight: Float[Tensor, "W F"]
    fc2_bias: Float32[Tensor, " W"]


@dataclass(frozen=True, eq=False)
class Packed:
    """A snapshot of a world model's weights, for `rollout`; `pack` makes it.

    Matrices are in bfloat16 where the precision is "bf16", else in float32.

    Attributes:
        heads: Number of heads in every layer's attention.
        precision: Precision of the matrix products, "fp32", "tf32" or "bf16"; everything else is float32.
        residual: Whether what `tail_weight` gives is added to the last latent, in float32; it is else the next latent.
        action_in_weight: Product of normalised action blocks; SiLU follows.
        condition_weight: Product to the width of the predictor; SiLU follows.
        modulation_weight: Product to six modulations of every layer: shift, scale and gate of the attention, then of
            the MLP. The bias contains the 1 of 1 + scale.
        input_weight: Product of latents; None where D = W and latents enter unchanged.
        positions: Rows that are added to latents after `input_weight`, one for each place in the window.
        layers: The layers, first to last.
        head_weight: The last LayerNorm's weights, the output and the projector's first half in one; GELU (erf) follows.
        tail_weight: The projector's second half.
    """

    heads: int
    precision: str
    residual: bool
    action_in_weight: Float[Tensor, "E A"]
    action_in_bias: Float32[Tensor, " E"]
    condition_weight: Float[Tensor, "W E"]
    condition_bias: Float32[Tensor, " W"]
    modulation_weight: Float[Tensor, "M W"]
    modulation_bias: Float32[Tensor, " M"]
    input_weight: Float[Tensor, "W D"] | None
    positions: Float32[Tensor, "history W"]
    layers: tuple[Layer, ...]
    head_weight: Float[Tensor, "P W"]
    head_bias: Float32[Tensor, " P"]
    tail_weight: Float[Tensor, "D P"]
    tail_bias: Float32[Tensor, " D"]

    @property
    def history(self) -> int:
        """The most latents of a window."""
        return self.positions.shape[0]

    @property
    def width(self) -> int:
        """W."""
        return self.positions.shape[1]

    @property
    def inner(self) -> int:
        """I, heads times their width."""
        return self.layers[0].out_weight.shape[1]

    @property
    def latent(self) -> int:
        """D."""
        return self.tail_weight.shape[0]

    @property
    def action_block(self) -> int:
        """A."""
        return self.action_in_weight.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.positions.device


def pack(parameters: Mapping[str, Tensor], *, heads: int, precision: str = "fp32", residual: bool = False) -> Packed:
    """Folds and copies the weights, once for a model: later changes of the model do not change the copy.

    Args:
        parameters: Tensors of lewm's `WorldModel.state_dict()`. Only those of the action embedder, the predictor and
            the predictor's projector are used.
        heads: Number of heads in every layer's attention.
        precision: Precision of the matrix products: "fp32", "tf32" (on CUDA devices) or "bf16"; sums are float32 in
            all three.
        residual: Whether what the projector gives is added to the last latent.

    Raises:
        ValueError: If the precision is unknown, or it is tf32 on another device than CUDA.
    """
    device = parameters["predictor.positions"].device
    if precision not in PRECISIONS:
        raise ValueError(f"pack: expected one of the precisions {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(f"pack: tf32 is a number format of CUDA devices, and the weights are on {device}. Use fp32.")

    def matrix(weight: Float64[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        cast = weight.to(torch.bfloat16 if precision == "bf16" else torch.float32).to(device)
        return _rounded_to_tf32(cast) if precision == "tf32" else cast

    def cast(affine: _Affine) -> tuple[Tensor, Tensor]:
        return matrix(affine.weight), affine.bias.float().to(device)

    # The arithmetic is in float64, which not every device has.
    workplace = torch.device("cpu") if device.type == "mps" else device
    parts = ("action_embedder.", "predictor.", "prediction_projector.")
    of_rollout = {name: tensor for name, tensor in parameters.items() if name.startswith(parts)}
    source = {name: tensor.detach().to(workplace, torch.float64) for name, tensor in of_rollout.items()}

    action_in = _linear(source, "action_embedder.hidden").after(_linear(source, "action_embedder.bottleneck"))
    condition = _linear(source, "action_embedder.out")
    positions = source["predictor.positions"][0]  # (history, D)
    head = _linear(source, "prediction_projector.0")
    if "prediction_projector.1.weight" in source:  # BatchNorm, which a projector may do without
        head = head.before_scaling(*_batch_norm(source, "prediction_projector.1"))
    if "predictor.input.weight" in source:  # the predictor has a width of its own
        condition = _linear(source, "predictor.condition").after(condition)
        head = head.after(_linear(source, "predictor.output"))
        latent_in = _linear(source, "predictor.input")
        positions = positions @ latent_in.weight.T + latent_in.bias
        input_weight = matrix(latent_in.weight)
    else:
        input_weight = None
    depth = sum(name.endswith(".qkv.weight") for name in source)
    return Packed(
        heads,
        precision,
        residual,
        *cast(action_in),
        *cast(condition),
        *cast(_modulation(source, depth)),
        input_weight,
        positions.float().to(device),
        tuple(_layer(source, f"predictor.blocks.{i}", heads, cast) for i in range(depth)),
        *cast(head.after_scaling(source["predictor.norm.weight"], source["predictor.norm.bias"])),
        *cast(_linear(source, "prediction_projector.3")),
    )


class _Affine(NamedTuple):
    """x -> weight x + bias, in float64."""

    weight: Tensor
    bias: Tensor

    def after(self, first: _Affine) -> _Affine:
        return _Affine(self.weight @ first.weight, self.weight @ first.bias + self.bias)

    def after_scaling(self, scale: Tensor, shift: Tensor) -> _Affine:
        return _Affine(self.weight * scale, self.weight @ shift + self.bias)

    def before_scaling(self, scale: Tensor, shift: Tensor) -> _Affine:
        return _Affine(self.weight * scale[:, None], self.bias * scale + shift)


def _linear(source: Mapping[str, Tensor], name: str) -> _Affine:
    weight = source[f"{name}.weight"]
    return _Affine(weight, source.get(f"{name}.bias", weight.new_zeros(len(weight))))


def _batch_norm(source: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    scale = source[f"{name}.weight"] * (source[f"{name}.running_var"] + NORM_EPS).rsqrt()
    return scale, source[f"{name}.bias"] - source[f"{name}.running_mean"] * scale


def _modulation(source: Mapping[str, Tensor], depth: int) -> _Affine:
    of_layers = [_linear(source, f"predictor.blocks.{i}.modulation") for i in range(depth)]
    weight, bias = (torch.cat(parts) for parts in zip(*of_layers, strict=True))
    bias.view(depth, 6, -1)[:, [1, 4]] += 1
    return _Affine(weight, bias)


def _layer(
    source: Mapping[str, Tensor], name: str, heads: int, cast: Callable[[_Affine], tuple[Tensor, Tensor]]
) -> Layer:
    def after_norm(linear: str, norm: str) -> _Affine:
        scale, shift = source[f"{name}.{norm}.weight"], source[f"{name}.{norm}.bias"]
        return _linear(source, f"{name}.{linear}").after_scaling(scale, shift)

    qkv, out = after_norm("qkv", "attention_norm"), _linear(source, f"{name}.out")
    inner = len(qkv.bias) // 3
    value = _Affine(*(part[-inner:] for part in qkv))
    for part in qkv:
        part[:inner] *= (inner // heads) ** -0.5
    return Layer(
        *cast(qkv),
        *cast(out),
        *cast(out.after(value)),
        *cast(after_norm("fc1", "mlp_norm")),
        *cast(_linear(source, f"{name}.fc2")),
    )


def _rounded_to_tf32(weight: Float32[Tensor, "O I"]) -> Float32[Tensor, "O I"]:
    """Rounds to the nearest number of 10 bits after the point; the matrix units would cut the rest off."""
    return ((weight.view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)
