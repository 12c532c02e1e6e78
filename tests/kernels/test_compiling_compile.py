"""The kernels that are counted beforehand are those that are compiled, with Triton's own hooks; this needs no GPU.

Kernels are compiled where they would be launched, and not launched. Run with LEWM_COMPILE_ONLY=1, in a process of its
own, because interpreted kernels cannot be compiled: see conftest.py.
"""

import itertools

import pytest
import torch
from triton import knobs
from triton.runtime.jit import JITFunction

from lewm import recipes
from lewm.config import LastCost, Planner, Planning, resolve
from lewm.model import build
from lewm.planning import solver as solvers
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.plan import Context
from lewm.planning.planners import PLANNERS
from lewm.planning.solver import Problem, Solver
from lewm_kernels import compiling, dispatch, rollout

SMALL = {
    "model.latent": 16,
    "model.projector_hidden": 16,
    "model.predictor.projector_hidden": 16,
    "model.predictor.width": 16,
    "model.predictor.depth": 1,
    "model.predictor.heads": 1,
    "model.predictor.head_dim": 16,
    "model.predictor.mlp": 16,
    "model.predictor.history": 3,
}


DEVICES = itertools.count()  # each has a cache of kernels of its own


@pytest.fixture(autouse=True)
def compile_only(monkeypatch, compile_for):
    """Operators take their Triton kernels, which are compiled where they would be launched."""
    monkeypatch.setenv("LEWM_KERNELS", "triton")
    monkeypatch.setattr(dispatch, "triton_obstacle", lambda device: None)
    run = JITFunction.run
    monkeypatch.setattr(JITFunction, "run", lambda self, *a, warmup, **options: run(self, *a, warmup=True, **options))
    compile_for(90, device=next(DEVICES))


@pytest.fixture
def model():
    return build(resolve(recipes.small("two-room", 2), None, SMALL).model).eval()


def compiled_by(run):
    """The counts that `watch` reports."""
    told = []
    with compiling.watch(told.append):
        run()
    return told


def test_what_is_counted_is_compiled_and_then_no_more(model):
    packed = model.pack()

    def roll_out(candidates):
        latents = torch.zeros(1, 1, packed.latent)
        rollout(packed, latents, torch.zeros(1, candidates, 2, packed.action_block), design="split")

    assert compiling.count(lambda: None) == 0
    few = compiling.count(lambda: roll_out(16))
    assert few > 3
    assert compiling.count(lambda: roll_out(16)) == few  # counting compiles nothing
    assert compiled_by(lambda: roll_out(16)) == list(range(1, few + 1))
    assert compiling.count(lambda: roll_out(16)) == 0
    assert compiled_by(lambda: roll_out(16)) == []
    more = compiling.count(lambda: roll_out(700))
    assert more > 0
    assert len(compiled_by(lambda: roll_out(700))) == more


def test_hooks_that_were_there_are_there_again(model):
    def fail():
        raise RuntimeError("out of memory")

    for name, use in (
        ("jit_cache_hook", lambda: compiling.count(fail)),
        ("jit_post_compile_hook", lambda: compiled_by(fail)),
    ):
        mine = lambda **_: None  # noqa: E731
        setattr(knobs.runtime, name, mine)
        try:
            with pytest.raises(RuntimeError, match="out of memory"):
                use()
            assert getattr(knobs.runtime, name) is mine
        finally:
            setattr(knobs.runtime, name, None)


@pytest.mark.parametrize("environments", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind, search in PLANNERS.items() if not search.differentiates])
def test_a_size_is_compiled_before_it_is_captured(model, monkeypatch, kind, environments):
    """Also for one environment, whose streams of random numbers are aligned otherwise in every second iteration."""
    told, late = [], []

    class Graph:
        def __init__(self, search, problem, others):
            late.extend(compiled_by(lambda: search(problem)))
            self.search = search

        def replay(self, problem):
            return self.search(problem)

    monkeypatch.setattr(solvers, "Graph", Graph)
    elites = {"elites": 4} if "elites" in Planner.kinds[kind].model_fields else {}
    planning = Planning(planner=Planner.kinds[kind](samples=16, iterations=4, **elites), cost=LastCost(), horizon=2)
    solver = Solver(PackedDynamics(model), planning, 0, 100, on_compile=lambda *progress: told.append(progress))
    solver._prepares = True
    goals, action_block = torch.zeros(environments, 16), solver.dynamics.action_block
    context = Context(torch.zeros(environments, 3, 16), torch.zeros(environments, 2, action_block))
    left = torch.zeros(environments, 1, action_block)
    solver.solve(Problem(context, goals, torch.arange(environments), torch.tensor(0), left))
    total = len(told)
    assert total > 3
    assert told == [(compiled, total) for compiled in range(1, total + 1)]
    assert late == []
