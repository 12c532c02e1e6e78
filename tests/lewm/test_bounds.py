"""Plans stay within the bounds of actions, and without bounds they are what they were."""

import numpy as np
import pytest
import torch

import lewm
from lewm import recipes
from lewm.config import Cem
from lewm.model.actions import BlockBounds
from lewm.planning.controller import Controller
from lewm.planning.costs.distance import last
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners.cem import cem
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

H, A = 3, 4
SETTINGS = Cem(samples=128, elites=16, iterations=20)
LOW, HIGH = [-0.4, -0.05], [0.3, 0.6]  # bounds of an action, in environment units; none of them is a float32


@pytest.fixture
def bounded(model):
    """A model whose plans leave these bounds unless they are kept."""
    model.action_mean.copy_(torch.tensor([0.1, -0.3]))
    model.action_std.copy_(torch.tensor([0.7, 0.9]))
    model.action_low.copy_(torch.tensor(LOW))
    model.action_high.copy_(torch.tensor(HIGH))
    return model


def plan(model, planning, groups=None):
    frames = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    controller = Controller(model, planning, 5, groups)
    context, goals = Context(controller.embed(frames[:4])[:, None]), controller.embed(frames[4:])
    return controller.actions(controller.plan(context, goals, np.arange(4), 0).actions)


def unbounded(model):
    model.action_low.fill_(-torch.inf)
    model.action_high.fill_(torch.inf)
    return model


def test_every_candidate_and_the_result_lie_within_the_bounds():
    bounds = BlockBounds(torch.tensor([-0.5, -torch.inf, 0.2, -3]), torch.tensor([0.25, torch.inf, 0.2, 0]))
    seen = []

    def cost(candidates):
        seen.append(candidates.clone())
        return -candidates[..., [0, 2, 3]].sum(dim=(2, 3))

    start = Start.standard(2, H, A, torch.device("cpu"), bounds)
    result = cem(cost, start, SETTINGS, Keys(0, torch.tensor([3, 8]), 0))
    assert len(seen) == SETTINGS.iterations + 1
    candidates = torch.cat([one.flatten(0, 2) for one in seen[:-1]])
    assert (candidates >= bounds.low).all()
    assert (candidates <= bounds.high).all()
    assert candidates[:, 1].abs().max() > 3  # has no bounds
    assert (candidates[:, 2] == bounds.low[2]).all()
    torch.testing.assert_close(result.actions[..., [0, 2, 3]], bounds.high[[0, 2, 3]].expand(2, H, 3))


def test_plans_lie_exactly_within_the_bounds_in_environment_units(bounded, tiny):
    actions = plan(bounded, tiny.planning)
    low, high = np.float32(LOW), np.float32(HIGH)
    assert (actions >= low).all()
    assert (actions <= high).all()
    assert (actions == high).any() or (actions == low).any()
    free = plan(bounded, tiny.planning.model_copy(update={"bounds": "off"}))
    assert ((free < low) | (free > high)).any()


def test_without_bounds_plans_are_the_search_alone(bounded, tiny):
    off = tiny.planning.model_copy(update={"bounds": "off"})
    actions = plan(bounded, off)
    np.testing.assert_array_equal(plan(unbounded(bounded), tiny.planning), actions)
    frames = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    with torch.inference_mode():
        latents = bounded.embed(torch.from_numpy(frames))
        start = Start.standard(4, off.horizon, bounded.config.action_block, bounded.device)
        cost = last(PackedDynamics(bounded), Context(latents[:4, None]), latents[4:])
        found = cem(cost, start, off.planner, Keys(5, torch.arange(4), 0))
        expected = bounded.denormalize_actions(found.actions)
    np.testing.assert_array_equal(actions.reshape(expected.shape), expected.numpy())


@pytest.mark.parametrize("bounds", ["on", "off"])
def test_a_dimension_with_one_value_is_held_there_whatever_the_option(bounded, tiny, bounds):
    unbounded(bounded)
    value = bounded.action_mean[1]
    bounded.action_low[1] = bounded.action_high[1] = value
    actions = plan(bounded, tiny.planning.model_copy(update={"bounds": bounds}))
    assert (actions[..., 1] == value.item()).all()
    assert actions[..., 0].std() > 0.1


def test_choices_have_no_bounds(bounded, tiny):
    """Bounds that would forbid every one-hot vector change nothing."""
    bounded.action_mean.fill_(0.5)
    choices = plan(bounded, tiny.planning, (2,))
    np.testing.assert_array_equal(choices, plan(unbounded(bounded), tiny.planning, (2,)))
    assert (choices.sum(axis=-1) == 1).all()


def test_the_small_recipe_keeps_the_bounds_and_the_paper_does_not():
    assert recipes.small("two-room", 2).planning.bounds == "on"
    assert recipes.paper("two-room", 2).planning.bounds == "off"


def test_bounds_of_the_data_are_stored_with_the_run(tiny, tmp_path):
    collect(world("two-room"), tmp_path / "data.h5", 8, policy="expert", noise=2.0, frame_size=16, seed=0)
    train(tiny, tmp_path / "data.h5", tmp_path / "run", torch.device("cpu"))
    model = lewm.load(tmp_path / "run")
    assert (model.action_low.tolist(), model.action_high.tolist()) == ([-1, -1], [1, 1])
