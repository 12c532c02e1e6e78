"""Random numbers as a pure function of (seed, counters): Philox4x32-10.

The words are those of `tl.philox`, so that a fused kernel draws the numbers that this file draws.

Shapes: B streams, R groups of one tile, G blocks of a group; D latent width, M directions.

A *block* is one call of Philox: a counter of four 32-bit words gives four random words. A *stream* is three
counter words, such as (episode, replan, iteration); the first word counts the blocks along it. Elements of a
stream lie in groups of 4 G: word j of block i of group g belongs to element 4Gg + Gj + i, so that a vector
unit or a GPU program writes runs of G.

For directions G is M, so that the stream is the matrix (D, M), row after row: block q M + m gives rows 4q to 4q + 3
of column m. So a kernel can draw any tile of them without wasting a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
_MOST_BLOCKS = 1 << 32  # the blocks of a stream are counted by one word
_MANTISSA_BITS = 23  # a float32 holds (k + 1/2) / 2^23 exactly for every k < 2^23, and never rounds it to 1
_MANTISSA = (1 << _MANTISSA_BITS) - 1

# The last counter word of `directions`; no planner reaches this iteration.
DIRECTIONS_STREAM = _WORD

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

    Element e of row b depends on (seed, streams[b], e) alone, neither on the other rows nor on `count`.

    Args:
        seed: The 64-bit key.
        streams: Three numbers for each row, taken modulo 2^32; the result is on their device.
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
        streams: Three numbers for each row, such as (episode, replan, iteration), taken modulo 2^32; the result is
            on their device.
        count: Elements of a row, at most 2^34.

    Raises:
        ValueError: If the seed does not fit in 64 bits, or the count is out of range.

    Source: Box and Muller (1958); both numbers of a pair are used.
    """
    return _generate(seed, streams, count, _box_muller)


@dataclass(frozen=True)
class RandomDirections:
    """Describes the matrix that `directions` draws from these values; `sigreg` takes it and draws the matrix itself.

    Attributes:
        seed: The 64-bit key.
        step: Training step, in [0, 2^63). A tensor is read on its device only: so a CUDA graph replays with the
            tensor's present value, and torch.compile makes one program for all steps.
        count: Number of directions.
    """

    seed: int
    step: int | Int64[Tensor, ""]
    count: int


def directions(
    seed: int, step: int | Int64[Tensor, ""], D: int, M: int, device: torch.device | str | None = None
) -> Float32[Tensor, "{D} {M}"]:
    """Unit columns, uniform on the sphere: the directions of SIGReg at one training step.

    Args:
        seed: The 64-bit key.
        step: Training step, in [0, 2^63), a number or a tensor; see `RandomDirections`.
        D: Latent width.
        M: Number of directions.
        device: The device of the result; a step that is a tensor is moved there.

    Raises:
        ValueError: If seed, step or a size is out of range, or a step that is a tensor is not one int64.
    """
    check_directions(seed, step, D, M)
    step = step_on(step, device)
    stream = torch.stack([step, step >> 32, torch.full_like(step, DIRECTIONS_STREAM)])[None]  # (1, 3)
    columns = _generate(seed, stream, D * M, _box_muller, G=M).view(D, M)
    return columns.div_(columns.square().sum(dim=0).sqrt_())  # vector_norm is slow along columns


def check_directions(seed: int, step: int | Tensor, D: int, M: int) -> None:
    """Raises the ValueError of `directions`, without reading a tensor's value."""
    _check_seed(seed)
    if isinstance(step, Tensor):
        if step.shape != () or step.dtype != torch.int64:
            raise ValueError(f"directions: expected a step () of int64, got {tuple(step.shape)} of {step.dtype}.")
    elif not 0 <= step < 1 << 63:
        raise ValueError(f"directions: expected a step in [0, 2^63), got {step}.")
    if D < 1 or M < 1 or -(-D // 4) * M > _MOST_BLOCKS:
        raise ValueError(f"directions: expected D >= 1, M >= 1 and ⌈D / 4⌉ M <= 2^32, got D = {D} and M = {M}.")


def step_on(step: int | Int64[Tensor, ""], device: torch.device | str | None) -> Int64[Tensor, ""]:
    """The step as a tensor on the device. A number becomes a kernel's argument: a copy would make the host wait."""
    return step.to(device) if isinstance(step, Tensor) else torch.full((), step, dtype=torch.int64, device=device)


def _box_muller(u: Tensor, v: Tensor, out: Tensor) -> None:
    radius = u.log_().mul_(-2).sqrt_()
    angle = v.mul_(2 * math.pi)
    torch.mul(radius, angle.cos(), out=out[:, :, 0])
    torch.mul(radius, angle.sin_(), out=out[:, :, 1])


def _generate(seed: int, streams: Tensor, count: int, finish: _Finish, G: int = G) -> Tensor:
    """Fills (B, count) tile by tile; `finish` turns two uniform words (R, 2, G) into elements (R, 2, 2, G)."""
    groups = -(-count // (4 * G))
    if count < 0 or groups * G > _MOST_BLOCKS:
        raise ValueError(f"philox: expected a count from 0 to 2^34 elements of a stream, got {count}.")
    device = streams.device
    keys, multipliers = _key_schedule(seed, device)
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


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"philox: expected a seed in [0, 2^64), got {seed}.")


def _key_schedule(seed: int, device: torch.device) -> tuple[Int64[Tensor, "10 2 1"], Int64[Tensor, "2 1"]]:
    """Keys of all rounds, in the upper half of a 64-bit word, and the multipliers.

    They are computed on the device: a copy from the host would wait for it, and a CUDA graph could not hold the copy.
    """
    _check_seed(seed)
    second = torch.arange(2, device=device)[:, None]  # 0 for the first word of a pair, 1 for the second
    i = torch.arange(_ROUNDS, device=device)[:, None, None]  # (10, 1, 1)

    def pair(a: int, b: int) -> Tensor:
        return second * (b - a) + a

    return (pair(seed & _WORD, seed >> 32) + i * pair(*_KEY_STEPS)) << 32, pair(*_MULTIPLIERS)


def _encrypt(
    state: Int64[Tensor, "R 2 G"],
    product: Int64[Tensor, "R 2 G"],
    keys: Int64[Tensor, "10 2 1"],
    multipliers: Int64[Tensor, "2 1"],
) -> None:
    """Runs all rounds in place; `product` is scratch memory.

    A pair of words (c0, c1) is held as c0·2^32 + c1. A round multiplies c0 and c2 by their constants; each
    whole product is the other pair's next state, except that its upper word gets an exclusive or with the key
    and with c1 or c3. So the two words of a product are never separated. Signed overflow keeps the low 64
    bits, and only these count.
    """
    for key in keys.unbind():
        torch.bitwise_right_shift(state, 32, out=product)
        product.bitwise_and_(_WORD).mul_(multipliers)  # the shift is arithmetic: drop the sign
        state.bitwise_left_shift_(32).bitwise_xor_(key)
        state[:, 0].bitwise_xor_(product[:, 1])
        state[:, 1].bitwise_xor_(product[:, 0])
