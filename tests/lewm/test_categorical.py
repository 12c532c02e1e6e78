"""Plans of one-hot actions: the search finds minima, keeps every possible choice, and gives exact one-hot vectors."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm.config import Cem, LastCost, Planning, resolve
from lewm.errors import LewmError
from lewm.model import build
from lewm.planning import solver as solvers
from lewm.planning.controller import Controller
from lewm.planning.costs.distance import last
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners.categorical import SPREAD, categorical_cem
from lewm.planning.solver import Problem, Solver
from lewm_data.store.clips import action_statistics
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer
from lewm_kernels import uniform

GROUPS = (3, 2)
FREQUENCY = (0.2, 0.5, 0.3, 0.6, 0.4)
F, A, H = 2, 10, 2  # frameskip, action-block width, horizon
SIZES = GROUPS * F
SETTINGS = Cem(samples=200, elites=20, iterations=20)
FEW = Planning(planner=Cem(samples=64, elites=8, iterations=8), cost=LastCost(), horizon=H)


def a_model(tiny, frequency=FREQUENCY, frameskip=F):
    """A tiny model whose training data had such one-hot actions."""
    torch.manual_seed(0)
    change = {"model.action_dim": len(frequency), "model.frameskip": frameskip}
    model = build(resolve(tiny, None, change).model)
    with torch.no_grad():
        for block in model.predictor.blocks:
            block.modulation.weight.normal_(0, 0.3)
    mean = torch.tensor(frequency)
    std = (mean * (1 - mean)).sqrt()
    model.action_mean.copy_(mean)
    model.action_std.copy_(torch.where(std > 0, std, 1.0))
    return model.eval()


@pytest.fixture(scope="module")
def model(tiny):
    return a_model(tiny)


@pytest.fixture(scope="module")
def one_hot(model):
    return OneHot.of(model, GROUPS)


def keys(*episodes, seed=0, replan=0):
    return Keys(seed, torch.tensor(episodes), replan)


def chosen_in(one_hot, candidates):
    """Candidates that a cost saw, in environment units, after a look that they are what the model takes."""
    chosen = candidates == one_hot.taken
    assert torch.equal(candidates, torch.where(chosen, one_hot.taken, one_hot.left))
    return chosen


def search(cost, one_hot, settings, keys, horizon=H):
    """Plans from the start of that many environments, as zeros and ones."""
    start = Start.standard(len(keys.episodes), horizon, len(one_hot.taken), torch.device("cpu"), one_hot=one_hot)
    plan = categorical_cem(cost, start, settings, keys)
    return replace(plan, actions=chosen_in(one_hot, plan.actions).float())


def problem(model, replan):
    """Latents, goals and numbers of five environments."""
    latents, goals = torch.randn(2, 5, model.config.latent, generator=torch.Generator().manual_seed(0))
    return Problem(Context(latents[:, None]), goals, torch.arange(5), torch.tensor(replan))


def assert_one_hot(plans, sizes=SIZES):
    for vector in plans.split(sizes, dim=-1):
        assert ((vector == 0) | (vector == 1)).all()
        assert (vector.sum(dim=-1) == 1).all()


def every_block(sizes=SIZES):
    """All one-hot blocks."""
    vectors = [torch.eye(size) for size in sizes]
    return torch.stack([torch.cat(rows) for rows in itertools.product(*vectors)])


def test_the_start_is_as_frequent_as_the_data(model, one_hot):
    expected = torch.tensor(FREQUENCY).repeat(F)
    torch.testing.assert_close(one_hot.probability, expected)
    torch.testing.assert_close(one_hot.below, torch.tensor([0, 0.2, 0.7, 0, 0.6]).repeat(F))
    assert one_hot.vector.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert one_hot.columns.tolist() == [[0, 1, 2], [3, 4, 4], [5, 6, 7], [8, 9, 9]]
    plan = every_block()[7]
    assert torch.equal(one_hot.normalized(plan.bool()), model.normalize_actions(plan))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(0, 1000), min_size=5, max_size=5))
def test_intervals_of_a_vector_meet_and_fill_it(tiny, counts):
    first, second = np.array(counts[:3]), np.array(counts[3:])
    frequency = np.concatenate([part / max(part.sum(), 1) for part in (first, second)]).tolist()
    one_hot = OneHot.of(a_model(tiny, frequency), GROUPS)
    for below, above in zip(one_hot.below.split(SIZES), one_hot.above.split(SIZES), strict=True):
        assert below[0] == 0
        assert above[-1] == 1
        assert torch.equal(below[1:], above[:-1])
        assert (below <= above).all()
    for seen, probability in zip((first, second), one_hot.probability.split(SIZES)[:2], strict=True):
        expected = seen / seen.sum() if seen.any() else np.full(len(seen), 1 / len(seen))
        np.testing.assert_allclose(probability, expected, rtol=1e-6)


def test_two_iterations_are_the_definition(one_hot):
    seen = []
    weight = torch.randn(H, A, generator=torch.Generator().manual_seed(1))

    def cost(candidates):
        seen.append(chosen_in(one_hot, candidates))
        return (seen[-1] * weight).sum(dim=(2, 3))

    plan = search(cost, one_hot, SETTINGS.model_copy(update={"iterations": 2}), keys(3, 8, seed=7, replan=2))
    probability = one_hot.probability.double().expand(2, H, A).clone()
    for iteration in range(2):
        streams = torch.tensor([[3, 2, iteration], [8, 2, iteration]])
        draws = uniform(7, streams, SETTINGS.samples * H * len(SIZES)).view(2, SETTINGS.samples, H, len(SIZES)).double()
        vectors = []
        for number, part in enumerate(probability.split(SIZES, dim=-1)):
            choice = (draws[..., number, None] >= part.cumsum(dim=-1)[:, None, :, :-1]).sum(dim=-1)
            choice[:, 0] = part.argmax(dim=-1)
            vectors.append(torch.nn.functional.one_hot(choice, part.shape[-1]))
        expected = torch.cat(vectors, dim=-1)
        assert torch.equal(seen[iteration], expected.bool())
        costs = (expected * weight).sum(dim=(2, 3))
        for b in range(2):
            elites = expected[b, costs[b].argsort(stable=True)[: SETTINGS.elites]]
            probability[b] = (elites.sum(dim=0) + SPREAD * one_hot.probability) / (SETTINGS.elites + SPREAD)
        torch.testing.assert_close(plan.history[:, iteration], costs.sort().values[:, : SETTINGS.elites].mean(dim=1))
    for part, found in zip(probability.split(SIZES, dim=-1), plan.actions.split(SIZES, dim=-1), strict=True):
        assert torch.equal(found.argmax(dim=-1), part.argmax(dim=-1))
    assert torch.equal(seen[-1][:, 0].float(), plan.actions)
    torch.testing.assert_close(plan.cost, (plan.actions * weight).sum(dim=(1, 2)))


@pytest.mark.parametrize("seed", range(3))
def test_finds_the_cheapest_of_all_plans(one_hot, seed):
    weight = torch.randn(6, H, A, generator=torch.Generator().manual_seed(seed))

    def cost(candidates):
        return (chosen_in(one_hot, candidates) * weight[:, None]).sum(dim=(2, 3))

    plan = search(cost, one_hot, SETTINGS, keys(*range(6), seed=seed))
    assert_one_hot(plan.actions)
    by_block = torch.einsum("pa,bha->bhp", every_block(), weight)  # 36 blocks, 1,296 plans: blocks add up
    torch.testing.assert_close(plan.cost, by_block.amin(dim=-1).sum(dim=1))
    assert (plan.history[:, -1] < plan.history[:, 0]).all()


def test_every_choice_of_the_data_is_still_tried_at_the_end_and_no_other_ever(tiny):
    one_hot = OneHot.of(a_model(tiny, (0.5, 0.5, 0.0, 1.0, 0.0)), GROUPS)
    seen = []

    def cost(candidates):
        seen.append(chosen_in(one_hot, candidates))
        return -seen[-1][..., 0].sum(dim=2).float()  # the first choice of a block's first vector is all that counts

    samples = 2000
    plan = search(cost, one_hot, SETTINGS.model_copy(update={"samples": samples}), keys(0, 1))
    tried = torch.stack(seen[:-1]).sum(dim=2)  # (I, B, H, A)
    possible = one_hot.probability > 0
    assert (tried[..., possible] > 0).all()
    assert (tried[..., ~possible] == 0).all()
    assert (tried[-1, :, :, 0] > 0.95 * samples).all()
    assert (plan.actions[..., 0] == 1).all()


def test_a_choice_that_is_rare_is_found_where_there_are_fewer_plans_than_samples(tiny):
    one_hot = OneHot.of(a_model(tiny, (0.98, 0.02), frameskip=1), (2,))

    def cost(candidates):
        return chosen_in(one_hot, candidates)[..., 0].sum(dim=2).float()

    plan = search(cost, one_hot, SETTINGS, keys(*range(9)), horizon=1)
    assert torch.equal(plan.actions, torch.tensor([0.0, 1.0]).expand(9, 1, 2))
    assert (plan.history[:, 0] > 0.5).all()  # most elites of the first iteration had to be the worse plan
    assert (plan.history[:, -1] == 0).all()


def test_of_equal_costs_the_most_probable_plan_comes_first(one_hot):
    settings = SETTINGS.model_copy(update={"elites": 2, "iterations": 1})
    plan = search(lambda candidates: torch.zeros(candidates.shape[:2]), one_hot, settings, keys(*range(20)))
    # one elite is that plan, and where the other differs, the start decides
    assert torch.equal(plan.actions, torch.tensor([0.0, 1, 0, 1, 0] * F).expand(20, H, A))


@settings(max_examples=25)
@given(
    episodes=st.lists(st.integers(0, 10_000), min_size=2, max_size=12, unique=True),
    seed=st.integers(0, 2**63),
    values=st.sampled_from([2, 1000]),
    chosen=st.integers(0, 11),
)
def test_a_plan_is_the_same_alone_and_in_any_batch(one_hot, episodes, seed, values, chosen):
    """Whole costs, of which many are equal where there are few values."""
    i = chosen % len(episodes)
    weights = torch.randint(values, (len(episodes), H, A), generator=torch.Generator().manual_seed(seed)).float()

    def plan(some):
        def cost(candidates):
            return (chosen_in(one_hot, candidates) * weights[some, None]).sum(dim=(2, 3))

        return search(cost, one_hot, SETTINGS, Keys(seed, torch.tensor(episodes)[some], 1))

    together, alone = plan(slice(None)), plan(slice(i, i + 1))
    for name in ("actions", "cost", "history"):
        assert torch.equal(getattr(together, name)[i], getattr(alone, name)[0]), name


def test_keys_separate_episodes_replans_and_seeds(one_hot):
    def candidates(**change):
        key = {"seed": 0, "episode": 1, "replan": 0} | change
        seen = []

        def cost(candidates):
            seen.append(candidates)
            return candidates.sum(dim=(2, 3))

        search(cost, one_hot, SETTINGS, keys(key["episode"], seed=key["seed"], replan=key["replan"]))
        return torch.cat(seen[:2])

    same = candidates()
    assert torch.equal(candidates(), same)
    assert not torch.equal(same[0], same[1])
    for change in ({"seed": 1}, {"episode": 2}, {"replan": 1}):
        assert not torch.equal(candidates(**change), same)


@pytest.mark.parametrize("together", [1, 3, 100])
def test_plans_of_a_model_are_cheap_and_do_not_depend_on_the_groups(model, one_hot, together):
    wanted, dynamics = problem(model, 1), PackedDynamics(model)
    plan, alone = (Solver(dynamics, FEW, 3, size, one_hot=one_hot).solve(wanted) for size in (together, 1))
    assert torch.equal(plan.actions, alone.actions)
    blocks = every_block()
    first, second = torch.cartesian_prod(torch.arange(len(blocks)), torch.arange(len(blocks))).unbind(dim=1)
    every = model.normalize_actions(torch.stack([blocks[first], blocks[second]], dim=1))  # (1296, H, A)
    costs = last(dynamics, wanted.context, wanted.goals)(every.expand(5, -1, -1, -1))
    number = _index(one_hot.chosen(plan.actions).float(), blocks)
    torch.testing.assert_close(plan.cost, costs.gather(1, number)[:, 0])
    better = (costs < plan.cost[:, None]).float().mean(dim=1)
    assert (better < 0.01).all()


def test_graphs_of_padded_groups_change_no_plan(model, one_hot, monkeypatch):
    captured = []

    def graph(search, problem, others):
        captured.append(len(problem))
        return SimpleNamespace(replay=search)

    monkeypatch.setattr(solvers, "Graph", graph)
    solver, plain = (Solver(PackedDynamics(model), FEW, 3, 100, one_hot=one_hot) for _ in range(2))
    solver._prepares = True
    for replan in range(2):
        plan, expected = (one.solve(problem(model, replan)) for one in (solver, plain))
        for name in ("actions", "cost", "history"):
            assert torch.equal(getattr(plan, name), getattr(expected, name)), name
    assert captured == [8]


def _index(plans, blocks):
    """The number of each plan among all pairs of blocks."""
    first, second = (plans[:, h] @ blocks.T for h in range(H))  # the number of equal choices
    return (first.argmax(dim=1) * len(blocks) + second.argmax(dim=1))[:, None]


def test_the_controller_gives_zeros_and_ones_the_same_alone(model):
    frames, goals = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
    controller = Controller(model, FEW, 1, GROUPS)

    def plan(some):
        context = Context(controller.embed(frames[some])[:, None])
        return controller.plan(context, controller.embed(goals[some]), np.arange(4)[some], replan=0)

    together = plan(slice(None))
    actions = controller.actions(together.actions)
    assert actions.shape == (4, H * F, sum(GROUPS))
    assert_one_hot(torch.from_numpy(actions), GROUPS)
    assert np.array_equal(actions[2], controller.actions(plan(slice(2, 3)).actions)[0])
    assert torch.equal(controller.blocks(actions), together.actions)
    imagined = controller.imagine(Context(controller.embed(frames)[:, None]), together.actions)[:, -1]
    torch.testing.assert_close((imagined - controller.embed(goals)).square().sum(dim=1), together.cost)


def test_groups_of_another_width_than_the_actions_are_refused(model):
    with pytest.raises(LewmError, match=r"one-hot actions of 4 numbers \(2, 2\), the model's have 5\nUse a run of"):
        Controller(model, FEW, 0, (2, 2))


def test_a_choice_that_is_never_made_is_normalised_to_one_at_most_and_not_planned(tiny, tmp_path):
    rng = np.random.default_rng(0)
    action = np.eye(3, dtype=np.float32)[rng.integers(0, 2, 40)]
    action = np.concatenate([action, np.tile(np.float32([0, 1]), (40, 1))], axis=1)
    with Writer.create(tmp_path / "a.h5", {}) as writer:
        writer.write_episode({"pixels": np.zeros((40, 4, 4, 3), np.uint8), "action": action})
    with Dataset.open(tmp_path / "a.h5") as dataset:
        mean, std = action_statistics(dataset)
    model = a_model(tiny)
    model.action_mean.copy_(torch.from_numpy(mean))
    model.action_std.copy_(torch.from_numpy(std))
    normal = model.normalize_actions(torch.ones(A))
    assert normal[[2, 3, 4]].tolist() == [1, 1, 0]
    assert normal.isfinite().all()
    controller, latents = Controller(model, FEW, 0, GROUPS), torch.zeros(2, model.config.latent)
    plans = controller.actions(controller.plan(Context(latents[:, None]), latents, np.arange(2), 0).actions)
    assert (plans[..., [2, 3]] == 0).all()
    assert (plans[..., 4] == 1).all()
