"""CEM finds minima, and an environment's plan never depends on its neighbours."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lewm import recipes
from lewm.config import Cem, resolve
from lewm.planning.controller import Controller
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners.cem import cem
from lewm_kernels import normal

H, A = 3, 4
SETTINGS = Cem(samples=128, elites=16, iterations=20)


def keys(*episodes, seed=0, replan=0):
    return Keys(seed, torch.tensor(episodes), replan)


def test_finds_the_minimum_of_a_quadratic():
    target = torch.randn(5, H, A, generator=torch.Generator().manual_seed(0))
    plan = cem(
        lambda c: (c - target[:, None]).square().sum(dim=(2, 3)),
        Start.standard(5, H, A, torch.device("cpu")),
        SETTINGS,
        keys(*range(5)),
    )
    torch.testing.assert_close(plan.actions, target, atol=0.02, rtol=0)
    torch.testing.assert_close(plan.cost, (plan.actions - target).square().sum(dim=(1, 2)))
    assert plan.history.shape == (5, 20)
    assert (plan.history[:, -1] < 1e-2 * plan.history[:, 0]).all()


def test_one_iteration_is_the_definition():
    seen = []
    settings = SETTINGS.model_copy(update={"iterations": 1})
    start = Start(torch.full((2, H, A), 0.5), torch.full((2, H, A), 2.0))

    def cost(candidates):
        seen.append(candidates.clone())
        return candidates[:, :, 0, 0]

    plan = cem(cost, start, settings, keys(3, 8, seed=7, replan=2))
    noise = normal(7, torch.tensor([[3, 2, 0], [8, 2, 0]]), 128 * H * A).view(2, 128, H, A)
    expected = 0.5 + 2.0 * noise
    expected[:, 0] = 0.5
    torch.testing.assert_close(seen[0], expected)
    for b in range(2):
        elites = seen[0][b][seen[0][b, :, 0, 0].argsort()[:16]]
        torch.testing.assert_close(plan.actions[b], elites.mean(dim=0))


@pytest.mark.parametrize("replan", [2, torch.tensor(2)], ids=["int", "tensor"])
def test_streams_are_numbered_by_episode_replan_and_iteration(replan):
    streams = Keys(0, torch.tensor([7, 3]), replan).streams(3)
    assert streams.tolist() == [[[7, 2, i], [3, 2, i]] for i in range(3)]


def test_keys_separate_episodes_replans_and_seeds():
    def plan(**change):
        settings = {"seed": 0, "episode": 1, "replan": 0} | change
        key = keys(settings["episode"], seed=settings["seed"], replan=settings["replan"])
        start = Start.standard(1, H, A, torch.device("cpu"))
        return cem(lambda c: c.square().sum(dim=(2, 3)), start, SETTINGS, key).actions

    assert torch.equal(plan(), plan())
    for change in ({"seed": 1}, {"episode": 2}, {"replan": 1}):
        assert not torch.equal(plan(), plan(**change))


@settings(max_examples=15)
@given(
    episodes=st.lists(st.integers(0, 10_000), min_size=2, max_size=24, unique=True),
    seed=st.integers(0, 2**40),
    chosen=st.integers(0, 23),
)
def test_a_plan_is_the_same_alone_and_in_any_batch(shared_model, episodes, seed, chosen):
    i = chosen % len(episodes)
    rng = np.random.default_rng(seed)
    frames, goals = rng.integers(0, 256, (2, len(episodes), 16, 16, 3), dtype=np.uint8)
    planning = resolve(recipes.small("two-room", 2), None, {"planning.planner.iterations": 3}).planning
    controller = Controller(shared_model, planning, seed)

    def plan(some):
        context = Context(controller.embed(frames[some])[:, None])
        made = controller.plan(context, controller.embed(goals[some]), np.array(episodes)[some], replan=1)
        return controller.actions(made.actions)

    together, alone = plan(slice(None)), plan(slice(i, i + 1))
    assert np.array_equal(together[i], alone[0])


@pytest.fixture(scope="module")
def shared_model(tiny):
    from lewm.model import build

    torch.manual_seed(0)
    model = build(tiny.model)
    with torch.no_grad():
        for block in model.predictor.blocks:
            block.modulation.weight.normal_(0, 0.3)
    model.action_mean.zero_()
    model.action_std.fill_(1)
    return model.eval()
