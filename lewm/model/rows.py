"""Makes the result of a row independent of the rows beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# Products and convolutions of few rows take other code paths, with other rounding. From this number on, a row's result
# was found not to depend on the number of rows (float32, MKL, one thread: several divide a product by its size). A plan
# must not depend on the episodes beside it.
MIN_ROWS = 64

# In products whose widths are not multiples of this, MKL's rounding of a row depends on its place among the others.
WIDTHS = 8


def at_least_min_rows(
    function: Callable[[Tensor], Tensor], rows: Float[Tensor, "rows ..."], least: int = MIN_ROWS
) -> Float[Tensor, "rows ..."]:
    """`function` of the rows, called with `least` rows or more: zeros are added, and their results dropped."""
    missing = least - len(rows)
    if missing <= 0:
        return function(rows)
    return function(torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]))[: len(rows)]
