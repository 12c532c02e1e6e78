"""Costs are what their formulas say, of each candidate by itself."""

import numpy as np
import pytest
import torch

from lewm.config import Cem, HeadCost, LastCost, MeanCost, MinCost, Planning, resolve
from lewm.errors import LewmError
from lewm.planning.costs import COSTS
from lewm.planning.costs.head import Head, load_head, save_head
from lewm.planning.plan import Context, Plan
from lewm.planning.planners import PLANNERS, Search
from lewm.planning.solver import Problem, Solver

CPU = torch.device("cpu")
D = 6  # latent and action block of the world below

SETTINGS = [
    LastCost(),
    MinCost(),
    MeanCost(),
    *(HeadCost(path="file", over=over) for over in ("last", "min", "mean")),
    *(HeadCost(path="file", over=over, distance_weight=0.7) for over in ("last", "min", "mean")),
]


def name_of(settings):
    return "-".join(str(value) for value in settings.model_dump(exclude={"path"}).values())


every_cost = pytest.mark.parametrize("settings", SETTINGS, ids=name_of)


class Shifts:
    """No model: a block moves the latent by its numbers."""

    device, history = CPU, 2

    def __init__(self, width=D):
        self.action_block = width

    def rows(self, horizon):
        return 1000

    def __call__(self, latents, candidates, history=None, /):
        return latents[:, -1, None, None] + candidates.cumsum(dim=2)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Files of heads with random weights, by their latent and widths."""
    home = tmp_path_factory.mktemp("heads")

    def file(latent=D, widths=(16, 8)):
        path = home / f"{latent}-{widths}.safetensors"
        torch.manual_seed(0)
        save_head(path, Head(latent, widths))
        return path

    return file


def cost_of(settings, path, latents, goals, candidates, width=D):
    if isinstance(settings, HeadCost):
        settings = settings.model_copy(update={"path": str(path)})
    make = COSTS[settings.kind](settings, CPU)
    return make(Shifts(width), Context(latents), goals)(candidates)


def drawn(environments, samples, horizon, width=D, seed=0):
    """Latents, goals and candidates."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, width, generator=generator)
    return latents[:, None], goals, torch.randn(environments, samples, horizon, width, generator=generator)


def head_in_numpy(path, earlier, later):
    head, _ = load_head(path, CPU)
    x = np.concatenate([earlier, later, earlier - later, np.abs(earlier - later)], axis=-1)
    *hidden, last = [(layer.weight.double().numpy(), layer.bias.double().numpy()) for layer in (*head.hidden, head.out)]
    for weight, bias in hidden:
        x = x @ weight.T + bias
        x = x / (1 + np.exp(-x))
    return np.log1p(np.exp(x @ last[0].T + last[1]))[..., 0]


def z_scores(costs):
    return (costs - costs.mean(axis=1, keepdims=True)) / costs.std(axis=1, keepdims=True)


OVER = {"last": lambda steps: steps[..., -1], "min": lambda steps: steps.min(-1), "mean": lambda steps: steps.mean(-1)}


def in_numpy(settings, path, latents, goals, candidates):
    """Costs in float64."""
    latents, goals, candidates = (tensor.double().numpy() for tensor in (latents, goals, candidates))
    predicted = latents[:, None] + candidates.cumsum(axis=2)
    goals = np.broadcast_to(goals[:, None, None], predicted.shape)
    distance = ((predicted - goals) ** 2).sum(axis=-1)
    if not isinstance(settings, HeadCost):
        return OVER[settings.kind](distance)
    over, weight = OVER[settings.over], settings.distance_weight
    steps = over(head_in_numpy(path, predicted, goals))
    return z_scores(steps) + weight * z_scores(over(distance)) if weight else steps


def test_every_kind_is_tested_here():
    assert {settings.kind for settings in SETTINGS} == set(COSTS)


