"""The rollout in PyTorch: it computes nothing twice, and one chunk of candidates after the other.

Shapes: B environments, S candidates, N = B S, C candidates of a chunk, L context length, H horizon in blocks, P = L - 1
past blocks, T = P + H, n new tokens of a window, m of them that go on, p tokens after the first, D latent width,
W predictor width, R heads of width E, A action-block width. Tokens come before candidates, so that the tokens of one
place in the window lie together.

The first token of a window attends to itself alone: the products of its values and its output are one matrix. The
weights of attention add up to 1, and do not change when all scores change alike. So only the differences of the other
tokens' keys and values from the first's are needed. They are products of the differences of the tokens, so the first
token needs no keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lewm_kernels.rollout.pack import MODULATION_EPS, NORM_EPS, Packed
from lewm_kernels.rollout.products import products_of, through

# Products of fewer rows take other code paths, with other rounding: below 12 rows in MKL, a single row in oneDNN.
_MIN_CANDIDATES = 64

# Modulations held at a time. On a CPU few candidates are too little work for a call, and many do not fit the cache.
_CPU_BYTES = 64 << 20
_ACCELERATOR_BYTES = 1 << 30


def rollout(
    packed: Packed,
    latents: Float[Tensor, "B L D"],
    candidates: Float[Tensor, "B S H A"],
    history: Float[Tensor, "B P A"] | None = None,
) -> Float[Tensor, "B S H D"]:
    """Computes `lewm_kernels.rollout`."""
    B, S, H, A = candidates.shape
    N, T = B * S, latents.shape[1] - 1 + H
    C = _chunk_size(packed, N, T)
    blocks = candidates.reshape(N, H, A)
    out = latents.new_empty(N, H, packed.latent)
    with products_in(packed.precision):
        for begin in range(0, N, C):
            some = torch.arange(begin, begin + C, device=packed.device).clamp_(max=N - 1)  # the last one is repeated
            of_chunk = blocks[some]
            if history is not None:
                of_chunk = torch.cat([history[some // S], of_chunk], dim=1)  # (C, T, A)
            predicted = _Chunk(packed, of_chunk).roll(latents[some // S])
            out[begin : begin + C] = predicted[: N - begin]
    return out.view(B, S, H, packed.latent)


def _chunk_size(packed: Packed, N: int, T: int) -> int:
    """The size of all chunks: as large as the modulations of their candidates allow."""
    held = _CPU_BYTES if packed.device.type == "cpu" else _ACCELERATOR_BYTES
    chunks = -(-N * T * len(packed.modulation_bias) * 4 // held)
    return max(_MIN_CANDIDATES, -(-N // chunks))


class _Seen(NamedTuple):
    """The values that a layer keeps of a window that may grow."""

    first: Float[Tensor, "C W"]
    alone: Float[Tensor, "C W"]  # attention of the first token
    keys_values: tuple[Float[Tensor, "C 2 R E"], ...] = ()  # those of each other token minus the first's


class _Chunk:
    """The predictor over the windows of a chunk of candidates.

    Args:
        packed: The weights.
        blocks: Past and future action blocks.
    """

    def __init__(self, packed: Packed, blocks: Float[Tensor, "C T A"]) -> None:
        self.positions, self.heads, self.products = packed.positions, packed.heads, products_of(packed)
        self.residual = packed.residual
        self.unit = torch.ones_like(packed.positions[0]), torch.zeros_like(packed.positions[0])
        condition = _silu(through(blocks.transpose(0, 1), self.products.action_in))
        condition = _silu(through(condition, self.products.condition))  # (T, C, W)
        modulations = (through(condition, layer.modulation) for layer in self.products.layers)
        self.modulations = [modulation.unflatten(-1, (6, -1)) for modulation in modulations]  # (T, C, 6, W) each
        self.seen: list[_Seen | None] = []

    def roll(self, latents: Float[Tensor, "C L D"]) -> Float[Tensor, "C H D"]:
        """The latent after each future block."""
        layers, history = len(self.products.layers), len(self.positions)
        L, T = latents.shape[1], len(self.modulations[0])
        tokens = [self._enter(latent) for latent in latents.unbind(dim=1)]
        latent = latents[:, -1]
        predictions: list[Tensor] = []
        for end in range(L, T + 1):
            if predictions:
                tokens.append(self._enter(latent))
            begin = max(0, end - history)
            if predictions and begin == 0:
                new = end - 1  # the window grows
            else:
                new, self.seen = begin, [None] * layers
            x = torch.stack(tokens[new:end]) + self.positions[new - begin : end - begin, None]  # (n, C, W)
            for i in range(layers):
                x = self._layer(i, x, self.modulations[i][new:end])
            made = through(self._norm(x[-1], NORM_EPS), self.products.head, self.products.tail)
            latent = latent + made if self.residual else made
            predictions.append(latent)
        return torch.stack(predictions, dim=1)

    def _enter(self, latent: Float[Tensor, "C D"]) -> Float[Tensor, "C W"]:
        return latent if self.products.latent_in is None else through(latent, self.products.latent_in)

    def _layer(self, i: int, x: Float[Tensor, "n C W"], six: Float[Tensor, "n C 6 W"]) -> Float[Tensor, "m C W"]:
        """Layer i; only the last token leaves the last layer."""
        layer, last = self.products.layers[i], i == len(self.products.layers) - 1
        shift, scale, gate, *of_mlp = six.unbind(dim=2)
        attended = self._attention(i, self._modulate(x, shift, scale), last)
        m = len(attended)
        x = torch.addcmul(x[-m:], gate[-m:], attended)
        shift, scale, gate = (part[-m:] for part in of_mlp)
        return x.addcmul_(gate, through(self._modulate(x, shift, scale), layer.fc1, layer.fc2))

    def _attention(self, i: int, x: Float[Tensor, "n C W"], last: bool) -> Float[Tensor, "m C W"]:
        layer, seen, rest, attended = self.products.layers[i], self.seen[i], x, []
        if seen is None:
            seen, rest = _Seen(x[0], through(x[0], layer.alone)), x[1:]
            attended.append(seen.alone[None])
        if len(rest):
            keys_values = through(rest - seen.first, layer.key_value).unflatten(-1, (2, self.heads, -1))
            seen = seen._replace(keys_values=(*seen.keys_values, *keys_values))
            asking = rest[-1:] if last else rest
            queries = through(asking, layer.query).unflatten(-1, (self.heads, -1))  # (m, C, R, E)
            before = len(seen.keys_values) - len(asking)
            mixed = [_attend(query, seen.keys_values[: before + j]) for j, query in enumerate(queries, start=1)]
            attended.append(through(torch.stack(mixed), layer.out) + seen.alone)
        self.seen[i] = seen
        return attended[-1] if last else torch.cat(attended)

    def _modulate(
        self, x: Float[Tensor, "n C W"], shift: Float[Tensor, "n C W"], scale: Float[Tensor, "n C W"]
    ) -> Float[Tensor, "n C W"]:
        return self._norm(torch.addcmul(shift, self._norm(x, MODULATION_EPS), scale), NORM_EPS)

    def _norm(self, x: Float[Tensor, "*n C W"], eps: float) -> Float[Tensor, "*n C W"]:
        # with a weight and a bias, even of 1 and 0, LayerNorm takes half as long as without
        return F.layer_norm(x, x.shape[-1:], *self.unit, eps)


def _attend(query: Float[Tensor, "C R E"], keys_values: tuple[Float[Tensor, "C 2 R E"], ...]) -> Float[Tensor, "C RE"]:
    """The weighted values for the query of one token; score and values of the window's first token are 0.

    PyTorch's softmax would round differently at the end of a thread's share.
    """
    keys, values = zip(*(token.unbind(dim=1) for token in keys_values), strict=True)
    scores = torch.stack([(query * key).sum(dim=-1) for key in keys])  # (p, C, R)
    largest = scores.amax(dim=0).clamp_(min=0)
    weights = scores.sub_(largest).exp_()
    total = largest.neg_().exp_()
    for weight in weights:
        total.add_(weight)
    weights = weights.div_(total)[..., None]
    attended = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        attended.addcmul_(weight, value)
    return attended.flatten(1)


def _silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """SiLU in place. PyTorch's own would round differently at the end of a thread's share."""
    return x.div_(x.neg().exp_().add_(1))


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """In this block, PyTorch rounds the operands of float32 products as `pack`'s precision says: only in tf32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
