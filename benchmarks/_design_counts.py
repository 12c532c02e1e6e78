"""The costs of a rollout on a GPU in each design of the Triton kernels, from counts alone: a table for tables.py.

C candidates, H horizon in blocks, T its blocks of actions, N new tokens of a window, n of them that go on, W predictor
width, F hidden width of a layer's MLP, P that of the projector, D latent width, M modulations. Operands of products
have 2 bytes (bfloat16), sums have 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lewm.config import Model
from lewm.recipes import paper
from lewm_kernels.rollout.tiles import (
    DESIGNS,
    attention_in_tile,
    attention_out_tile,
    gelu_linear_tile,
    mlp_tile,
    whole_attention_tile,
    whole_mlp_tile,
)

# Data sheet of the H100 SXM: bfloat16 on the tensor cores, and memory.
H100_FLOPS, H100_BYTES = 989e12, 3.35e12
CUBLAS_ROWS = 128  # an assumption: this many rows share a reading of the weights
ENVIRONMENTS = (1, 50)


@dataclass(frozen=True)
class Launch:
    """One launch.

    Attributes:
        moved: Bytes of activations read and written.
        weights: Bytes of weights that it reads again for every tile of rows.
        multiply_adds: Multiply-adds of its products.
    """

    moved: float
    weights: float = 0
    multiply_adds: float = 0


def designs() -> str:
    """Every design for one and for 50 environments of the paper's model."""
    rows = [
        "| environments | design | launches a call | programs of an MLP's first | GFLOP a call | GB moved "
        "| GB of weights from L2 | arithmetic | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    config = paper("two-room", 2)
    model, planning = config.model, config.planning
    for environments in ENVIRONMENTS:
        for design in DESIGNS:
            C = environments * planning.planner.samples
            launches = list(of_call(model, design, C, planning.horizon))
            flops = 2 * sum(launch.multiply_adds for launch in launches)
            moved, weights = (sum(getattr(launch, name) for launch in launches) for name in ("moved", "weights"))
            cells = [
                environments,
                design,
                len(launches),
                mlp_programs(model, design, C),
                f"{flops / 1e9:,.0f}",
                f"{moved / 1e9:.2g}",
                f"{weights / 1e9:.2g}",
                _milliseconds(planning.planner.iterations * flops / H100_FLOPS),
                _milliseconds(planning.planner.iterations * moved / H100_BYTES),
            ]
            rows.append(f"| {' | '.join(map(str, cells))} |")
    last = (
        f"The last two: what the multiply-adds of a solve of {planning.planner.iterations} calls take at least, and "
        "its bytes if all of them come from memory."
    )
    return "\n".join([*rows, "", last, ""])


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.{1 if seconds < 0.01 else 0}f} ms"


