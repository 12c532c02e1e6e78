"""A replanner plans from what each environment has shown and what was executed there, and from nothing else."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lewm.config import resolve
from lewm.planning.controller import Controller
from lewm.planning.plan import Context
from lewm.planning.replanner import Decision, Replanner

B, BLOCKS, HORIZON = 4, 11, 5
EPISODES = np.array([3, 8, 1, 20])
LIMIT = 0.4  # the limit of actions, in environment units; their standard deviation is 1
GROUPS = (3, 2)  # where actions are choices

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (BLOCKS, B, 16, 16, 3), np.uint8)  # the frames of environments before each block
GOALS = RNG.integers(0, 256, (B, 16, 16, 3), np.uint8)

NOBODY_LEAVES = [np.arange(B)] * BLOCKS
SOME_LEAVE = [np.arange(B)] * 2 + [np.array([0, 2, 3])] * 4 + [np.array([2, 3])] * 5


@pytest.fixture(scope="module")
def numbers(make_model):
    """A model whose actions are numbers, and bounded."""
    model = make_model({"model.predictor.history": 3})
    model.action_mean.fill_(0.1)
    model.action_low.fill_(-LIMIT)
    model.action_high.fill_(LIMIT)
    return model


@pytest.fixture(scope="module")
def choices(make_model):
    """A model whose actions are choices."""
    model = make_model({"model.action_dim": sum(GROUPS), "model.predictor.history": 3})
    mean = torch.tensor([0.2, 0.5, 0.3, 0.6, 0.4])
    model.action_mean.copy_(mean)
    model.action_std.copy_((mean * (1 - mean)).sqrt())
    return model


@pytest.fixture
def controller(tiny, numbers, choices):
    """Makes a controller with these settings of planning."""

    def make(one_hot=False, **planning):
        few = {"samples": 16, "elites": 4, "iterations": 2}
        changes = {f"planning.planner.{key}": value for key, value in few.items()}
        changes |= {
            f"planning.{key}": value for key, value in {"horizon": HORIZON, "bounds": "off", **planning}.items()
        }
        settings = resolve(tiny, None, {"model.predictor.history": 3, **changes}).planning
        return Controller(choices if one_hot else numbers, settings, 0, GROUPS if one_hot else None)

    return make


@dataclass
class Act:
    """A call of `Replanner.act`."""

    looked: bool
    actions: np.ndarray
    decision: Decision | None


def acts(controller, active, who=slice(None)):
    """The results of a replanner with the recorded frames, for the environments `who`."""
    replanner = Replanner(controller, controller.embed(GOALS[who]), EPISODES[who])
    done = []
    for frames, some in zip(FRAMES[:, who], active, strict=True):
        looks = replanner.looks_next
        actions = replanner.act(controller.embed(frames[some]) if looks else None, some)
        done.append(Act(looks, actions, replanner.decision))
    return done


def executed(controller, actions):
    """Normalised blocks (N, A) of actions that a world clipped to its bounds."""
    clipped = actions if controller.one_hot else actions.clip(-LIMIT, LIMIT)
    blocks = torch.from_numpy(clipped).flatten(1)
    statistics = controller.model.block_statistics()
    return (blocks - statistics.mean) / statistics.std


def by_hand(controller, active, actions):
    """Each plan's context, its remaining blocks, and the plan, from the recorded frames and executed actions."""
    goals, latents = controller.embed(GOALS), [controller.embed(frames) for frames in FRAMES]
    blocks, plans, left, block = [], [], None, 0
    for some, taken in zip(active, actions, strict=True):
        spread = torch.zeros(B, controller.model.config.action_block)
        spread[some] = executed(controller, taken)
        blocks.append(spread)
    while block < BLOCKS:
        some, first = active[block], max(0, block + 1 - controller.planning.context)
        between = torch.stack(blocks[first:block], dim=1)[some] if block > first else None
        context = Context(torch.stack(latents[first : block + 1], dim=1)[some], between)
        handed = None if left is None or controller.planning.warm_start == "off" else left[some]
        plan = controller.plan(context, goals[some], EPISODES[some], len(plans), handed).actions
        execute = controller.schedule.stage(len(plans))[1]
        plans.append((block, context, plan[:, :execute]))
        left = torch.zeros(B, plan.shape[1] - execute, plan.shape[2])
        left[some] = plan[:, execute:]
        block += execute
    return plans


def assert_as_by_hand(controller, active):
    done = acts(controller, active)
    plans = by_hand(controller, active, [act.actions for act in done])
    assert [block for block, act in enumerate(done) if act.decision is not None] == [block for block, *_ in plans]
    for block, context, execute in plans:
        decision = done[block].decision
        assert torch.equal(decision.context.latents, context.latents)
        assert (decision.context.actions is None) == (context.actions is None)
        if context.actions is not None:
            torch.testing.assert_close(decision.context.actions, context.actions)
        assert torch.equal(decision.execute, execute)
        for number in range(min(execute.shape[1], BLOCKS - block)):
            some = np.isin(active[block], active[block + number])
            expected = controller.actions(execute[some, number : number + 1])
            np.testing.assert_array_equal(done[block + number].actions, expected)


