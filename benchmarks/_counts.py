"""Matrix products of a rollout, counted from a model's sizes: those of the released code, and those that are needed.

The counts are for one candidate, one latent of context and H blocks. Attention itself (scores and weighted sums over at
most `history` tokens) is left out: it is 0.3 % at the paper's sizes.

D latent width, W predictor width, F hidden width of a layer's MLP, P that of the projector.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lewm.config import Model


class Product(NamedTuple):
    """The product of rows of K numbers with a matrix (K, N)."""

    rows: int
    K: int
    N: int


def multiply_adds(products: Iterable[Product]) -> int:
    """The number of multiply-adds of all products."""
    return sum(rows * K * N for rows, K, N in products)


def released(model: Model, H: int) -> list[Product]:
    """Each window from its beginning, all its tokens through all layers; each action is embedded once."""
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
    """The products that remain when nothing is computed twice or without use.

    Neighbouring linear maps are one, modulations are one product over all layers and blocks, a growing window reuses
    the keys and values of its earlier tokens, and only the last token leaves the last layer. A window's first token
    attends to itself alone, which is one map, too; the others need only the differences of keys and values from the
    first's.
    """
    D, W, inner, F, P = _widths(model)
    depth, history, hidden = model.predictor.depth, model.predictor.history, model.action_embedder.hidden
    products = [Product(H, model.action_block, hidden), Product(H, hidden, W), Product(H, W, 6 * W * depth)]
    for step in range(H):
        first = int(step == 0 or step >= history)  # the whole window is computed
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
    return model.latent, predictor.width, inner, predictor.mlp, predictor.projector_hidden
