"""Solves as CUDA graphs of the Triton kernels: captured at the first of a size, equal to the search that they hold."""

import importlib
import logging

import pytest
import torch

from lewm import recipes
from lewm.config import resolve
from lewm.model import build
from lewm.model.actions import BlockBounds
from lewm.planning.costs import COSTS
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context
from lewm.planning.solver import Problem, Solver
from lewm_kernels import compiling
from lewm_kernels.dispatch import choose
from lewm_kernels.rollout.tiles import unsupported

pytestmark = pytest.mark.gpu

# Heads 16 wide: the kernels refuse narrower ones.
SMALL = {
    "model.latent": 32,
    "model.projector_hidden": 64,
    "model.predictor.projector_hidden": 64,
    "model.predictor.width": 32,
    "model.predictor.depth": 2,
    "model.predictor.heads": 2,
    "model.predictor.head_dim": 16,
    "model.predictor.mlp": 64,
    "planning.planner.samples": 128,  # with 50 environments enough for the design "whole"
    "planning.planner.elites": 8,
    "planning.planner.iterations": 5,
    "planning.horizon": 3,
}
SEED = 5
ONE_HOT = (3, 2)  # numbers of the two one-hot vectors of an action


@pytest.fixture(params=[1, 3], ids=["history-1", "history-3"])
def config(request):
    return resolve(recipes.small("two-room", 2), None, SMALL | {"model.predictor.history": request.param})


def a_model(config, action_dim=2):
    """Random weights, all of which matter."""
    torch.manual_seed(0)
    model = build(resolve(config, None, {"model.action_dim": action_dim}).model)
    for block in model.predictor.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    model.action_mean.fill_(0.5)
    model.action_std.fill_(0.5)
    return model.eval().to("cuda")


def a_solver(config, precision="bf16", one_hot=False, **options):
    model = a_model(config, sum(ONE_HOT) if one_hot else 2)
    dynamics = PackedDynamics(model, precision)
    assert choose("rollout", model.device, unsupported=unsupported(dynamics.packed)).backend == "triton"
    choices = OneHot.of(model, ONE_HOT) if one_hot else None
    return Solver(dynamics, config.planning, SEED, 100, one_hot=choices, **options)


def problem(config, environments, replan=0, seed=0):
    """Latents, goals and numbers of episodes."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, config.model.latent, generator=generator).cuda()
    episodes = torch.arange(100, 100 + environments, device="cuda")
    return Problem(Context(latents[:, None]), goals, episodes, torch.tensor(replan, device="cuda"))


def assert_close(plan, other):
    for name in ("actions", "cost", "history"):
        torch.testing.assert_close(getattr(plan, name), getattr(other, name))


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_an_evaluation_captures_two_graphs_which_replay_what_runs_without_them(config, captured, precision):
    solver, eager = a_solver(config, precision), a_solver(config, precision)
    eager._captures = False
    for turn, environments in enumerate([200, 97, 50, 3, 50, 3]):
        wanted = problem(config, environments, turn, seed=turn)
        assert_close(solver.solve(wanted), eager.solve(wanted))
    assert captured == [50, 4]
    assert all(solver._graphs.values())


def test_graphs_of_one_hot_actions(config, captured):
    solver, eager = a_solver(config, one_hot=True), a_solver(config, one_hot=True)
    eager._captures = False
    for turn, environments in enumerate([50, 3, 60, 4]):
        wanted = problem(config, environments, turn, seed=turn)
        plan = solver.solve(wanted)
        assert_close(plan, eager.solve(wanted))
        for vector in solver.one_hot.chosen(plan.actions).split(ONE_HOT * config.model.frameskip, dim=-1):
            assert (vector.sum(dim=-1) == 1).all()
    assert captured == [50, 4, 32]


def test_graphs_of_bounded_plans(config, captured):
    low, high = torch.full((2, config.model.action_block), 0.25, device="cuda") * torch.tensor(
        [[-1], [1]], device="cuda"
    )
    solver, eager = (a_solver(config, bounds=BlockBounds(low, high)) for _ in range(2))
    eager._captures = False
    for turn, environments in enumerate([50, 3]):
        wanted = problem(config, environments, turn, seed=turn)
        plan = solver.solve(wanted)
        assert_close(plan, eager.solve(wanted))
        assert 0.2 < plan.actions.abs().max() <= 0.25 + 1e-6
    assert captured == [50, 4]


@pytest.fixture
def nothing_compiled():
    """Has Triton forget what other tests had it compile."""
    for name in ("rollout.kernels", "rollout.whole_kernels", "rollout.layerwise_kernels", "candidates.triton"):
        for kernel in vars(importlib.import_module(f"lewm_kernels.{name}")).values():
            if hasattr(kernel, "device_caches"):
                kernel.device_caches.clear()


@pytest.mark.usefixtures("nothing_compiled")
def test_all_kernels_are_compiled_while_the_first_solve_of_a_size_is_prepared(config, captured):
    told = []
    solver = a_solver(config, on_compile=lambda *progress: told.append(progress))
    solver.solve(problem(config, 1))
    assert captured == [1]
    assert told
    assert told == [(compiled, len(told)) for compiled in range(1, len(told) + 1)]
    first = solver.seconds_preparing
    assert first > 0
    with compiling.watch(lambda compiled: pytest.fail("a kernel was compiled in a replay")):
        solver.solve(problem(config, 1, replan=1, seed=1))
    assert solver.seconds_preparing == first


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("is_replayed", [False, True])
def test_a_prepared_solve_never_waits_for_the_device(config, nothing_waits, one_hot, is_replayed):
    solver, first, second = a_solver(config, one_hot=one_hot), problem(config, 3), problem(config, 3, replan=1)
    solver._captures = is_replayed
    solver.solve(first)
    with nothing_waits():
        solver.solve(second)
    assert [bool(graph) for graph in solver._graphs.values()] == [is_replayed]


def test_what_cannot_be_captured_runs_as_it_is_and_leaves_no_trace(config, monkeypatch, caplog):
    expected = a_solver(config).solve(problem(config, 3))
    make_cost = COSTS["last"](config.planning.cost, torch.device("cuda"))

    def refusing(dynamics, context, goal):
        cost = make_cost(dynamics, context, goal)

        def refuses(candidates):
            if torch.cuda.is_current_stream_capturing():
                raise RuntimeError("this cannot be captured\nThe second line is for another reader.")
            return cost(candidates)

        return refuses

    monkeypatch.setitem(COSTS, "last", lambda settings, device: refusing)
    solver, stream = a_solver(config), torch.cuda.current_stream()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_close(solver.solve(problem(config, 3)), expected)
    assert [record.message for record in caplog.records] == [
        "planning without a CUDA graph, more slowly: this cannot be captured"
    ]
    assert list(solver._graphs.values()) == [None]
    assert torch.cuda.current_stream() == stream
    monkeypatch.setitem(COSTS, "last", lambda settings, device: make_cost)
    again = a_solver(config)
    assert_close(again.solve(problem(config, 3)), expected)
    assert all(again._graphs.values())