@pytest.mark.parametrize("context", [1, 2, 3])
@pytest.mark.parametrize(("execute", "warm_start"), [(1, "off"), (1, "on"), (2, "off"), (2, "on"), (5, "off")])
def test_plans_are_those_made_by_hand(controller, execute, context, warm_start):
    assert_as_by_hand(controller(execute=execute, context=context, warm_start=warm_start), SOME_LEAVE)


def test_plans_of_a_fixed_horizon_are_those_made_by_hand(controller):
    assert_as_by_hand(controller(execute=2, context=2, warm_start="on", horizon_end="fixed"), SOME_LEAVE)


@pytest.mark.parametrize("context", [1, 3])
def test_plans_of_choices_are_those_made_by_hand(controller, context):
    of_choices = controller(one_hot=True, execute=2, context=context, warm_start="on")
    assert_as_by_hand(of_choices, SOME_LEAVE)
    taken, left = of_choices.one_hot.taken, of_choices.one_hot.left
    for act in acts(of_choices, NOBODY_LEAVES):
        for vector in np.split(act.actions, np.cumsum(GROUPS)[:-1], axis=-1):
            assert np.isin(vector, (0, 1)).all()
            assert (vector.sum(axis=-1) == 1).all()
        if act.decision is not None and act.decision.context.actions is not None:
            blocks = act.decision.context.actions
            assert ((blocks == taken) | (blocks == left)).all()


@pytest.mark.parametrize("one_hot", [False, True])
def test_an_episode_is_the_same_alone_and_among_others(controller, one_hot):
    make = controller(one_hot=one_hot, execute=2, context=3, warm_start="on")
    together, fewer = acts(make, NOBODY_LEAVES), acts(make, SOME_LEAVE)
    alone = acts(make, [np.arange(1)] * BLOCKS, who=[3])
    for block, some in enumerate(SOME_LEAVE):
        assert np.array_equal(together[block].actions[some], fewer[block].actions)
        assert np.array_equal(together[block].actions[3:], alone[block].actions)
    assert not np.array_equal(together[0].actions[2], together[0].actions[3])


def test_what_is_executed_is_clipped_before_it_enters_a_context(controller):
    model_bounds = controller(execute=1, context=3)
    done = acts(model_bounds, NOBODY_LEAVES)
    assert max(np.abs(act.actions).max() for act in done) > 2 * LIMIT
    contexts = [act.decision.context.actions for act in done if act.decision.context.actions is not None]
    in_units = model_bounds.model.denormalize_actions(torch.cat([blocks.flatten(0, 1) for blocks in contexts]))
    assert in_units.abs().max() == pytest.approx(LIMIT)


@pytest.mark.parametrize(
    ("execute", "context", "looks"),
    [
        (1, 1, range(11)),
        (1, 3, range(11)),
        (2, 1, [0, 2, 4, 5, 7, 9, 10]),
        (2, 2, range(11)),
        (5, 1, [0, 5, 10]),
        (5, 2, [0, 4, 5, 9, 10]),
        (5, 3, [0, 3, 4, 5, 8, 9, 10]),
    ],
)
def test_it_looks_where_a_context_needs_it_and_plans_where_blocks_run_out(controller, execute, context, looks):
    done = acts(controller(execute=execute, context=context), NOBODY_LEAVES)
    assert [block for block, act in enumerate(done) if act.looked] == list(looks)
    starts = {1: range(11), 2: [0, 2, 4, 5, 7, 9, 10], 5: [0, 5, 10]}[execute]
    assert [block for block, act in enumerate(done) if act.decision is not None] == list(starts)


def test_a_warm_start_and_a_context_matter(controller):
    """Without this, the tests above could not fail."""
    plain = acts(controller(execute=1), NOBODY_LEAVES)
    for change in ({"warm_start": "on"}, {"context": 2}):
        other = acts(controller(execute=1, **change), NOBODY_LEAVES)
        assert np.array_equal(plain[0].actions, other[0].actions)
        assert not np.array_equal(plain[1].actions, other[1].actions)
    assert not np.array_equal(plain[1].actions, acts(controller(execute=5), NOBODY_LEAVES)[1].actions)


def test_what_is_left_of_a_plan_begins_the_next_search(controller, monkeypatch):
    handed = []
    plan = Controller.plan

    def kept(self, context, goals, episodes, replan, left=None, on_iteration=lambda share: None):
        made = plan(self, context, goals, episodes, replan, left, on_iteration)
        handed.append((left, made.actions))
        return made

    monkeypatch.setattr(Controller, "plan", kept)
    acts(controller(execute=2, warm_start="on"), NOBODY_LEAVES)
    assert handed[0][0] is None
    for (_, before), (left, now) in itertools.pairwise(handed):
        if before.shape[1] > 2:
            assert torch.equal(left, before[:, 2:])
            assert now.shape[1] == left.shape[1]
        else:
            assert left is None
            assert now.shape[1] == HORIZON
