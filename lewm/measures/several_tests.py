"""Tests of several hypotheses at once.

P hypotheses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's p-values: those below 5 % are all true with 95 % probability, however many hypotheses there are.

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
