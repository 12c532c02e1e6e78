"""How the Triton kernels of the rollout cut their work: pure functions of the shapes, so that equal shapes sum alike.

Shapes: C candidates of all environments, N new tokens of a window.

Chosen by what the compiler reports for sm_80, sm_90 and sm_100: no register spilled inside a loop at the paper's sizes,
two buffers of operands or more, and shared memory that all three have.
"""

from __future__ import annotations

from dataclasses import dataclass

from lewm_kernels.rollout.pack import Packed

# Multiprocessors of a large GPU. A constant and not a property of the device, so that sums have one order everywhere.
_PROGRAMS = 132

# Programs that share a tile of rows. Each reads what all those before it left, so more would cost more than they save.
_MOST_SPLITS = 8

# The least extent of an operand that `tl.dot` takes.
_LEAST = 16

# Beyond these, registers spill inside the loops, or compiling takes minutes.
_WIDTHS = {2: 512, 4: 256}  # by bytes of an operand
_HEAD_DIMS = (16, 32, 64, 128)
_HISTORY = 8


@dataclass(frozen=True)
class Tile:
    """What a program holds at a time.

    Attributes:
        rows: Candidates, all at one token.
        step: Outputs of a product: columns, or hidden units.
        splits: Programs that share what a tile of rows goes through.
        share: What each of them takes of it: columns, hidden units, or heads.
        stages: Buffers of operands.
    """

    rows: int
    step: int
    splits: int
    share: int
    stages: int


def attention_in_tile(C: int, N: int, width: int, outputs: int, size: int) -> Tile:
    """Rows through one product with `outputs` columns; operands have `size` bytes."""
    rows = _rows(C, N, _most_rows(width, size))
    step = 128 if size == 2 and rows > 32 else 64
    return Tile(rows, step, *_split(outputs, step, C, N, rows), _stages(rows, width, size))


def attention_out_tile(C: int, N: int, width: int, heads: int, head_dim: int, size: int) -> Tile:
    """Rows through attention, a head at a time, and the product after it."""
    most = 64 if size == 2 and width <= 192 else 32
    rows = _rows(C, N, most if head_dim <= 64 else most // 2)
    return Tile(rows, head_dim, *_split(heads, 1, C, N, rows), 2)


def mlp_tile(C: int, N: int, width: int, hidden: int, size: int) -> Tile:
    """Rows through two products with `hidden` units between them."""
    rows = _rows(C, N, _most_rows(width, size))
    step = 64 if size == 2 else 32
    return Tile(rows, step, *_split(hidden, step, C, N, rows), _stages(rows, width, size))


def columns(width: int, size: int) -> int:
    """Columns of one tensor, of which a row is a tuple: 192 is no power of two, and three times 64 is."""
    return min(64 if size == 2 else 32, max(_LEAST, 1 << (width - 1).bit_length()))


def unsupported(packed: Packed) -> str | None:
    """What in a model the kernels do not take, or None."""
    widest = _WIDTHS[packed.tail_weight.element_size()]
    width = max(packed.width, packed.latent)
    if width > widest:
        return f"rows of width {width} are wider than {widest} in precision {packed.precision}"
    head_dim = packed.inner // packed.heads
    if head_dim not in _HEAD_DIMS:
        return f"heads of width {head_dim} are not one of {', '.join(map(str, _HEAD_DIMS))}"
    if packed.history > _HISTORY:
        return f"windows of {packed.history} latents are longer than {_HISTORY}"
    return None


def _most_rows(width: int, size: int) -> int:
    most = 128 if width <= 192 else 64 if width <= 256 else 32
    return most if size == 2 else most // 2


def _stages(rows: int, width: int, size: int) -> int:
    return 3 if size == 2 and rows <= 32 and width <= 256 else 2


def _rows(C: int, N: int, most: int) -> int:
    """So many that four programs can share a tile; where that takes more than `most`, there are rows enough."""
    rows = _LEAST
    while rows < most and 4 * N * -(-C // rows) > _PROGRAMS:
        rows *= 2
    return rows


def _split(length: int, step: int, C: int, N: int, rows: int) -> tuple[int, int]:
    """How many programs share a length, and how much of it each takes: a multiple of `step`. None is idle."""
    steps = -(-length // step)
    share = -(-steps // min(_MOST_SPLITS, max(1, _PROGRAMS // (N * -(-C // rows)))))
    return -(-steps // share), share * step
