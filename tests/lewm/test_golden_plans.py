"""Plans of the default planner, against committed ones.

`tests/golden/plans.npz` has the actions, (environments, steps, action width), of a tiny model whose weights are drawn
by `tests/golden/fill.py`. Its costs are so far apart that rounding, which differs between machines, chooses no other
elites: relative errors of 1e-6 changed none of these plans.
"""

import numpy as np
import pytest
import torch

from lewm.config import Cem, LastCost, Planning
from lewm.planning.controller import Controller
from lewm.planning.plan import Context

PLANNING = Planning(planner=Cem(samples=64, elites=8, iterations=10), cost=LastCost(), horizon=5)
LOW, HIGH = 0.2, 1.7  # bounds of actions, in environment units; plans without bounds exceed them


@pytest.fixture
def planned(make_model, golden, fill):
    """The actions of three environments, and the committed ones."""

    def plan(kind, history, groups):
        changes = {"model.predictor.history": history, "model.action_dim": sum(groups or (2,))}
        model = make_model(changes)
        drawn = {name: fill.fill(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
        model.load_state_dict({name: torch.from_numpy(np.asarray(values)) for name, values in drawn.items()})
        model.action_low.fill_(LOW)
        model.action_high.fill_(HIGH)
        latents, goals = (
            torch.from_numpy(fill.draw(name, (3, model.config.latent))).float() for name in ("latents", "goals")
        )
        controller = Controller(model, PLANNING, 5, groups)
        found = controller.plan(Context(latents[:, None]), goals, np.array([0, 7, 4096]), 2)
        with np.load(golden / "plans.npz") as committed:
            return controller.actions(found.actions), committed[f"{kind}-{history}"]

    return plan


@pytest.mark.parametrize("history", [1, 3])
def test_plans_of_numbers_are_golden(planned, history):
    actions, committed = planned("numbers", history, None)
    np.testing.assert_allclose(actions, committed, rtol=0, atol=1e-4)
    assert committed.min() >= LOW
    assert committed.max() <= HIGH


@pytest.mark.parametrize("history", [1, 3])
def test_plans_of_choices_are_golden(planned, history):
    actions, committed = planned("choices", history, (3, 2))
    np.testing.assert_array_equal(actions, committed)
