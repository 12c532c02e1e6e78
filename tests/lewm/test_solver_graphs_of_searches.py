"""Each planner and each cost as on a CUDA device, done on the CPU with stand-ins for graphs.

`tests/gpu/test_solver_searches.py` has the graphs themselves.
"""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lewm.config import Cost, HeadCost, Planner, Planning
from lewm.planning.controller import Controller
from lewm.planning.costs import COSTS
from lewm.planning.costs.head import Head, save_head
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context
from lewm.planning.planners import PLANNERS
from lewm.planning.replanner import Replanner
from lewm.planning.solver import Problem, Solver

H, B, D, A = 3, 3, 8, 10  # three environments are padded to four
GROUPS = (3, 2)
SEARCHES = [
    (kind, form) for kind, search in PLANNERS.items() for form in ("numbers", "choices") if getattr(search, form)
]
CAPTURED = [(kind, form) for kind, form in SEARCHES if not PLANNERS[kind].differentiates]
SAMPLES = 40
# How many candidates the calls of a cost see. A planner may have fewer at each iteration; the last call is for the
# result.
COUNTS = {"cem": {SAMPLES, 1}, "icem": {SAMPLES, 32, 26, 1}, "mppi": {SAMPLES, 1}, "adam": {SAMPLES}}


@pytest.fixture
def planning(tmp_path):
    """Settings for a planner and a cost: the horizon shrinks from 3 to 1, and then it is whole again."""

    def of(planner, cost="last"):
        if cost == "head":
            save_head(tmp_path / "head.safetensors", Head(D, (8,)))
            settings = HeadCost(path=str(tmp_path / "head.safetensors"), over="mean", distance_weight=0.5)
        else:
            settings = Cost.kinds[cost]()
        return Planning(
            planner=Planner.kinds[planner](samples=SAMPLES, iterations=3),
            cost=settings,
            horizon=H,
            execute=1,
            horizon_end="shrink",
            context=3,
            warm_start="on",
        )

    return of


@pytest.fixture
def controllers(make_model, planning):
    """Makes two controllers with equal settings, the first of which plans with graphs."""

    def make(kind, form, cost="last"):
        groups = GROUPS if form == "choices" else None
        changes = {"model.predictor.history": 3} | ({"model.action_dim": sum(GROUPS)} if groups else {})
        first, second = (Controller(make_model(changes), planning(kind, cost), 5, groups) for _ in range(2))
        first.solver._prepares = True
        return first, second

    return make


def plans(controller, turns):
    """The plans of an episode, while the environments show something else at every turn."""
    shown = np.random.default_rng(0).integers(0, 256, (turns + 1, B, 16, 16, 3), dtype=np.uint8)
    replanner = Replanner(controller, controller.embed(shown[-1]), np.arange(100, 100 + B))
    for frames in shown[:-1]:
        replanner.act(controller.embed(frames), np.arange(B))
        yield replanner._plan


def assert_plans_of_two_cycles_are_equal(graphed, eager):
    for turn, (plan, expected) in enumerate(zip(plans(graphed, 7), plans(eager, 7), strict=True)):
        assert plan.shape[1] == H - turn % H
        assert torch.equal(plan, expected)


# The horizons of the graphs that two cycles need. In the first cycle contexts grow, and the first plan has none before
# it, so the next cycle needs two graphs of its own; its last stage has the shapes of the first cycle's last stage.
HORIZONS = [3, 2, 1, 3, 2]


@pytest.mark.parametrize(("kind", "form"), CAPTURED)
def test_shrinking_horizons_need_a_graph_for_each_shape(controllers, recording, kind, form):
    graphed, eager = controllers(kind, form)
    assert_plans_of_two_cycles_are_equal(graphed, eager)
    assert [horizon for horizon, shapes in graphed.solver._graphs] == HORIZONS
    assert recording.made == [4] * len(HORIZONS)
    assert recording.replayed == [4] * 7


