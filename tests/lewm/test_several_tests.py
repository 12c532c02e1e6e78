"""Corrections for several tests at once: values by hand, and their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm.measures.several_tests import holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_by_hand():
    """0.01 · 3, 0.02 · 2, and the last not below the one before."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx((0.04, 0.03, 0.04))
    assert holm([0.9, 0.8]) == (1, 1)
    assert holm([]) == ()


def test_hypotheses_are_rejected_until_one_is_not():
    """0.01 <= 0.05 / 4 and 0.016 <= 0.05 / 3, but 0.03 > 0.05 / 2, so 0.04 is not rejected either."""
    assert [p <= 0.05 for p in holm([0.03, 0.01, 0.04, 0.016])] == [False, True, False, True]


@given(P_VALUES)
def test_holm_keeps_the_order_and_is_never_below(values):
    corrected = holm(values)
    assert all(value <= one <= 1 for value, one in zip(values, corrected, strict=True))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)
    assert min(corrected) == pytest.approx(min(1, len(values) * min(values)))
