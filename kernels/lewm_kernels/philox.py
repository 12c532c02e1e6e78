"""Random numbers as a pure function of (seed, counters): Philox4x32-10.

The words are those of `tl.philox`, so that a fused kernel draws the numbers that this file draws.

Shapes: B streams, R groups of one tile, G blocks of a group.

A *block* is one call of Philox: a counter of four 32-bit words gives four random words. A *stream* is three
counter words, such as (episode, replan, iteration); the first word counts the blocks along it. Elements of a
stream lie in groups of 4 G: word j of block i of group g belongs to element 4Gg + Gj + i, so that a vector
unit or a GPU program writes runs of G.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm_kernels._tiles import tile_elements

G = 128

# Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011): multipliers, key increments, rounds.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

_WORD = 0xFFFFFFFF
_MANTISSA_BITS = 23  # a float32 holds (k + 1/2) / 2^23 exactly for every k < 2^23, and never rounds it to 1
_MANTISSA = (1 << _MANTISSA_BITS) - 1

# The last counter word of `directions`; no planner reaches this iteration.
_DIRECTIONS_STREAM = _WORD

_Finish = Callable[[Tensor, Tensor, Tensor], None]


def philox(seed: int, counters: Int64[Tensor, "*shape 4"]) -> Int64[Tensor, "*shape 4"]:
    """Four random words, each in [0, 2^32), for every counter of four words.

    Args:
        seed: The 64-bit key.
        counters: Words c0 to c3, taken modulo 2^32.

    Raises:
        ValueError: If the seed does not fit in 64 bits.

    Source: Philox4x32-10 of Random123; equal to `tl.philox(seed, c0, c1, c2, c3)`.
    """
    pairs = counters.bitwise_and(_WORD).reshape(-1, 2, 2, 1)
    state = pairs[:, :, 0].bitwise_left_shift(32).bitwise_or_(pairs[:, :, 1])  # (n, 2, 1)
    _encrypt(state, torch.empty_like(state), *_key_schedule(seed, state.device))
    words = torch.stack([state.bitwise_right_shift(32).bitwise_and_(_WORD), state.bitwise_and(_WORD)], dim=2)
    return words.view_as(counters)


def uniform(seed: int, streams: Int64[Tensor, "B 3"], count: int) -> Float32[Tensor, "B {count}"]:
    """Numbers uniform on the open interval (0, 1): odd multiples of 2^-24.

    Element e of row b depends on (seed, streams[b], e) alone, not on the other rows and not on `count`.

    Args:
        seed: The 64-bit key.
        streams: Three numbers a row, taken modulo 2^32; the result is on their device.
        count: Elements of a row, at most 2^34.

    Raises:
        ValueError: If the seed does not fit in 64 bits, or the count is out of range.
    """

    def interleave(u: Tensor, v: Tensor, out: Tensor) -> None:
        out[:, :, 0] = u
        out[:, :, 1] = v

    return _generate(seed, streams, count, interleave)


def normal(seed: int, streams: Int64[Tensor, "B 3"], count: int) -> Float32[Tensor, "B {count}"]:
    """Standard normal numbers, at most 5.77 in size.

    Element e of row b depends on (seed, streams[b], e) alone: a row is bit for bit the same alone, in any
    batch and for any `count`. Between kinds of device, numbers agree up to the rounding of log, sin and cos.

    Args:
        seed: The 64-bit key.
        streams: Three numbers a row, such as (episode, replan, iteration), taken modulo 2^32; the result is
            on their device.
        count: Elements of a row, at most 2^34.

    Raises:
        ValueError: If the seed does not fit in 64 bits, or the count is out of range.

    Source: Box and Muller (1958); both numbers of a pair are used.
    """

    def box_muller(u: Tensor, v: Tensor, out: Tensor) -> None:
        radius = u.log_().mul_(-2).sqrt_()
        angle = v.mul_(2 * math.pi)
        torch.mul(radius, angle.cos(), out=out[:, :, 0])
        torch.mul(radius, angle.sin_(), out=out[:, :, 1])

    return _generate(seed, streams, count, box_muller)


def directions(
    seed: int, step: int, D: int, M: int, device: torch.device | str | None = None
) -> Float32[Tensor, "{D} {M}"]:
    """Unit columns uniform on the sphere: the directions of SIGReg at one training step.

    Column m depends on (seed, step, D, m) alone.

    Args:
        seed: The 64-bit key.
        step: Training step, at least 0.
        D: Latent width.
        M: Number of directions.
        device: Where to draw them.

    Raises:
        ValueError: If the seed does not fit in 64 bits, or a size is out of range.
    """
    if step < 0 or D < 1 or M < 1:
        raise ValueError(f"directions: expected step >= 0, D >= 1 and M >= 1, got {step}, {D} and {M}.")
    stream = torch.tensor([[step & _WORD, step >> 32, _DIRECTIONS_STREAM]], device=device)
    rows = normal(seed, stream, M * D).view(M, D)
    return torch.nn.functional.normalize(rows, dim=1).T.contiguous()


def _generate(seed: int, streams: Tensor, count: int, finish: _Finish) -> Tensor:
    """Fill (B, count) tile by tile; `finish` turns two uniform words (R, 2, G) into elements (R, 2, 2, G)."""
    if not 0 <= count <= 1 << 34:
        raise ValueError(f"philox: expected 0 <= count <= 2^34 elements of a stream, got {count}.")
    device = streams.device
    keys, multipliers = _key_schedule(seed, device)
    groups = -(-count // (4 * G))
    tile = tile_elements(device) // G
    tile_groups = max(1, min(groups, tile))
    tile_rows = max(1, min(len(streams), tile // tile_groups))
    R = tile_rows * tile_groups
    state_buffer = torch.empty(2, R, 2, G, dtype=torch.int64, device=device)
    word_buffer = torch.empty(2, R, 2, G, device=device)
    element_buffer = torch.empty(R, 2, 2, G, device=device)
    out = torch.empty(len(streams), count, device=device)

    c1, c2, c3 = streams.bitwise_and(_WORD)[:, :, None, None].unbind(1)  # (B, 1, 1)
    second = (c2 << 32) | c3
    for row in range(0, len(streams), tile_rows):
        rows = slice(row, min(row + tile_rows, len(streams)))
        for group in range(0, groups, tile_groups):
            n = min(tile_groups, groups - group)
            used = (rows.stop - row) * n
            state, product = state_buffer[:, :used]
            u, v = word_buffer[:, :used]
            blocks = torch.arange(group * G, (group + n) * G, device=device).view(n, G)
            by_row = state.view(-1, n, 2, G)
            by_row[:, :, 0] = (blocks << 32) | c1[rows]
            by_row[:, :, 1] = second[rows]
            _encrypt(state, product, keys, multipliers)
            # The 23 leading bits of both words of a pair.
            torch.bitwise_right_shift(state, 64 - _MANTISSA_BITS, out=product)
            u.copy_(product.bitwise_and_(_MANTISSA))
            v.copy_(state.bitwise_right_shift_(32 - _MANTISSA_BITS).bitwise_and_(_MANTISSA))
            for word in (u, v):
                word.add_(0.5).mul_(2.0**-_MANTISSA_BITS)
            elements = element_buffer[:used]
            finish(u, v, elements)
            first = group * 4 * G
            last = min(count, first + n * 4 * G)
            out[rows, first:last] = elements.view(rows.stop - row, -1)[:, : last - first]
    return out


def _key_schedule(seed: int, device: torch.device) -> tuple[Int64[Tensor, "10 2 1"], Int64[Tensor, "2 1"]]:
    """Keys of all rounds, in the upper half of a 64-bit word, and the multipliers."""
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"philox: expected a seed in [0, 2^64), got {seed}.")
    first, second = seed & _WORD, seed >> 32
    steps = [(i * _KEY_STEPS[0], i * _KEY_STEPS[1]) for i in range(_ROUNDS)]
    keys = [((first + a) & _WORD, (second + b) & _WORD) for a, b in steps]
    keys_and_multipliers = torch.tensor([*keys, _MULTIPLIERS], device=device)[:, :, None]  # (11, 2, 1)
    return keys_and_multipliers[:-1] << 32, keys_and_multipliers[-1]


def _encrypt(
    state: Int64[Tensor, "R 2 G"],
    product: Int64[Tensor, "R 2 G"],
    keys: Int64[Tensor, "10 2 1"],
    multipliers: Int64[Tensor, "2 1"],
) -> None:
    """Run all rounds in place; `product` is scratch.

    A pair of words (c0, c1) is held as c0·2^32 + c1. A round multiplies c0 and c2 by their constants; each
    product, whole, is the other pair's next state up to an exclusive or of its upper word with the key and
    with c1 or c3. So the two words of a product are never taken apart. Signed overflow keeps the low 64
    bits, all that counts.
    """
    for key in keys.unbind():
        torch.bitwise_right_shift(state, 32, out=product)
        product.bitwise_and_(_WORD).mul_(multipliers)  # the shift is arithmetic: drop the sign
        state.bitwise_left_shift_(32).bitwise_xor_(key)
        state[:, 0].bitwise_xor_(product[:, 1])
        state[:, 1].bitwise_xor_(product[:, 0])
