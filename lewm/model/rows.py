"""Results of a row that do not depend on the rows beside it.

R rows, I and O widths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Matrix products of few rows take other code paths, with other rounding. From here on a row's result was found not to
# depend on the number of rows (float32, MKL), and a plan must not depend on how many episodes run beside it.
MIN_ROWS = 64


def at_least_min_rows(
    function: Callable[[Float[Tensor, "P I"]], Float[Tensor, "P O"]], rows: Float[Tensor, "R I"]
) -> Float[Tensor, "R O"]:
    """`function` of the rows, called with at least MIN_ROWS of them: zeros are added and their results dropped."""
    missing = MIN_ROWS - len(rows)
    return function(rows) if missing <= 0 else function(F.pad(rows, (0, 0, 0, missing)))[: len(rows)]