@pytest.mark.parametrize("cost", COSTS)
def test_every_cost_is_captured(controllers, recording, cost):
    graphed, eager = controllers("cem", "numbers", cost)
    assert_plans_of_two_cycles_are_equal(graphed, eager)
    assert recording.made == [4] * len(HORIZONS)


@pytest.mark.parametrize("kind", [kind for kind, search in PLANNERS.items() if search.differentiates])
def test_gradients_are_not_captured_and_nothing_is_said_of_it(controllers, recording, caplog, kind):
    graphed, eager = controllers(kind, "numbers")
    with caplog.at_level(logging.INFO):
        assert_plans_of_two_cycles_are_equal(graphed, eager)
    assert list(graphed.solver._graphs.values()) == [None] * len(HORIZONS)
    assert graphed.solver.seconds_preparing > 0
    assert recording.made == recording.replayed == []
    assert not caplog.records


@pytest.mark.parametrize(("kind", "form"), SEARCHES)
def test_every_shape_of_a_search_is_prepared_before_it_is_captured(controllers, recording, monkeypatch, kind, form):
    shapes, prepared = set(), []
    make_last, capture = COSTS["last"], Solver._capture

    def watched(settings, device):
        def make(dynamics, context, goal):
            cost = make_last(settings, device)(dynamics, context, goal)
            return lambda candidates: shapes.add(tuple(candidates.shape)) or cost(candidates)

        return make

    def captured(self, problem, horizon):
        prepared.append(set(shapes))
        shapes.clear()
        return capture(self, problem, horizon)

    monkeypatch.setitem(COSTS, "last", watched)
    monkeypatch.setattr(Solver, "_capture", captured)
    graphed, _ = controllers(kind, form)
    for turn, _plan in enumerate(plans(graphed, len(HORIZONS))):
        assert shapes == prepared[turn]
        assert {samples for _, samples, _, _ in shapes} == COUNTS[kind]
        assert {horizon for _, _, horizon, _ in shapes} == {HORIZONS[turn]}
        shapes.clear()
    assert len(prepared) == len(HORIZONS)


class Shifts:
    """No model: each number of a latent is moved by a number of the block."""

    device, history, action_block = torch.device("meta"), 3, A

    def rows(self, horizon):
        return 1000

    def __call__(self, latents, candidates, history=None, /):
        return latents[:, -1, None, None] + candidates.cumsum(dim=2)[..., :D] + history[:, None, -1:, :D]


class OnOneDevice(TorchDispatchMode):
    """Refuses tensors that are on another device: a CUDA graph would copy what the CPU held when it was captured."""

    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor):
                assert leaf.device == Shifts.device, func
        return result


@pytest.mark.parametrize(
    ("kind", "form", "cost"),
    [*((*search, "last") for search in CAPTURED), *(("cem", "numbers", cost) for cost in COSTS)],
)
def test_a_search_reads_no_value_and_uses_no_other_device(make_model, planning, kind, form, cost):
    # Tensors on the device "meta" have no values: to read one, as `item` does on a CUDA device, is an error.
    choices = None
    if form == "choices":
        on_cpu = OneHot.of(make_model({"model.action_dim": sum(GROUPS), "model.frameskip": A // sum(GROUPS)}), GROUPS)
        choices = replace(on_cpu, **{name: tensor.to("meta") for name, tensor in vars(on_cpu).items()})
    solver = Solver(Shifts(), planning(kind, cost), seed=5, one_hot=choices)
    meta = {"device": Shifts.device}
    context = Context(torch.zeros(B, 3, D, **meta), torch.zeros(B, 2, A, **meta))
    episodes, replan = torch.zeros(B, dtype=torch.int64, **meta), torch.zeros((), dtype=torch.int64, **meta)
    problem = Problem(context, torch.zeros(B, D, **meta), episodes, replan, left=torch.zeros(B, 2, A, **meta))
    with OnOneDevice() as watch:
        plan = solver._plan(solver.planning.planner, problem, H)
    assert plan.actions.shape == (B, H, A)
    assert watch.calls > 0
