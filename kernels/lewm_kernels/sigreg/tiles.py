"""The tiles of SIGReg's Triton kernels: pure functions of the shapes, so that equal shapes sum in one order.

Shapes: T time steps, N embeddings, D latent width, M directions.

They were chosen by the compiler's reports for sm_80, sm_90 and sm_100: almost no spilled registers at D = 192 and 1024
in float32 (with random directions, up to 512), two buffers of operands, the fewest instructions an element.
"""

from __future__ import annotations

from dataclasses import dataclass

# The most programs of a split grid: two for each multiprocessor of a large GPU. It is a constant and not a property of
# the device, so that the order of the sums is the same everywhere.
_PROGRAMS = 264

# Directions over which a program sums the gradient in registers. With 4,096 in one chain of additions, the error is
# four to seven times the definition's; with 256 it is the same.
CHAIN = 256

# The least extent of an operand that `tl.dot` takes.
_LEAST = 16


@dataclass(frozen=True)
class Tile:
    """Projections that a program holds at a time, BLOCK_N by BLOCK_M, and the steps over D in which it sums them."""

    BLOCK_N: int
    BLOCK_M: int
    BLOCK_D: int
    num_warps: int


def forward_tile() -> Tile:
    """The tile of the sums over N.

    Twice the directions with twice the warps take as many instructions, but the registers of a multiprocessor then
    suffice for only one program of 8 warps, instead of two or three of 4 warps. With 64 directions, Triton up to 3.7
    uses TF32 on sm_100 where float32 is asked for.
    """
    return Tile(BLOCK_N=64, BLOCK_M=32, BLOCK_D=16, num_warps=4)


def backward_tile(D: int, random: bool) -> Tile:
    """The tile of the gradient: a program holds BLOCK_N whole rows of it in registers, fewer when they are wide.

    Random directions pass through registers too, BLOCK_M columns at a time.
    """
    return Tile(BLOCK_N=32 if D <= 256 else 16, BLOCK_M=16 if random and D > 192 else 32, BLOCK_D=32, num_warps=8)


def finish_tile(K: int) -> dict[str, int]:
    """The sums that a program takes at a time, 16 a thread: BLOCK_P cosine and sine parts of BLOCK_M directions."""
    parts = power_of_two(2 * (K - 1))
    return {"BLOCK_P": parts, "BLOCK_M": min(1024, 8192 // parts), "num_warps": 16}


def row_blocks(D: int) -> tuple[int, int]:
    """Two powers of two, or one and 0, that cover a row: 192 = 128 + 64, where a single one would be 256."""
    head = max(_LEAST, 1 << (D.bit_length() - 1))
    rest = D - head
    return head, max(_LEAST, power_of_two(rest)) if rest > 0 else 0


def power_of_two(length: int) -> int:
    """The least power of two that is not below `length`."""
    return 1 << (length - 1).bit_length()


def split(length: int, block: int, programs: int) -> tuple[int, int]:
    """The number of programs that share a loop over `length`, and the share of each: a multiple of `block`.

    No program is idle. If more than one shares the loop, the whole grid, which multiplies them by `programs`, has at
    most `_PROGRAMS`. This limits the memory of the partial results for all shapes.
    """
    blocks = -(-length // block)
    share = -(-blocks // min(blocks, max(1, _PROGRAMS // programs)))
    return -(-blocks // share), share * block
