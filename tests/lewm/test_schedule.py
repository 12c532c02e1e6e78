"""Horizons shrink towards the planned arrival, and plans are counted without being made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm.config import Cem, LastCost, Planning
from lewm.planning.schedule import Schedule


def schedule(horizon, execute, horizon_end="shrink"):
    return Schedule.of(
        Planning(planner=Cem(), cost=LastCost(), horizon=horizon, execute=execute, horizon_end=horizon_end)
    )


@pytest.mark.parametrize(
    ("execute", "horizon_end", "stages"),
    [
        (1, "shrink", [(5, 1), (4, 1), (3, 1), (2, 1), (1, 1), (5, 1), (4, 1)]),
        (2, "shrink", [(5, 2), (3, 2), (1, 1), (5, 2)]),
        (5, "shrink", [(5, 5), (5, 5)]),
        (None, "shrink", [(5, 5), (5, 5)]),
        (1, "fixed", [(5, 1), (5, 1), (5, 1)]),
        (2, "fixed", [(5, 2), (5, 2), (5, 2)]),
        (None, "fixed", [(5, 5), (5, 5)]),
    ],
)
def test_stages_of_a_horizon_of_five(execute, horizon_end, stages):
    of_five = schedule(5, execute, horizon_end)
    assert [of_five.stage(replan) for replan in range(len(stages))] == stages


@given(st.data())
def test_arrivals_are_a_horizon_apart_and_plans_are_as_many_as_are_made(data):
    horizon = data.draw(st.integers(1, 12))
    execute = data.draw(st.none() | st.integers(1, horizon))
    horizon_end = data.draw(st.sampled_from(["shrink", "fixed"]))
    blocks = data.draw(st.integers(0, 60))
    drawn = schedule(horizon, execute, horizon_end)
    done = plans = 0
    while done < blocks:
        planned, executed = drawn.stage(plans)
        assert planned == (horizon if horizon_end == "fixed" else horizon - done % horizon)
        assert 0 < executed <= planned
        done, plans = done + executed, plans + 1
    assert drawn.plans(blocks) == plans
