"""The solver: groups, memory, graphs and precision change how plans are made, and no plan."""

import itertools
import logging
from dataclasses import replace

import pytest
import torch

from lewm.config import resolve
from lewm.errors import LewmError
from lewm.planning.controller import Controller
from lewm.planning.costs import COSTS
from lewm.planning.costs.distance import last
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners import PLANNERS, Search
from lewm.planning.planners.cem import cem
from lewm.planning.solver import Problem, Solver
from lewm_kernels.rollout import reference

SEED = 5


@pytest.fixture
def planning(tiny):
    return tiny.planning


def problem(model, environments, seed=0, replan=0):
    """Latents, goals and numbers of episodes, on the model's device."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, model.config.latent, generator=generator).to(model.device)
    episodes = torch.arange(100, 100 + environments, device=model.device)
    return Problem(Context(latents[:, None]), goals, episodes, torch.tensor(replan))


def changed(planning, **settings):
    """With other settings of the planner."""
    return planning.model_copy(update={"planner": planning.planner.model_copy(update=settings)})


def a_solver(model, planning, together=100, precision="fp32"):
    return Solver(PackedDynamics(model, precision), planning, SEED, together)


def assert_same(plan, other):
    for name in ("actions", "cost", "history"):
        assert torch.equal(getattr(plan, name), getattr(other, name)), name


def test_a_solve_is_one_search_for_all_environments(model, planning):
    wanted = problem(model, 10, replan=2)
    start = Start.standard(10, planning.horizon, model.config.action_block, model.device)
    cost = last(PackedDynamics(model), wanted.context, wanted.goals)
    expected = cem(cost, start, planning.planner, Keys(SEED, wanted.episodes, 2))
    assert_same(a_solver(model, planning, 4).solve(wanted), expected)


@pytest.mark.parametrize("together", [1, 3, 7, 10])
def test_a_plan_does_not_depend_on_the_groups(model, planning, together):
    wanted = problem(model, 10, replan=2)
    expected = a_solver(model, planning).solve(wanted)
    assert_same(a_solver(model, planning, together).solve(wanted), expected)


def test_groups_shrink_as_the_search_grows(model, planning):
    def together(**change):
        return Controller(model, changed(planning, **change), SEED).solver.together

    assert together() > together(samples=1000) >= 1
    assert together(samples=10**6) == 1
    dynamics = PackedDynamics(model)
    assert dynamics.rows(5) == dynamics.rows(50)  # on a CPU, the caches bound them, not the memory
    elsewhere = PackedDynamics(model.to("meta"))
    assert elsewhere.rows(5) > 5 * elsewhere.rows(50) > 0


def limit_memory(monkeypatch, environments):
    """Costs of more environments than that are out of memory; the groups that were tried are returned."""
    tried = []

    def cost_in_little_memory(dynamics, context, goal):
        tried.append(len(goal))
        if len(goal) > environments:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return last(dynamics, context, goal)

    monkeypatch.setitem(COSTS, "last", lambda settings, device: cost_in_little_memory)
    return tried


def test_out_of_memory_halves_the_groups_says_so_once_and_changes_no_plan(model, planning, monkeypatch, caplog):
    wanted = problem(model, 10)
    expected = a_solver(model, planning).solve(wanted)
    tried = limit_memory(monkeypatch, 3)
    solver = a_solver(model, planning)
    with caplog.at_level(logging.WARNING):
        assert_same(solver.solve(wanted), expected)
        assert tried == [10, 5, 2, 2, 2, 2, 2]
        tried.clear()
        assert_same(solver.solve(wanted), expected)
        assert tried == [2] * 5
    assert [record.message for record in caplog.records] == [
        "cpu: out of memory planning 10 environments together; trying fewer"
    ]


def test_memory_that_runs_out_later_keeps_the_plans_that_are_made(model, planning, monkeypatch):
    wanted = problem(model, 9)
    expected = a_solver(model, planning).solve(wanted)
    tried = limit_memory(monkeypatch, 100)
    calls = itertools.count(1)
    make_cost = COSTS["last"](planning.cost, model.device)

    def fails_once(dynamics, context, goal):
        cost = make_cost(dynamics, context, goal)
        if next(calls) == 2:
            raise torch.OutOfMemoryError
        return cost

    monkeypatch.setitem(COSTS, "last", lambda settings, device: fails_once)
    assert_same(a_solver(model, planning, together=3).solve(wanted), expected)
    assert tried == [3, 3, 1, 1, 1, 1, 1, 1]


def test_memory_too_small_for_one_environment_says_what_to_lower(model, planning, monkeypatch):
    limit_memory(monkeypatch, 0)
    with pytest.raises(LewmError, match="cpu: out of memory planning a single environment with 64 samples of 5 blocks"):
        a_solver(model, planning).solve(problem(model, 4))


def test_plans_of_another_shape_are_refused(model, planning, monkeypatch):
    def one_block(cost, start, settings, keys):
        return replace(cem(cost, start, settings, keys), actions=start.mean[:, :1])

    monkeypatch.setitem(PLANNERS, "cem", Search(one_block))
    with pytest.raises(LewmError, match=r'"cem" made plans of shape \(3, 1, 10\), expected \(3, 5, 10\)'):
        a_solver(model, planning).solve(problem(model, 3))


def test_progress_is_told_at_every_iteration(model, planning):
    shares = []
    a_solver(model, planning, together=2).solve(problem(model, 3), on_iteration=shares.append)
    of_group = torch.arange(planning.planner.iterations + 1) / (planning.planner.iterations + 1)
    torch.testing.assert_close(torch.tensor(shares), torch.cat([of_group * 2 / 3, 2 / 3 + of_group / 3]))


def test_elites_are_those_of_the_definition_up_to_ties(model, planning):
    wanted = problem(model, 6)
    latents, goals = wanted.context.latents, wanted.goals
    kind = {"heads": model.predictor.heads, "residual": model.predictor.residual}
    exact = {name: tensor.double() for name, tensor in model.state_dict().items()}
    candidates = torch.randn(6, 200, 5, model.config.action_block, generator=torch.Generator().manual_seed(1))
    cost = last(PackedDynamics(model), wanted.context, goals)(candidates)
    reached = reference.rollout(exact, latents.double(), candidates.double(), **kind)[:, :, -1]
    expected = (reached - goals.double()[:, None]).square().sum(dim=-1)
    torch.testing.assert_close(cost.double(), expected, rtol=1e-4, atol=0)
    for b in range(6):
        ours, theirs = (set(x[b].topk(30, largest=False).indices.tolist()) for x in (cost, expected))
        worst = expected[b].kthvalue(30).values
        for either in ours ^ theirs:
            torch.testing.assert_close(expected[b, either], worst, rtol=1e-5, atol=0)


def test_plans_in_bf16_are_as_good(model, tiny):
    more = {"samples": 200, "elites": 20, "iterations": 10}
    planning = resolve(tiny, None, {f"planning.planner.{name}": value for name, value in more.items()}).planning
    wanted = problem(model, 40)
    cost = last(PackedDynamics(model), wanted.context, wanted.goals)
    costs = {}
    for precision in ("fp32", "bf16"):
        plan = a_solver(model, planning, precision=precision).solve(wanted)
        costs[precision] = cost(plan.actions[:, None])[:, 0]
    assert not torch.equal(costs["fp32"], costs["bf16"])
    assert costs["bf16"].mean() < 1.01 * costs["fp32"].mean()


def test_the_default_precision_is_auto_and_fp32_on_a_cpu(model, planning):
    assert planning.precision == "auto"
    assert Controller(model, planning, SEED).dynamics.packed.precision == "fp32"


def test_tf32_is_refused_on_a_cpu(model, planning):
    with pytest.raises(LewmError, match=r"tf32 .* CUDA devices only, and the model is on cpu\nUse --precision fp32"):
        Controller(model, planning.model_copy(update={"precision": "tf32"}), SEED)
