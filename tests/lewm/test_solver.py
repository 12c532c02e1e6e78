"""The solver: groups, memory, graphs and precision change how plans are made, and no plan."""

import itertools
import logging

import pytest
import torch

from lewm.config import resolve
from lewm.errors import LewmError
from lewm.planning import solver as solvers
from lewm.planning.controller import Controller
from lewm.planning.solver import Solver
from lewm_kernels.rollout import reference

SEED = 5


@pytest.fixture
def planning(tiny):
    return tiny.planning


def problem(model, environments, seed=0):
    """Latents, goals and numbers of episodes, on the model's device."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, model.config.latent, generator=generator).to(model.device)
    return latents[:, None], goals, torch.arange(100, 100 + environments, device=model.device)


def a_solver(model, planning, together=100, precision="fp32"):
    return Solver(model.pack(precision), planning, SEED, together)


def assert_same(plan, other):
    for name in ("actions", "cost", "history"):
        assert torch.equal(getattr(plan, name), getattr(other, name)), name


def test_a_solve_is_one_search_for_all_environments(model, planning):
    latents, goals, episodes = problem(model, 10)
    packed = model.pack()
    start = Gaussian.standard(10, planning.horizon, model.config.action_block, model.device)
    expected = cem(last_step(packed, latents, goals), start, planning, Keys(SEED, episodes, 2))
    assert_same(a_solver(model, planning, 4).solve(latents, goals, episodes, replan=2), expected)


@pytest.mark.parametrize("together", [1, 3, 7, 10])
def test_a_plan_does_not_depend_on_the_groups(model, planning, together):
    inputs = problem(model, 10)
    expected = a_solver(model, planning).solve(*inputs, replan=2)
    assert_same(a_solver(model, planning, together).solve(*inputs, replan=2), expected)


def test_groups_shrink_as_the_search_grows(model, planning):
    def together(**change):
        return Controller(model, planning.model_copy(update=change), SEED).solver.together

    assert together() > together(samples=1000) >= 1
    assert together(samples=10**6) == 1
    assert rows_together(model, 5) == rows_together(model, 50)  # on a CPU, the caches bound them, not the memory
    model.to("meta")
    assert rows_together(model, 5) > 5 * rows_together(model, 50) > 0


def limit_memory(monkeypatch, environments):
    """Costs of more environments than that are out of memory; the groups that were tried are returned."""
    tried = []

    def cost_in_little_memory(packed, latents, goal):
        tried.append(len(latents))
        if len(latents) > environments:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return last_step(packed, latents, goal)

    monkeypatch.setattr(solvers, "last_step", cost_in_little_memory)
    return tried


def test_out_of_memory_halves_the_groups_says_so_once_and_changes_no_plan(model, planning, monkeypatch, caplog):
    inputs = problem(model, 10)
    expected = a_solver(model, planning).solve(*inputs, replan=0)
    tried = limit_memory(monkeypatch, 3)
    solver = a_solver(model, planning)
    with caplog.at_level(logging.WARNING):
        assert_same(solver.solve(*inputs, replan=0), expected)
        assert tried == [10, 5, 2, 2, 2, 2, 2]
        tried.clear()
        assert_same(solver.solve(*inputs, replan=0), expected)
        assert tried == [2] * 5
    assert [record.message for record in caplog.records] == [
        "cpu: out of memory planning 10 environments together; trying fewer"
    ]


def test_memory_that_runs_out_later_keeps_the_plans_that_are_made(model, planning, monkeypatch):
    inputs = problem(model, 9)
    expected = a_solver(model, planning).solve(*inputs, replan=0)
    tried = limit_memory(monkeypatch, 100)
    calls = itertools.count(1)
    distance = solvers.last_step

    def fails_once(packed, latents, goal):
        cost = distance(packed, latents, goal)
        if next(calls) == 2:
            raise torch.OutOfMemoryError
        return cost

    monkeypatch.setattr(solvers, "last_step", fails_once)
    assert_same(a_solver(model, planning, together=3).solve(*inputs, replan=0), expected)
    assert tried == [3, 3, 1, 1, 1, 1, 1, 1]


def test_memory_too_small_for_one_environment_says_what_to_lower(model, planning, monkeypatch):
    limit_memory(monkeypatch, 0)
    with pytest.raises(LewmError, match="cpu: out of memory planning a single environment with 64 samples of 5 blocks"):
        a_solver(model, planning).solve(*problem(model, 4), replan=0)


def test_progress_is_told_at_every_iteration(model, planning):
    shares = []
    a_solver(model, planning, together=2).solve(*problem(model, 3), 0, shares.append)
    of_group = torch.arange(planning.iterations + 1) / (planning.iterations + 1)
    torch.testing.assert_close(torch.tensor(shares), torch.cat([of_group * 2 / 3, 2 / 3 + of_group / 3]))


def test_elites_are_those_of_the_definition_up_to_ties(model, planning):
    latents, goals, _ = problem(model, 6)
    heads = model.config.predictor.heads
    exact = {name: tensor.double() for name, tensor in model.state_dict().items()}
    candidates = torch.randn(6, 200, 5, model.config.action_block, generator=torch.Generator().manual_seed(1))
    cost = last_step(model.pack(), latents, goals)(candidates)
    reached = reference.rollout(exact, latents.double(), candidates.double(), heads=heads)[:, :, -1]
    expected = (reached - goals.double()[:, None]).square().sum(dim=-1)
    torch.testing.assert_close(cost.double(), expected, rtol=1e-4, atol=0)
    for b in range(6):
        ours, theirs = (set(x[b].topk(30, largest=False).indices.tolist()) for x in (cost, expected))
        worst = expected[b].kthvalue(30).values
        for either in ours ^ theirs:
            torch.testing.assert_close(expected[b, either], worst, rtol=1e-5, atol=0)


def test_plans_in_bf16_are_as_good(model, tiny):
    planning = resolve(
        tiny, None, {"planning.planner.samples": 200, "planning.elites": 20, "planning.iterations": 10}
    ).planning
    latents, goals, episodes = problem(model, 40)
    cost = last_step(model.pack(), latents, goals)
    costs = {}
    for precision in ("fp32", "bf16"):
        plan = a_solver(model, planning, precision=precision).solve(latents, goals, episodes, 0)
        costs[precision] = cost(plan.actions[:, None])[:, 0]
    assert not torch.equal(costs["fp32"], costs["bf16"])
    assert costs["bf16"].mean() < 1.01 * costs["fp32"].mean()


def test_the_default_precision_is_auto_and_fp32_on_a_cpu(model, planning):
    assert planning.precision == "auto"
    assert Controller(model, planning, SEED).solver.packed.precision == "fp32"


def test_tf32_is_refused_on_a_cpu(model, planning):
    with pytest.raises(LewmError, match=r"tf32 .* CUDA devices only, and the model is on cpu\nUse --precision fp32"):
        Controller(model, planning.model_copy(update={"precision": "tf32"}), SEED)
