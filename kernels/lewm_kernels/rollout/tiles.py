"""The tiles of the rollout's Triton kernels: pure functions of the shapes, so that equal shapes sum in equal order.

Shapes: C candidates of all environments, N new tokens of a window.

They were chosen by the compiler's reports for sm_80, sm_90 and sm_100: at the paper's sizes no register spills inside
a loop, operands have two buffers or more, and the shared memory fits all three. In the design "whole" it is more
important that two programs fit a multiprocessor of sm_90: its attention has one buffer, and spills a little at the
last place of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lewm_kernels.rollout.pack import Packed

# Multiprocessors of a large GPU: a constant and not a property of the device, so that sums have one order everywhere.
_PROGRAMS = 132

# The most programs that share a tile of rows. Each reads the partial sums of all those before it, so more programs
# would cost more than they save.
_MOST_SPLITS = 8

# With more warps, 128 rows would not fit the registers of a thread; with fewer, 16 rows would wait longer for memory.
_WARPS = 8

# The least extent of an operand that `tl.dot` takes.
_LEAST = 16

# Beyond these, registers spill inside the loops, or compiling takes minutes.
_WIDTHS = {2: 512, 4: 256}  # bytes of an operand to the largest width
_HEAD_DIMS = (16, 32, 64, 128)
_HISTORY = 8
_WHOLE_WIDTH, _WHOLE_HEAD_DIM, _WHOLE_HISTORY = 192, 64, 3
_WHOLE_CAPABILITY = (9, 0)

# The designs of a layer's computation: each is a module of this name.
DESIGNS = ("split", "whole", "layerwise")

# From this number of candidates on, "whole" is taken: its tiles of 64 rows are then half as many as the multiprocessors
# of a large GPU, and it moves a quarter of the bytes. This is a guess from counts, not a measured crossing point.
_MANY = 4096


@dataclass(frozen=True)
class Tile:
    """The part of the work that a program holds at a time.

    Attributes:
        rows: Number of candidates, all at one token.
        step: Number of a product's outputs at a time: columns, or hidden units.
        stages: Number of buffers of operands.
        warps: Number of the program's warps.
        splits: Number of programs that share the work of a tile of rows.
        share: The share of each of them: columns, hidden units, or heads.
    """

    rows: int
    step: int
    stages: int
    warps: int
    splits: int = 1
    share: int = 0

    def grid(self, C: int, N: int) -> tuple[int]:
        """The number of programs for C rows of N tokens each."""
        return (-(-C // self.rows) * N * self.splits,)

    def options(self) -> dict[str, Any]:
        """The options of a kernel's launch."""
        options = {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}
        return {"BLOCK_R": self.rows, **options}


def design_for(C: int, packed: Packed) -> str:
    """The design that should be the fastest for C candidates, by counts.

    Few candidates give too few programs for "whole", and "split" reads the weights once for each tile of 16 or 32 rows;
    so their products are left to cuBLAS. So are products of float32, because whole rows of them do not fit a program.
    """
    return "whole" if C >= _MANY and unsupported_whole(packed) is None else "layerwise"


def options(packed: Packed, tile: Tile) -> dict[str, Any]:
    """The common arguments of all kernels whose rows are as wide as the predictor."""
    size = packed.modulation_weight.element_size()
    return {**tile.options(), "WIDTH": packed.width, "BLOCK_W": columns(packed.width, size), **precision(packed)}


def precision(packed: Packed) -> dict[str, Any]:
    """The rounding of the operands of a kernel's products, and of the values that it leaves for the next product."""
    return {"PRECISION": "tf32" if packed.precision == "tf32" else "ieee"}


def attention_in_tile(C: int, N: int, width: int, outputs: int, size: int) -> Tile:
    """The tile of one product with `outputs` columns; operands have `size` bytes."""
    rows = _rows(C, N, _most_rows(width, size))
    step = 128 if size == 2 and rows > 32 else 64
    return Tile(rows, step, _stages(rows, width, size), _WARPS, *_split(outputs, step, C, N, rows))


