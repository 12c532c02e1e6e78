"""What the solver does on a CUDA device, done on the CPU with stand-ins for graphs: it changes no plan.

`tests/gpu/test_solver.py` has the graphs themselves.
"""

import logging
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from lewm.planning import solver as solvers
from lewm.planning.solver import Solver
from lewm.runtime import clock
from lewm_kernels import compiling

SEED = 5


@pytest.fixture
def planning(tiny):
    return tiny.planning


def problem(model, environments, seed=0):
    """Latents, goals and numbers of episodes."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, model.config.latent, generator=generator)
    return latents[:, None], goals, torch.arange(100, 100 + environments)


def a_solver(model, planning, together=100, **options):
    return Solver(model.pack(), planning, SEED, together, **options)


def graphed(model, planning, together=100, **options):
    """A solver that does on the CPU what it would do on a CUDA device, with stand-ins for graphs."""
    solver = a_solver(model, planning, together, **options)
    solver._prepares = solver._captures = True
    return solver


def assert_same(plan, other):
    for name in ("actions", "cost", "history"):
        assert torch.equal(getattr(plan, name), getattr(other, name)), name


class Recording:
    """Stands for a CUDA graph."""

    made: list[int]
    replayed: list[int]

    def __init__(self, search, inputs, others=None):
        self.search, self.environments = search, len(inputs[0])
        self.others = others
        self.made.append(self.environments)

    def replay(self, inputs):
        assert len(inputs[0]) == self.environments
        self.replayed.append(self.environments)
        return self.search(inputs)


@pytest.fixture
def recording(monkeypatch):
    monkeypatch.setattr(Recording, "made", [], raising=False)
    monkeypatch.setattr(Recording, "replayed", [], raising=False)
    monkeypatch.setattr(solvers, "Graph", Recording)
    return Recording


def test_the_first_solve_of_a_size_is_captured_and_all_are_replayed(model, planning, recording):
    solver, plain = graphed(model, planning), a_solver(model, planning)
    for turn, environments in enumerate([4, 2, 4, 3, 2]):  # 3 are padded to 4
        inputs = problem(model, environments, seed=turn)
        shares = []
        assert_same(solver.solve(*inputs, turn, shares.append), plain.solve(*inputs, turn))
        assert shares == [0.0]
    assert recording.made == [4, 2]
    assert recording.replayed == [4, 2, 4, 4, 2]
    assert solver._graphs[2].others is solver._graphs[4]


@pytest.mark.parametrize("together", [1000, 30])
def test_an_evaluation_captures_few_graphs_and_padding_changes_no_plan(model, planning, recording, together):
    planning = planning.model_copy(update={"samples": 16, "iterations": 2})
    solver, plain = graphed(model, planning, together), a_solver(model, planning)
    for turn, environments in enumerate([200, 97, 50, 3]):
        inputs = problem(model, environments, seed=turn)
        assert_same(solver.solve(*inputs, turn), plain.solve(*inputs, turn))
    expected = {1000: [50] * 7 + [4], 30: [16] * (13 + 7 + 4) + [4]}[together]
    assert recording.replayed == expected
    assert recording.made == [expected[0], 4]


def test_a_size_is_prepared_with_the_shapes_of_its_search_before_it_is_captured(
    model, planning, recording, monkeypatch
):
    shapes, at_capture = [], []
    distance, count = solvers.last_step, compiling.count

    def watched(packed, latents, goal):
        cost = distance(packed, latents, goal)
        return lambda candidates: shapes.append(tuple(candidates.shape)) or cost(candidates)

    class Counting(Recording):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            at_capture.extend(shapes)

    @contextmanager
    def three_kernels(on_compiled):
        for compiled in (1, 2, 3):
            on_compiled(compiled)
        yield

    monkeypatch.setattr(solvers, "last_step", watched)
    monkeypatch.setattr(solvers, "Graph", Counting)
    monkeypatch.setattr(compiling, "count", lambda run: count(run) + 3)
    monkeypatch.setattr(compiling, "watch", three_kernels)
    told = []
    solver = graphed(model, planning, on_compile=lambda *progress: told.append(progress))
    for turn in range(2):
        solver.solve(*problem(model, 3), turn)
    blocks = planning.horizon, model.config.action_block
    assert at_capture == [(4, planning.samples, *blocks), (4, 1, *blocks)] * 2  # to count kernels, and to compile them
    assert set(shapes) == set(at_capture)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_preparation_is_timed_apart(model, planning, recording, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(solvers, "clock", lambda device: now[0])
    search = Solver._search

    def slow(self, planning, *arguments):
        now[0] += planning.iterations
        return search(self, planning, *arguments)

    monkeypatch.setattr(Solver, "_search", slow)
    solver = graphed(model, planning)
    solver.solve(*problem(model, 4), 0)
    assert solver.seconds_preparing == 2  # two short searches; not the replay
    solver.solve(*problem(model, 4), 1)
    assert solver.seconds_preparing == 2
    plain = a_solver(model, planning)
    plain.solve(*problem(model, 4), 0)
    assert plain.seconds_preparing == 0


def test_the_clock_is_read_when_the_device_is_done(monkeypatch):
    now = [1.0]
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: now.append(2.0))
    monkeypatch.setattr("lewm.runtime.time", SimpleNamespace(perf_counter=lambda: now[-1]))
    assert clock(torch.device("cpu")) == 1
    assert clock(torch.device("cuda", 0)) == 2


def test_what_cannot_be_captured_is_said_once_and_runs_as_it_is(model, planning, monkeypatch, caplog):
    def refuse(search, inputs, others):
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(solvers, "Graph", refuse)
    solver, plain = graphed(model, planning), a_solver(model, planning)
    with caplog.at_level(logging.WARNING):
        for environments in (3, 3, 1):
            inputs = problem(model, environments)
            assert_same(solver.solve(*inputs, 0), plain.solve(*inputs, 0))
    assert [record.message for record in caplog.records] == [
        "planning without a CUDA graph, more slowly: operation not permitted when stream is capturing"
    ]


def test_memory_that_runs_out_in_a_capture_halves_the_groups(model, planning, monkeypatch, recording):
    def refuse(search, inputs, others):
        if len(inputs[0]) > 2:
            try:
                raise torch.OutOfMemoryError
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")
        return Recording(search, inputs, others)

    monkeypatch.setattr(solvers, "Graph", refuse)
    solver, inputs = graphed(model, planning), problem(model, 4)
    for _ in range(3):
        assert_same(solver.solve(*inputs, 0), a_solver(model, planning).solve(*inputs, 0))
    assert solver.together == 2
    assert recording.made == [2]


def test_memory_that_runs_out_while_a_size_is_prepared_halves_the_groups(model, planning, monkeypatch, recording):
    inputs = problem(model, 45)
    expected = a_solver(model, planning).solve(*inputs, 0)
    search = Solver._search

    def search_in_little_memory(self, planning, inputs, *report):
        if len(inputs[0]) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return search(self, planning, inputs, *report)

    monkeypatch.setattr(Solver, "_search", search_in_little_memory)
    solver = graphed(model, planning)
    assert_same(solver.solve(*inputs, 0), expected)
    assert recording.made == [16]
    assert recording.replayed == [16] * 3
