"""What the solver does on a CUDA device, done on the CPU with stand-ins for graphs: it changes no plan.

`tests/gpu/test_solver.py` has the graphs themselves.
"""

import logging
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from lewm.planning import solver as solvers
from lewm.planning.costs import COSTS
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.plan import Context
from lewm.planning.solver import Problem, Solver
from lewm.runtime import clock
from lewm_kernels import compiling

SEED = 5


@pytest.fixture
def planning(tiny):
    return tiny.planning


def problem(model, environments, replan=0, seed=0):
    """Latents, goals and numbers of episodes."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, model.config.latent, generator=generator)
    episodes = torch.arange(100, 100 + environments)
    return Problem(Context(latents[:, None]), goals, episodes, torch.tensor(replan))


def a_solver(model, planning, together=100, **options):
    return Solver(PackedDynamics(model), planning, SEED, together, **options)


def graphed(model, planning, together=100, **options):
    """A solver that does on the CPU what it would do on a CUDA device, with stand-ins for graphs."""
    solver = a_solver(model, planning, together, **options)
    solver._prepares = True
    return solver


def assert_same(plan, other):
    for name in ("actions", "cost", "history"):
        assert torch.equal(getattr(plan, name), getattr(other, name)), name


def test_the_first_solve_of_a_size_is_captured_and_all_are_replayed(model, planning, recording):
    solver, plain = graphed(model, planning), a_solver(model, planning)
    for turn, environments in enumerate([4, 2, 4, 3, 2]):  # 3 are padded to 4
        wanted, shares = problem(model, environments, turn, seed=turn), []
        assert_same(solver.solve(wanted, on_iteration=shares.append), plain.solve(wanted))
        assert shares == [0.0]
    assert recording.made == [4, 2]
    assert recording.replayed == [4, 2, 4, 4, 2]
    four, two = solver._graphs.values()
    assert two.others is four


@pytest.mark.parametrize("together", [1000, 30])
def test_an_evaluation_captures_few_graphs_and_padding_changes_no_plan(model, planning, recording, together):
    few = planning.planner.model_copy(update={"samples": 16, "iterations": 2})
    planning = planning.model_copy(update={"planner": few})
    solver, plain = graphed(model, planning, together), a_solver(model, planning)
    for turn, environments in enumerate([200, 97, 50, 3]):
        wanted = problem(model, environments, turn, seed=turn)
        assert_same(solver.solve(wanted), plain.solve(wanted))
    expected = {1000: [50] * 7 + [4], 30: [16] * (13 + 7 + 4) + [4]}[together]
    assert recording.replayed == expected
    assert recording.made == [expected[0], 4]


def test_a_size_is_prepared_with_the_shapes_of_its_search_before_it_is_captured(
    model, planning, recording, monkeypatch
):
    shapes, at_capture = [], []
    make_cost, count = COSTS["last"](planning.cost, model.device), compiling.count

    def watched(dynamics, context, goal):
        cost = make_cost(dynamics, context, goal)
        return lambda candidates: shapes.append(tuple(candidates.shape)) or cost(candidates)

    class Counting(recording):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            at_capture.extend(shapes)

    @contextmanager
    def three_kernels(on_compiled):
        for compiled in (1, 2, 3):
            on_compiled(compiled)
        yield

    monkeypatch.setitem(COSTS, "last", lambda settings, device: watched)
    monkeypatch.setattr(solvers, "Graph", Counting)
    monkeypatch.setattr(compiling, "count", lambda run: count(run) + 3)
    monkeypatch.setattr(compiling, "watch", three_kernels)
    told = []
    solver = graphed(model, planning, on_compile=lambda *progress: told.append(progress))
    for turn in range(2):
        solver.solve(problem(model, 3, turn))
    samples, blocks = planning.planner.samples, (planning.horizon, model.config.action_block)
    assert at_capture == [(4, samples, *blocks), (4, 1, *blocks)] * 2  # to count kernels, and to compile them
    assert set(shapes) == set(at_capture)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_preparation_is_timed_apart(model, planning, recording, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(solvers, "clock", lambda device: now[0])
    plan = Solver._plan

    def slow(self, planner, *arguments, **options):
        now[0] += planner.iterations
        return plan(self, planner, *arguments, **options)

    monkeypatch.setattr(Solver, "_plan", slow)
    solver = graphed(model, planning)
    solver.solve(problem(model, 4))
    assert solver.seconds_preparing == 2  # two short searches; not the replay
    solver.solve(problem(model, 4, 1))
    assert solver.seconds_preparing == 2
    plain = a_solver(model, planning)
    plain.solve(problem(model, 4))
    assert plain.seconds_preparing == 0


def test_the_clock_is_read_when_the_device_is_done(monkeypatch):
    now = [1.0]
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: now.append(2.0))
    monkeypatch.setattr("lewm.runtime.time", SimpleNamespace(perf_counter=lambda: now[-1]))
    assert clock(torch.device("cpu")) == 1
    assert clock(torch.device("cuda", 0)) == 2


def test_what_cannot_be_captured_is_said_once_and_runs_as_it_is(model, planning, monkeypatch, caplog):
    def refuse(search, problem, others):
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(solvers, "Graph", refuse)
    solver, plain = graphed(model, planning), a_solver(model, planning)
    with caplog.at_level(logging.WARNING):
        for environments in (3, 3, 1):
            wanted = problem(model, environments)
            assert_same(solver.solve(wanted), plain.solve(wanted))
    assert [record.message for record in caplog.records] == [
        "planning without a CUDA graph, more slowly: operation not permitted when stream is capturing"
    ]


def test_memory_that_runs_out_in_a_capture_halves_the_groups(model, planning, monkeypatch, recording):
    def refuse(search, problem, others):
        if len(problem) > 2:
            try:
                raise torch.OutOfMemoryError
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")
        return recording(search, problem, others)

    monkeypatch.setattr(solvers, "Graph", refuse)
    solver, wanted = graphed(model, planning), problem(model, 4)
    for _ in range(3):
        assert_same(solver.solve(wanted), a_solver(model, planning).solve(wanted))
    assert solver.together == 2
    assert recording.made == [2]


def test_memory_that_runs_out_while_a_size_is_prepared_halves_the_groups(model, planning, monkeypatch, recording):
    wanted = problem(model, 45)
    expected = a_solver(model, planning).solve(wanted)
    plan = Solver._plan

    def plan_in_little_memory(self, planner, problem, *arguments, **options):
        if len(problem) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return plan(self, planner, problem, *arguments, **options)

    monkeypatch.setattr(Solver, "_plan", plan_in_little_memory)
    solver = graphed(model, planning)
    assert_same(solver.solve(wanted), expected)
    assert recording.made == [16]
    assert recording.replayed == [16] * 3
