"""Makes the result of a row independent of the rows beside it.

B rows, P tokens, W width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Products and convolutions of few rows take other code paths, with other rounding. From this number on, a row's result
# was found not to depend on the number of rows (float32, MKL). A plan must not depend on the episodes beside it.
MIN_ROWS = 64

# In products whose widths are not multiples of this, MKL's rounding of a row depends on its place among the others.
WIDTHS = 8

# PyTorch's attention on CPUs gives each thread memory for a block of at most 32 tokens. Where that block is smaller, or
# a head's width is not a multiple of 8, the threads' memories are not all aligned alike, and rounding depends on which
# thread computes a row. A single block is not left to one thread, but MKL divides it, with other rounding. With this
# number of tokens and more there are several whole blocks: no size was found that depends on threads, of 1 to 4.
MIN_TOKENS = 33


def at_least_min_rows(
    function: Callable[[Tensor], Tensor], rows: Float[Tensor, "rows ..."], least: int = MIN_ROWS
) -> Float[Tensor, "rows ..."]:
    """`function` of the rows, called with `least` rows or more: zeros are added, and their results dropped."""
    missing = least - len(rows)
    if missing <= 0:
        return function(rows)
    return function(torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]))[: len(rows)]


def attention(
    query: Float[Tensor, "B heads P W"], key: Float[Tensor, "B heads P W"], value: Float[Tensor, "B heads P W"]
) -> Float[Tensor, "B heads P W"]:
    """Attention of all P tokens to all, with a result for a row that does not depend on the rows beside it.

    Few tokens and narrow heads get zeros added. Nothing attends to the tokens that are added, and they are dropped.
    """
    tokens, width = query.shape[-2:]
    more_tokens, wider = 2 * (MIN_TOKENS - 1) - tokens if tokens < MIN_TOKENS else 0, -width % WIDTHS
    if not more_tokens and not wider:
        return F.scaled_dot_product_attention(query, key, value)
    query, key, value = (F.pad(one, (0, wider, 0, more_tokens)) for one in (query, key, value))
    everywhere = tokens + more_tokens
    there = torch.arange(everywhere, device=query.device) < tokens
    mask = there.expand(everywhere, everywhere) if more_tokens else None
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=width**-0.5)[..., :tokens, :width]