def mlp_programs(model: Model, design: str, C: int) -> int:
    """Programs of the launch with an MLP's first product, for one new token: an H100 has 132 multiprocessors."""
    W, F = model.predictor.width, model.predictor.mlp
    if design == "layerwise":
        tile = gelu_linear_tile(C, W, 2)
        (programs,) = tile.grid(C, -(-F // tile.step))
    else:
        tile = mlp_tile(C, 1, W, F, 2) if design == "split" else whole_mlp_tile(F)
        (programs,) = tile.grid(C, 1)
    return programs


def of_call(model: Model, design: str, C: int, H: int) -> Iterator[Launch]:
    """The launches of the layers and the projector, for one latent of context."""
    sizes = model.predictor
    W, inner, depth, history = sizes.width, sizes.heads * sizes.head_dim, sizes.depth, sizes.history
    M, T = 6 * W * depth, H
    yield Launch(2 * T * C * M, 2 * W * M * -(-T * C // CUBLAS_ROWS), T * C * W * M)  # modulations
    count = {"split": _split, "whole": _whole, "layerwise": _layerwise}[design]
    for step in range(H):
        N = 1 if step < history else history
        place = min(step, history - 1) + 1 - N
        for layer in range(depth):
            n = 1 if layer == depth - 1 else N
            yield from count(model, C, N, n, place, W, inner, layer == 0)
        yield from _projector(model, design, C, W)


def _enter(C: int, N: int, W: int, is_first: bool = False) -> Launch:
    """x, branch, gate, shift and scale, and x again; the first layer has neither branch nor gate, and keeps x."""
    return Launch(N * C * W * ((4 + 4 if is_first else 4 + 2 + 6 + 4) + 2))


def _layerwise(
    model: Model, C: int, N: int, n: int, place: int, W: int, inner: int, is_first: bool
) -> Iterator[Launch]:
    F = model.predictor.mlp
    seen = sum(place + N - n + j + 1 for j in range(n))  # keys of all queries
    yield _enter(C, N, W, is_first)
    yield _product(C, N, W, 3 * inner)
    yield Launch(2 * C * inner * (2 * n + 2 * seen))
    yield _product(C, n, inner, W)
    yield _enter(C, n, W)
    yield _product(C, n, W, F)
    yield _product(C, n, F, W)


def _whole(model: Model, C: int, N: int, n: int, place: int, W: int, inner: int, is_first: bool) -> Iterator[Launch]:
    yield _enter(C, N, W, is_first)
    tiles = -(-C // whole_attention_tile(model.predictor.head_dim).rows)
    for token in range(place + N - n, place + N):
        others = token * 2 * W * inner + bool(token) * 2 * W * inner  # keys and values; the query, and the product
        weights = 2 * (W * W + bool(token) * 4 * W * inner)
        yield Launch(2 * C * W * (token + 2), weights * tiles, C * (W * W + others))
    F = model.predictor.mlp
    tiles = n * -(-C // whole_mlp_tile(F).rows)
    yield Launch(n * C * W * (4 + 2 + 6 + 4 + 2), 4 * W * F * tiles, 2 * n * C * W * F)


def _split(model: Model, C: int, N: int, n: int, place: int, W: int, inner: int, is_first: bool) -> Iterator[Launch]:
    sizes = model.predictor
    into = attention_in_tile(C, N, W, 3 * inner, 2)
    out = attention_out_tile(C, n, W, sizes.heads, sizes.head_dim, 2)
    mlp = mlp_tile(C, N, W, sizes.mlp, 2)
    seen = sum(place + N - n + j + 1 for j in range(n))
    queries = sum(place + N - n + j > 0 for j in range(n))
    columns = N * 2 * inner + queries * inner
    entered = 4 + (0 if is_first else 4 * mlp.splits + 2 + 4) + 4
    yield Launch(C * (N * W * entered + 2 * columns), 2 * W * 3 * inner * N * -(-C // into.rows), C * W * columns)
    yield Launch(
        2 * C * inner * (queries + 2 * seen) + 4 * n * C * W * out.splits,
        2 * W * inner * n * -(-C // out.rows),
        n * C * W * inner,
    )
    mlp = mlp_tile(C, n, W, sizes.mlp, 2)
    yield Launch(
        n * C * W * (4 + 4 * out.splits + 6 + 4 + 4 * mlp.splits),
        4 * W * sizes.mlp * n * -(-C // mlp.rows),
        2 * n * C * W * sizes.mlp,
    )


def _projector(model: Model, design: str, C: int, W: int) -> Iterator[Launch]:
    P, D = model.predictor.projector_hidden, model.latent
    if design == "layerwise":
        yield Launch(C * W * (4 + 2 + 2 + 2))
        yield _product(C, 1, W, P)
        yield _product(C, 1, P, D)
        yield Launch(C * D * (2 + 4))
        return
    tile = mlp_tile(C, 1, W, P, 2) if design == "split" else whole_mlp_tile(P)
    parts = tile.splits
    yield Launch(C * (W * (4 + 4 * parts + 2) + 4 * D * parts), 2 * (W + D) * P * -(-C // tile.rows), C * P * (W + D))
    if design == "split":
        yield Launch(4 * C * D * (parts + 1))


def _product(C: int, N: int, K: int, outputs: int) -> Launch:
    rows = N * C
    return Launch(2 * rows * (K + outputs), 2 * K * outputs * -(-rows // CUBLAS_ROWS), rows * K * outputs)
