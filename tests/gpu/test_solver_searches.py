"""Each planner and each cost on a CUDA device: its graphs find what the search finds without them."""

import logging

import numpy as np
import pytest
import torch

from lewm.config import Cost, HeadCost, Planner, Planning
from lewm.planning.controller import Controller
from lewm.planning.costs import COSTS
from lewm.planning.costs.head import Head, save_head
from lewm.planning.plan import Context
from lewm.planning.planners import PLANNERS
from lewm.planning.replanner import Replanner
from lewm.planning.solver import Problem

pytestmark = pytest.mark.gpu

H, B, D = 3, 3, 8  # three environments are padded to four
GROUPS = (3, 2)
SEARCHES = [
    (kind, form) for kind, search in PLANNERS.items() for form in ("numbers", "choices") if getattr(search, form)
]
CAPTURED = [
    *((kind, form, "last") for kind, form in SEARCHES if not PLANNERS[kind].differentiates),
    *(("cem", "numbers", cost) for cost in COSTS if cost != "last"),
]
# The horizons of the graphs that two cycles need. In the first cycle contexts grow, and the first plan has none before
# it, so the next cycle needs two graphs of its own; its last stage has the shapes of the first cycle's last stage.
HORIZONS = [3, 2, 1, 3, 2]


@pytest.fixture
def controllers(make_model, tmp_path):
    """Makes two controllers with equal settings, the second of which plans without graphs."""

    def make(kind, form, cost):
        if cost == "head":
            save_head(tmp_path / "head.safetensors", Head(D, (8,)))
            settings = HeadCost(path=str(tmp_path / "head.safetensors"), over="mean", distance_weight=0.5)
        else:
            settings = Cost.kinds[cost]()
        planning = Planning(
            planner=Planner.kinds[kind](samples=40, iterations=3),
            cost=settings,
            horizon=H,
            execute=1,
            horizon_end="shrink",
            context=3,
            warm_start="on",
        )
        groups = GROUPS if form == "choices" else None
        changes = {"model.predictor.history": 3} | ({"model.action_dim": sum(GROUPS)} if groups else {})
        first, second = (Controller(make_model(changes).to("cuda"), planning, 5, groups) for _ in range(2))
        second.solver._captures = False
        return first, second

    return make


def plans(controller, turns):
    """The plans of an episode, while the environments show something else at every turn."""
    shown = np.random.default_rng(0).integers(0, 256, (turns + 1, B, 16, 16, 3), dtype=np.uint8)
    replanner = Replanner(controller, controller.embed(shown[-1]), np.arange(100, 100 + B))
    for frames in shown[:-1]:
        replanner.act(controller.embed(frames), np.arange(B))
        yield replanner._plan


@pytest.mark.parametrize(("kind", "form", "cost"), CAPTURED)
def test_graphs_of_shrinking_horizons_find_what_the_search_finds_without_them(controllers, captured, kind, form, cost):
    graphed, eager = controllers(kind, form, cost)
    for turn, (plan, expected) in enumerate(zip(plans(graphed, 7), plans(eager, 7), strict=True)):
        assert plan.shape[1] == H - turn % H
        assert torch.equal(plan, expected)
    assert [horizon for horizon, shapes in graphed.solver._graphs] == HORIZONS
    assert all(graphed.solver._graphs.values())
    assert captured == [4] * len(HORIZONS)


@pytest.mark.parametrize("kind", [kind for kind, search in PLANNERS.items() if search.differentiates])
def test_gradients_are_not_captured_and_nothing_is_said_of_it(controllers, captured, caplog, kind):
    controller, _ = controllers(kind, "numbers", "last")
    with caplog.at_level(logging.INFO, logger="lewm"):
        for plan in plans(controller, 7):
            assert plan.isfinite().all()
            assert plan.abs().max() > 0
    assert list(controller.solver._graphs.values()) == [None] * len(HORIZONS)
    assert captured == []
    assert not caplog.records


@pytest.mark.parametrize("is_replayed", [False, True])
@pytest.mark.parametrize(("kind", "form", "cost"), CAPTURED)
def test_a_prepared_solve_never_waits_for_the_device(controllers, nothing_waits, kind, form, cost, is_replayed):
    solver = controllers(kind, form, cost)[0 if is_replayed else 1].solver
    generator = torch.Generator().manual_seed(0)
    latents, goals = torch.randn(B, 3, D, generator=generator), torch.randn(B, D, generator=generator)
    executed, left = torch.randn(2, B, 2, solver.dynamics.action_block, generator=generator)
    problem = Problem(
        Context(latents.cuda(), executed.cuda()),
        goals.cuda(),
        torch.arange(B, device="cuda"),
        torch.tensor(1, device="cuda"),
        left.cuda(),
    )
    expected = solver.solve(problem)
    with nothing_waits():
        plan = solver.solve(problem)
    assert torch.equal(plan.actions, expected.actions)
    assert [bool(graph) for graph in solver._graphs.values()] == [is_replayed]