@every_cost
@pytest.mark.parametrize("horizon", [1, 4])
def test_values_are_those_of_the_formula(settings, horizon, heads):
    given = drawn(3, 20, horizon)
    costs = cost_of(settings, heads(), *given)
    np.testing.assert_allclose(costs.numpy(), in_numpy(settings, heads(), *given), rtol=1e-4, atol=1e-5)


@every_cost
@pytest.mark.parametrize(("samples", "horizon"), [(1, 3), (30, 1), (65, 3)])
def test_a_candidate_costs_the_same_alone_and_in_any_batch(settings, samples, horizon, heads):
    path = heads(64, (256, 256))
    latents, goals, candidates = drawn(7, samples, horizon, 64)
    together = cost_of(settings, path, latents, goals, candidates, 64)
    for some in (slice(0, 1), slice(3, 4), slice(2, 7)):
        assert torch.equal(together[some], cost_of(settings, path, latents[some], goals[some], candidates[some], 64))


@pytest.mark.parametrize("kinds", [(MinCost, MeanCost, LastCost), "head"], ids=["distance", "head"])
def test_the_least_is_at_most_the_mean_and_the_last(kinds, heads):
    def costs(given):
        if kinds == "head":
            return [cost_of(HeadCost(path="file", over=over), heads(), *given) for over in ("min", "mean", "last")]
        return [cost_of(kind(), None, *given) for kind in kinds]

    least, mean, last = costs(drawn(5, 40, 4))
    assert (least <= mean * (1 + 1e-6)).all()
    assert (least <= last).all()
    assert (least < last).any()
    assert (mean > last).any()
    assert (mean < last).any()
    least, mean, last = costs(drawn(5, 40, 1))
    assert torch.equal(least, last)
    assert torch.equal(mean, last)


def test_equal_candidates_have_equal_z_scores(heads):
    latents, goals, candidates = drawn(3, 1, 2)
    costs = cost_of(SETTINGS[-1], heads(), latents, goals, candidates.expand(-1, 9, -1, -1))
    assert costs.shape == (3, 9)
    assert torch.equal(costs, torch.zeros(3, 9))
    assert torch.equal(cost_of(SETTINGS[-1], heads(), latents, goals, candidates), torch.zeros(3, 1))


@pytest.fixture
def of_two(tmp_path):
    """A head that looks at two numbers of the latents alone: how far apart these are, added up, through softplus."""
    head = Head(D, ())
    with torch.no_grad():
        head.out.bias.zero_()
        head.out.weight.zero_()
        head.out.weight[0, 3 * D : 3 * D + 2] = 1
    save_head(tmp_path / "of-two.safetensors", head)
    return tmp_path / "of-two.safetensors"


def test_a_head_of_known_weights_is_what_they_say(of_two):
    earlier, later = torch.randn(2, 50, D, generator=torch.Generator().manual_seed(0))
    apart = (earlier - later)[:, :2].abs().sum(dim=-1)
    torch.testing.assert_close(load_head(of_two, CPU)[0](earlier, later), torch.nn.functional.softplus(apart))


def test_plans_reach_what_the_head_looks_at(of_two):
    planner = Cem(samples=200, elites=20, iterations=30)
    planning = Planning(planner=planner, cost=HeadCost(path=str(of_two)), horizon=2)
    goals = torch.tensor([[2.0, -1, 5, 5, 5, 5], [-1, 2, -5, -5, -5, -5]])
    problem = Problem(Context(torch.zeros(2, 1, D)), goals, torch.arange(2), torch.tensor(0))
    plan = Solver(Shifts(), planning, seed=0).solve(problem)
    reached = plan.actions.sum(dim=1)
    torch.testing.assert_close(reached[:, :2], goals[:, :2], atol=0.05, rtol=0)
    assert ((reached - goals)[:, 2:].abs() > 1).all()
    with_distance = planning.model_copy(update={"cost": HeadCost(path=str(of_two), distance_weight=10)})
    reached = Solver(Shifts(), with_distance, seed=0).solve(problem).actions.sum(dim=1)
    assert ((reached - goals)[:, 2:].abs() < 1).all()


