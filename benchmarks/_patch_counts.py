"""Arithmetic, bytes and launches of a rollout by LeWM and by a world model of DINO-WM's size.

The counts are for one candidate, one frame of context and H blocks, so that times can be predicted from them.

C width of DINO-WM's tokens, P its patches, n tokens of a window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from _counts import Product, multiply_adds, needed, released
from _design_counts import of_call
from dino_wm_sized import EXTRA, HEAD_DIM, HISTORY, LAYERS, MLP, PREDICTOR_HEADS, WIDTH
from torch.utils._python_dispatch import TorchDispatchMode

from lewm.config import Model
from lewm.model.world_model import WorldModel
from lewm_kernels.rollout.tiles import design_for

FLOAT = 4  # bytes
FREE = ("_unsafe_view", "empty", "empty_like", "empty_strided")  # operators that start no kernel, and return no view


@dataclass(frozen=True)
class Arithmetic:
    """What one candidate's rollout takes.

    Attributes:
        tokens: Tokens that pass the predictor's layers, over all windows.
        products: Multiply-adds of the matrix products.
        attention: Multiply-adds of attention's scores and weighted sums.
        written: Bytes of the products' results in float32, each of which is written and read again.
    """

    tokens: int
    products: int
    attention: int
    written: int

    @property
    def multiply_adds(self) -> int:
        """All of them."""
        return self.products + self.attention


def of_patches(patches: int, action_block: int, H: int) -> Arithmetic:
    """Every window from its beginning, all patches of its frames through all layers."""
    windows = [min(step + 1, HISTORY) * patches for step in range(H)]
    seen = [(n, n) for n in windows]  # also of the pairs that the mask leaves out
    return _of_tokens(WIDTH + 2 * EXTRA, seen, action_block, H)


def of_kept(patches: int, action_block: int, H: int) -> Arithmetic:
    """Arithmetic of `lewm/model/patches.py`, which keeps keys and values until the window slides."""
    entered = [(place,) if place < HISTORY else range(HISTORY) for place in range(H)]
    seen = [(patches, (place + 1) * patches) for places in entered for place in places]
    return _of_tokens(WIDTH + EXTRA, seen, action_block, H)


def _of_tokens(width: int, seen: list[tuple[int, int]], action_block: int, H: int) -> Arithmetic:
    """Arithmetic of calls of all layers, each with so many tokens of a width, which see so many places each."""
    inner = PREDICTOR_HEADS * HEAD_DIM
    layer = [(width, 3 * inner), (inner, width), (width, MLP), (MLP, width)]
    products = [Product(n, K, N) for n, _ in seen for K, N in layer * LAYERS]
    products.append(Product(H, action_block, EXTRA))
    attention = sum(2 * n * places * inner * LAYERS for n, places in seen)
    return _arithmetic(sum(n for n, _ in seen), products, attention)


def of_lewm(model: Model, H: int, once: bool) -> Arithmetic:
    """Arithmetic of the released code; with `once`, what is left when nothing is computed twice or without use."""
    predictor = model.predictor
    windows = [min(step + 1, predictor.history) for step in range(H)]
    attention = sum(2 * n * n * predictor.heads * predictor.head_dim * predictor.depth for n in windows)
    return _arithmetic(sum(windows), (needed if once else released)(model, H), attention)


def lewm_launches(model: WorldModel, C: int, H: int) -> int:
    """The launches of the rollout of C candidates on a GPU, in the design that is chosen there."""
    return len(list(of_call(model.config, design_for(C, model.pack("bf16")), C, H)))


def launches(call: Callable[[], object]) -> int:
    """The operators that a call starts and that compute something: on a GPU, at least a kernel each."""
    counted = _Counting()
    with counted:
        call()
    return counted.started


def _arithmetic(tokens: int, products: list[Product], attention: int) -> Arithmetic:
    written = FLOAT * sum(product.rows * product.N for product in products)
    return Arithmetic(tokens, multiply_adds(products), attention, written)


class _Counting(TorchDispatchMode):
    """Counts operators, without those that only view or allocate."""

    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        returned = [one.alias_info for one in function._schema.returns]
        is_view = not all(alias is None or alias.is_write for alias in returned)
        self.started += not is_view and function.overloadpacket.__name__ not in FREE
        return function(*args, **(kwargs or {}))


def weights(module: torch.nn.Module) -> int:
    """Bytes of a module's parameters in float32."""
    return FLOAT * sum(parameter.numel() for parameter in module.parameters())
