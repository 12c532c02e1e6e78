"""Tests of several hypotheses at once.

P hypotheses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's p-values.

    With a probability of at least 95 %, no hypothesis that is true has a p-value below 5 %, however many there are.

    Source: Holm, Scand. J. Statist. 6 (1979).

    Args:
        p_values: P of them.
    """
    found = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(found, kind="stable")
    corrected = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    result = np.empty_like(found)
    result[order] = np.minimum(corrected, 1)
    return tuple(result.tolist())
