"""Matrix products of a rollout, counted from a model's sizes: all that the released code does, and those it takes.

One candidate, one latent of context, H blocks. Attention itself (scores and weighted sums over at most `history`
tokens) is left out: 0.3 % at the paper's sizes.

D latent width, W predictor width, F hidden width of a layer's MLP, P that of the projector.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lewm.config import Model


class Product(NamedTuple):
    """So many rows of K numbers times a matrix (K, N)."""

    rows: int
    K: int
    N: int


def multiply_adds(products: Iterable[Product]) -> int:
    """How many they are together."""
    return sum(rows * K * N for rows, K, N in products)


def released(model: Model, H: int) -> list[Product]:
    """Every window from its beginning, every token of it through every layer; each action is embedded once."""
    D, W, inner, F, P = _widths(model)
    first, hidden = model.action_embedder.bottleneck, model.action_embedder.hidden
    layer = [(W, 6 * W), (W, 3 * inner), (inner, W), (W, F), (F, W)]
    into, out = ([(D, W), (D, W)], [(W, D)]) if D != W else ([], [])  # latent and action; back to a latent
    products = [Product(H, model.action_block, first), Product(H, first, hidden), Product(H, hidden, D)]
    for step in range(H):
        tokens = min(step + 1, model.predictor.history)
        shapes = [*into, *layer * model.predictor.depth, *out, (D, P), (P, D)]
        products += [Product(tokens, K, N) for K, N in shapes]
    return products


def needed(model: Model, H: int) -> list[Product]:
    """What remains when nothing is computed twice or in vain.

    Neighbouring linear maps are one, modulations are one product over all layers and blocks, a growing window reuses
    the keys and values of its earlier tokens, and of the last layer only the last token goes on. A window's first token
    attends to itself alone, which is one map, too; the others need keys and values only less the first's.
    """
    D, W, inner, F, P = _widths(model)
    depth, history, hidden = model.predictor.depth, model.predictor.history, model.action_embedder.hidden
    products = [Product(H, model.action_block, hidden), Product(H, hidden, W), Product(H, W, 6 * W * depth)]
    for step in range(H):
        first = int(step == 0 or step >= history)  # the window is computed anew
        others = min(step, history - 1) if first else 1
        if D != W:
            products.append(Product(1, D, W))
        for layer in range(depth):
            last = layer == depth - 1
            asking, going_on = (min(others, 1), 1) if last else (others, first + others)
            products += [Product(first, W, W), Product(others, W, 2 * inner), Product(asking, W, inner)]
            products += [Product(asking, inner, W), Product(going_on, W, F), Product(going_on, F, W)]
        products += [Product(1, W, P), Product(1, P, D)]
    return [product for product in products if product.rows]


def _widths(model: Model) -> tuple[int, int, int, int, int]:
    predictor = model.predictor
    inner = predictor.heads * predictor.head_dim
    return model.latent, predictor.width, inner, predictor.mlp, model.projector_hidden