def attention_out_tile(C: int, N: int, width: int, heads: int, head_dim: int, size: int) -> Tile:
    """The tile of attention, a head at a time, and the product after it."""
    most = 64 if size == 2 and width <= 192 else 32
    rows = _rows(C, N, most if head_dim <= 64 else most // 2)
    return Tile(rows, head_dim, 2, _WARPS, *_split(heads, 1, C, N, rows))


def mlp_tile(C: int, N: int, width: int, hidden: int, size: int) -> Tile:
    """The tile of two products with `hidden` units between them."""
    rows = _rows(C, N, _most_rows(width, size))
    step = 64 if size == 2 else 32
    return Tile(rows, step, _stages(rows, width, size), _WARPS, *_split(hidden, step, C, N, rows))


def whole_attention_tile(head_dim: int) -> Tile:
    """The tile of all attention; two programs fit a multiprocessor, and one computes while the other waits."""
    return Tile(64, min(32, head_dim), 1, 4)


def whole_mlp_tile(hidden: int) -> Tile:
    """The tile of two products; one program's GELU overlaps the products of another on the same multiprocessor."""
    return Tile(64, 32, 3, 4, share=-(-hidden // 32) * 32)


def enter_tile() -> Tile:
    """The tile of the work before a product. Each row is read and written once, so many small programs are best."""
    return Tile(8, 0, 1, 4)


def attend_tile() -> Tile:
    """The tile of one head."""
    return Tile(32, 0, 1, 4)


def gelu_linear_tile(R: int, width: int, size: int) -> Tile:
    """The tile of one product of R rows, with a block of columns for each program."""
    if size == 2 and width <= 192:
        return Tile(128, 128, 1, 8) if R >= 64 * _PROGRAMS else Tile(64, 64, 1, 4)
    return Tile(32, 64, 1, _WARPS)


def columns(width: int, size: int) -> int:
    """The width of a block of columns, of which a row is a tuple: 192 is no power of two, but three times 64."""
    return min(64 if size == 2 else 32, max(_LEAST, 1 << (width - 1).bit_length()))


def unsupported(packed: Packed) -> str | None:
    """The property of a model that the kernels do not support, or None."""
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


def unsupported_whole(packed: Packed) -> str | None:
    """The property of a model that "whole" does not support, or None: its rows would not fit a program's registers."""
    if packed.precision != "bf16":
        return f"its kernels multiply in bf16, and the model is packed in {packed.precision}"
    if packed.device.type == "cuda" and torch.cuda.get_device_capability(packed.device) < _WHOLE_CAPABILITY:
        return "GPUs before compute capability 9.0 keep operands of products in registers"
    if max(packed.width, packed.latent) > _WHOLE_WIDTH:
        return f"rows of width {max(packed.width, packed.latent)} are wider than {_WHOLE_WIDTH}"
    head_dim = packed.inner // packed.heads
    if head_dim > _WHOLE_HEAD_DIM:
        return f"heads of width {head_dim} are wider than {_WHOLE_HEAD_DIM}"
    if packed.history > _WHOLE_HISTORY:
        return f"windows of {packed.history} latents are longer than {_WHOLE_HISTORY}"
    return None


def _most_rows(width: int, size: int) -> int:
    most = 128 if width <= 192 else 64 if width <= 256 else 32
    return most if size == 2 else most // 2


def _stages(rows: int, width: int, size: int) -> int:
    return 3 if size == 2 and rows <= 32 and width <= 256 else 2


def _rows(C: int, N: int, most: int) -> int:
    """The rows of a tile that four programs can share, at most `most`, where there are rows enough for the GPU."""
    rows = _LEAST
    while rows < most and 4 * N * -(-C // rows) > _PROGRAMS:
        rows *= 2
    return rows


def _split(length: int, step: int, C: int, N: int, rows: int) -> tuple[int, int]:
    """The number of programs that share a length, none of them idle, and the share of each: a multiple of `step`."""
    steps = -(-length // step)
    share = -(-steps // min(_MOST_SPLITS, max(1, _PROGRAMS // (N * -(-C // rows)))))
    return -(-steps // share), share * step
