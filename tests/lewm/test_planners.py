"""The guarantees of every planner in the table, for numbers, and for choices where the planner supports them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lewm import recipes
from lewm.config import Planner
from lewm.model.actions import BlockBounds
from lewm.planning.controller import Controller
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners import PLANNERS

H, A, FRAMESKIP = 3, 10, 2
GROUPS = (3, 2)
FREQUENCY = (0.2, 0.5, 0.3, 0.6, 0.4)
SEARCHES = [(kind, "numbers") for kind in PLANNERS] + [
    (kind, "choices") for kind, search in PLANNERS.items() if search.choices is not None
]
CAPTURED = [(kind, form) for kind, form in SEARCHES if not PLANNERS[kind].differentiates]  # for CUDA graphs
each_search = pytest.mark.parametrize(("kind", "form"), SEARCHES)
each_captured = pytest.mark.parametrize(("kind", "form"), CAPTURED)


def tiny_settings(kind):
    return Planner.kinds[kind](samples=40, iterations=3)


@pytest.fixture(scope="module")
def one_hot(make_model):
    model = make_model({"model.action_dim": len(FREQUENCY), "model.frameskip": FRAMESKIP})
    mean = torch.tensor(FREQUENCY)
    model.action_mean.copy_(mean)
    model.action_std.copy_((mean * (1 - mean)).sqrt())
    return OneHot.of(model, GROUPS)


@dataclass
class Task:
    """A quadratic cost; its sums are chains of elementwise operations, which no batch reorders."""

    start: Start
    target: torch.Tensor  # (B, H, A)

    @classmethod
    def smooth(cls, form, one_hot, environments=4):
        """A plan from the standard start, which is the same in every step."""
        start = Start.standard(environments, H, A, torch.device("cpu"), frameskip=FRAMESKIP)
        if form == "choices":
            chosen = one_hot.likeliest(torch.rand(environments, 1, A, generator=seeded(1))).expand(-1, H, -1)
            start = Start.standard(environments, H, A, torch.device("cpu"), frameskip=FRAMESKIP, one_hot=one_hot)
            return cls(start, one_hot.normalized(chosen))
        step = torch.randn(environments, 1, A // FRAMESKIP, generator=seeded(1))
        return cls(start, step.repeat(1, H, FRAMESKIP))

    @classmethod
    def any(cls, form, one_hot, environments, seed, bounded):
        """Anywhere, with bounds that may exclude the minimum, and with any spread."""
        task, generator = cls.smooth(form, one_hot, environments), seeded(seed)
        if form == "choices":
            chosen = one_hot.likeliest(torch.rand(environments, H, A, generator=generator))
            return replace(task, target=one_hot.normalized(chosen))
        low = -2 * torch.rand(A, generator=generator)
        bounds = BlockBounds(low, low + 2 * torch.rand(A, generator=generator)) if bounded else None
        mean = torch.randn(environments, H, A, generator=generator)
        std = torch.rand(environments, H, A, generator=generator) + 0.1
        start = Start(mean, std, bounds, FRAMESKIP)
        return cls(start, torch.randn(environments, H, A, generator=generator))

    def of(self, rows):
        start = replace(self.start, mean=self.start.mean[rows], std=self.start.std[rows])
        return Task(start, self.target[rows])

    def cost(self, candidates):
        return sum((candidates - self.target[:, None]).square().flatten(2).unbind(dim=-1))


class Watched:
    """A cost that keeps what it was asked."""

    def __init__(self, cost):
        self.cost, self.calls, self.costs = cost, [], []

    def __call__(self, candidates):
        costs = self.cost(candidates)
        self.calls.append(candidates.detach().clone())
        self.costs.append(costs.detach())
        return costs


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def plan(kind, form, cost, start, config=None, episodes=None, seed=0, replan=0):
    episodes = torch.arange(len(start.mean)) if episodes is None else torch.tensor(episodes)
    return getattr(PLANNERS[kind], form)(cost, start, config or tiny_settings(kind), Keys(seed, episodes, replan))


seeds = st.integers(0, 2**32)


@each_search
@settings(max_examples=8)
@given(
    episodes=st.lists(st.integers(0, 10_000), min_size=2, max_size=9, unique=True),
    first=st.integers(0, 7),
    size=st.integers(1, 3),
    seed=seeds,
    bounded=st.booleans(),
)
def test_a_plan_is_the_same_alone_and_in_any_batch(one_hot, kind, form, episodes, first, size, seed, bounded):
    first = first % (len(episodes) - 1)
    some = slice(first, first + size)
    task = Task.any(form, one_hot, len(episodes), seed, bounded)
    together = plan(kind, form, task.cost, task.start, episodes=episodes, seed=seed)
    fewer = plan(kind, form, task.of(some).cost, task.of(some).start, episodes=episodes[some], seed=seed)
    assert torch.equal(together.actions[some], fewer.actions)
    assert torch.equal(together.cost[some], fewer.cost)
    assert torch.equal(together.history[some], fewer.history)


@pytest.mark.parametrize("kind", PLANNERS)
def test_a_plan_with_a_model_is_the_same_alone_and_in_any_batch(make_model, kind):
    model = make_model({"model.predictor.history": 3})
    planner = recipes.small("two-room", 2).planning.model_copy(update={"planner": tiny_settings(kind), "horizon": 2})
    controller = Controller(model, planner, seed=3)
    frames, goals = np.random.default_rng(0).integers(0, 256, (2, 7, 16, 16, 3), dtype=np.uint8)
    latents, goals, episodes = controller.embed(frames), controller.embed(goals), np.arange(7)
    together = controller.plan(Context(latents[:, None]), goals, episodes, replan=1).actions
    for i in range(7):
        alone = controller.plan(Context(latents[i : i + 1, None]), goals[i : i + 1], episodes[i : i + 1], replan=1)
        assert torch.equal(together[i], alone.actions[0])


@each_search
@settings(max_examples=8)
@given(environments=st.integers(1, 3), seed=seeds, bounded=st.booleans())
def test_candidates_and_the_result_are_what_they_should_be(one_hot, kind, form, environments, seed, bounded):
    task, config = Task.any(form, one_hot, environments, seed, bounded), tiny_settings(kind)
    cost = Watched(task.cost)
    result = plan(kind, form, cost, task.start, config, seed=seed)
    assert len(cost.calls) == config.iterations + 1
    for candidates in [*cost.calls, result.actions[:, None]]:
        assert 1 <= candidates.shape[1] <= config.samples
        assert torch.isfinite(candidates).all()
        if form == "choices":
            chosen = candidates == one_hot.taken
            assert torch.equal(candidates, one_hot.normalized(chosen))
            for vector in chosen.split(GROUPS * FRAMESKIP, dim=-1):
                assert (vector.sum(dim=-1) == 1).all()
        elif bounded:
            torch.testing.assert_close(candidates, task.start.bounds.clamp(candidates))
    torch.testing.assert_close(result.cost, task.cost(result.actions[:, None])[:, 0])
    assert result.history.shape == (environments, config.iterations)
    assert not result.actions.requires_grad
    assert not result.cost.requires_grad


@each_search
def test_finds_the_minimum_of_a_quadratic(one_hot, kind, form):
    task = Task.smooth(form, one_hot)
    result = plan(kind, form, task.cost, task.start, Planner.kinds[kind](iterations=40))
    assert (result.cost <= 0.03 * task.cost(task.start.mean[:, None])[:, 0]).all()
    assert (result.history[:, -1] <= 0.1 * result.history[:, 0]).all()


@each_search
def test_a_warm_start_at_the_minimum_stays_there(one_hot, kind, form):
    task = Task.smooth(form, one_hot)
    result = plan(kind, form, task.cost, task.start.after(task.target), Planner.kinds[kind]())
    assert (result.cost <= 0.002 * task.cost(task.start.mean[:, None])[:, 0]).all()


@each_search
def test_the_noise_is_keyed_by_seed_episode_and_plan(one_hot, kind, form):
    task = Task.smooth(form, one_hot, environments=1)

    def candidates(**change):
        cost = Watched(task.cost)
        plan(kind, form, cost, task.start, **{"episodes": [1], "seed": 0, "replan": 0} | change)
        return cost.calls[0]

    first = candidates()
    assert torch.equal(first, candidates())
    for change in ({"seed": 1}, {"episodes": [2]}, {"replan": 1}, {"replan": 1 << 31}):
        other = candidates(**change)
        assert torch.equal(first[:, 0], other[:, 0])  # candidate 0 is the start's mean
        assert not torch.equal(first[:, 1:], other[:, 1:])


@each_captured
def test_iterations_have_noise_of_their_own(one_hot, kind, form):
    start = Task.smooth(form, one_hot, environments=1).start
    cost = Watched(lambda candidates: torch.zeros(candidates.shape[:2]))
    plan(kind, form, cost, start, Planner.kinds[kind](samples=40, iterations=2))
    before, after = (candidates[:, -20:] for candidates in cost.calls[:2])
    assert not torch.equal(before, after)


@each_captured
def test_nothing_waits_for_the_device(one_hot, kind, form):
    task = Task.smooth(form, one_hot, environments=2)
    fields = {name: getattr(one_hot, name).to("meta") for name in vars(one_hot)}  # tensors without values
    choices = OneHot(**fields) if form == "choices" else None
    start = Start.standard(2, H, A, torch.device("meta"), frameskip=FRAMESKIP, one_hot=choices)
    keys = Keys(0, torch.zeros(2, dtype=torch.int64, device="meta"), torch.zeros((), dtype=torch.int64, device="meta"))
    search, cost = getattr(PLANNERS[kind], form), replace(task, target=task.target.to("meta")).cost
    result = search(cost, start, tiny_settings(kind), keys)
    assert result.actions.shape == (2, H, A)