@every_cost
def test_gradients_pass_inside_a_solve(settings, heads, monkeypatch):
    if isinstance(settings, HeadCost):
        settings = settings.model_copy(update={"path": str(heads())})
    latents, goals, candidates = drawn(2, 5, 3)
    found = []

    def search(cost, start, planner, keys):
        variable = candidates.clone().requires_grad_()
        costs = cost(variable)
        found.append(torch.autograd.grad(costs.sum(), variable)[0])
        return Plan(start.mean, costs.detach()[:, 0], costs.detach())

    monkeypatch.setitem(PLANNERS, "cem", Search(search, differentiates=True))
    planning = Planning(planner=Cem(samples=5, elites=2), cost=settings, horizon=3)
    problem = Problem(Context(latents), goals, torch.arange(2), torch.tensor(0))
    Solver(Shifts(), planning, seed=0, together=2).solve(problem)
    assert found[0].abs().sum(dim=(2, 3)).min() > 1e-3
    if isinstance(settings, HeadCost) and settings.distance_weight:
        return  # its gradient takes mean and standard deviation as given: see the next test
    direction, size = torch.randn(candidates.shape, generator=torch.Generator().manual_seed(1)).double(), 1e-6
    ahead, behind = (
        in_numpy(settings, heads(), latents, goals, candidates + step * direction) for step in (size, -size)
    )
    got = (found[0] * direction).sum(dim=(2, 3)).numpy()
    np.testing.assert_allclose(got, (ahead - behind) / (2 * size), rtol=1e-3, atol=1e-3)


def test_gradients_with_z_scores_are_those_of_the_parts_by_their_deviations(heads):
    latents, goals, candidates = drawn(2, 5, 3)

    def gradient(settings):
        variable = candidates.clone().requires_grad_()
        costs = cost_of(settings, heads(), latents, goals, variable)
        return costs.detach(), torch.autograd.grad(costs.sum(), variable)[0]

    both = gradient(HeadCost(path="file", over="mean", distance_weight=0.7))[1]
    steps, of_steps = gradient(HeadCost(path="file", over="mean"))
    distance, of_distance = gradient(MeanCost())
    scale = [costs.std(dim=1, correction=0)[:, None, None, None] for costs in (steps, distance)]
    torch.testing.assert_close(both, of_steps / scale[0] + 0.7 * of_distance / scale[1])


def test_a_head_for_other_latents_is_refused(heads):
    path = heads(5, ())
    with pytest.raises(LewmError, match=r"latents of 5 numbers, the model's have 6\n.*cost\.path"):
        cost_of(HeadCost(path="file"), path, *drawn(2, 3, 1))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"planning.cost.kind": "means"}, r'planning\.cost\.kind in the options: "means"\nDid you mean "mean"\?'),
        (
            {"planning.cost.kind": "head", "planning.cost.path": ""},
            r"planning\.cost\.path: .*at least 1 character",
        ),
        ({"planning.cost.over": "min"}, r'"planning\.cost\.over"'),
        (
            {"planning.cost.kind": "head", "planning.cost.path": "file", "planning.cost.over": "first"},
            r"planning\.cost\.over: .*got 'first'",
        ),
    ],
)
def test_wrong_settings_are_refused_by_their_key(tiny, changes, says):
    with pytest.raises(LewmError, match=says):
        resolve(tiny, None, changes)


def test_a_context_has_to_be_one_that_the_predictor_sees(tiny):
    history = tiny.model.predictor.history
    assert resolve(tiny, None, {"planning.context": history}).planning.context == history
    with pytest.raises(
        LewmError, match=rf"planning\.context {history + 1} exceeds model\.predictor\.history {history}"
    ):
        resolve(tiny, None, {"planning.context": history + 1})
