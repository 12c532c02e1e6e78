"""How the Triton kernels of the rollout cut their work: pure functions of the shapes, so that equal shapes sum alike.

Shapes: C candidates of all environments, N new tokens of a window.

Chosen by what the compiler reports for sm_80, sm_90 and sm_100: no register spilled inside a loop at the paper's sizes,
two buffers of operands or more, and shared memory that all three have. In the design "whole" two programs on a
multiprocessor of sm_90 come first: its attention has one buffer, and spills a little at the last place of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lewm_kernels.rollout.pack import Packed

# Multiprocessors of a large GPU. A constant and not a property of the device, so that sums have one order everywhere.
_PROGRAMS = 132

# Programs that share a tile of rows. Each reads what all those before it left, so more would cost more than they save.
_MOST_SPLITS = 8

# With more, 128 rows would not fit the registers of a thread; with fewer, 16 rows would wait longer for memory.
_WARPS = 8

# The least extent of an operand that `tl.dot` takes.
_LEAST = 16

# Beyond these, registers spill inside the loops, or compiling takes minutes.
_WIDTHS = {2: 512, 4: 256}  # by bytes of an operand
_HEAD_DIMS = (16, 32, 64, 128)
_HISTORY = 8
_WHOLE_WIDTH, _WHOLE_HEAD_DIM, _WHOLE_HISTORY = 192, 64, 3
_WHOLE_CAPABILITY = (9, 0)

# How the layers of a rollout are computed: the modules of these names say how.
DESIGNS = ("split", "whole", "layerwise")

# From so many candidates on, "whole" is taken: its tiles of 64 rows are then half as many as the multiprocessors of a
# large GPU, and it moves a quarter of the bytes. A guess from counts: where the designs meet has not been measured.
_MANY = 4096


@dataclass(frozen=True)
class Tile:
    """What a program holds at a time.

    Attributes:
        rows: Candidates, all at one token.
        step: Outputs of a product: columns, or hidden units.
        stages: Buffers of operands.
        warps: Warps of the program.
        splits: Programs that share what a tile of rows goes through.
        share: What each of them takes of it: columns, hidden units, or heads.
    """

    rows: int
    step: int
    stages: int
    warps: int
    splits: int = 1
    share: int = 0

    def grid(self, C: int, N: int) -> tuple[int]:
        """Programs for C rows of N tokens each."""
        return (-(-C // self.rows) * N * self.splits,)

    def options(self) -> dict[str, Any]:
        """How a kernel is launched."""
        options = {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}
        return {"BLOCK_R": self.rows, **options}


def design_for(C: int, packed: Packed) -> str:
    """The design that should be the fastest for C candidates, by counts.

    Few candidates are too few programs for "whole", and tiles of 16 or 32 rows in "split" read the weights anew for
    each; so their products are left to cuBLAS. Products of float32 are too, of which whole rows do not fit a program.
    """
    return "whole" if C >= _MANY and unsupported_whole(packed) is None else "layerwise"


def options(packed: Packed, tile: Tile) -> dict[str, Any]:
    """What all kernels of rows as wide as the predictor are told."""
    size = packed.modulation_weight.element_size()
    return {**tile.options(), "WIDTH": packed.width, "BLOCK_W": columns(packed.width, size), **precision(packed)}


def precision(packed: Packed) -> dict[str, Any]:
    """How kernels round the operands of their products, and what they leave for the next product."""
    return {"PRECISION": "tf32" if packed.precision == "tf32" else "ieee"}


def attention_in_tile(C: int, N: int, width: int, outputs: int, size: int) -> Tile:
    """Rows through one product with `outputs` columns; operands have `size` bytes."""
    rows = _rows(C, N, _most_rows(width, size))
    step = 128 if size == 2 and rows > 32 else 64
    return Tile(rows, step, _stages(rows, width, size), _WARPS, *_split(outputs, step, C, N, rows))


def attention_out_tile(C: int, N: int, width: int, heads: int, head_dim: int, size: int) -> Tile:
    """Rows through attention, a head at a time, and the product after it."""
    most = 64 if size == 2 and width <= 192 else 32
    rows = _rows(C, N, most if head_dim <= 64 else most // 2)
    return Tile(rows, head_dim, 2, _WARPS, *_split(heads, 1, C, N, rows))


def mlp_tile(C: int, N: int, width: int, hidden: int, size: int) -> Tile:
    """Rows through two products with `hidden` units between them."""
    rows = _rows(C, N, _most_rows(width, size))
    step = 64 if size == 2 else 32
    return Tile(rows, step, _stages(rows, width, size), _WARPS, *_split(hidden, step, C, N, rows))


def whole_attention_tile(head_dim: int) -> Tile:
    """Rows through all of attention; two programs fit a multiprocessor, and one computes while the other waits."""
    return Tile(64, min(32, head_dim), 1, 4)


def whole_mlp_tile(hidden: int) -> Tile:
    """Rows through two products; of two programs on a multiprocessor, one's GELU overlaps the other's products."""
    return Tile(64, 32, 3, 4, share=-(-hidden // 32) * 32)


def enter_tile() -> Tile:
    """Rows through what stands before a product. Each is read and written once, so many small programs are best."""
    return Tile(8, 0, 1, 4)


def attend_tile() -> Tile:
    """Rows through one head."""
    return Tile(32, 0, 1, 4)


def gelu_linear_tile(R: int, width: int, size: int) -> Tile:
    """R rows through one product, a block of columns a program."""
    if size == 2 and width <= 192:
        return Tile(128, 128, 1, 8) if R >= 64 * _PROGRAMS else Tile(64, 64, 1, 4)
    return Tile(32, 64, 1, _WARPS)


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


def unsupported_whole(packed: Packed) -> str | None:
    """What in a model the design "whole" does not take, or None: its rows would not fit the registers of a program."""
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
