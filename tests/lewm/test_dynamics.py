"""Both dynamics of a world model are its rollout, and planning asks no more of a world than the protocol says."""

import numpy as np
import pytest
import torch

from lewm.config import Cem, LastCost, Planning
from lewm.planning.controller import Controller
from lewm.planning.dynamics import DifferentiableDynamics, Dynamics, PackedDynamics
from lewm.planning.plan import Context, Plan
from lewm.planning.planners import PLANNERS, Search
from lewm.planning.solver import Problem, Solver
from lewm_kernels.rollout import reference

KINDS = [PackedDynamics, DifferentiableDynamics]
CPU = torch.device("cpu")
B, S = 3, 4


@pytest.fixture(
    params=[("adaln", 1), ("adaln", 3), ("residual", 3)], ids=lambda param: f"{param[0]}-history-{param[1]}"
)
def model(request, tiny, make_model):
    kind, history = request.param
    section = {**tiny.model.predictor.model_dump(), "kind": kind, "history": history}
    return make_model({"model.predictor": section})


def inputs(model, context, horizon):
    generator = torch.Generator().manual_seed(horizon)
    width = model.config.action_block
    latents = torch.randn(B, context, model.config.latent, generator=generator)
    candidates = torch.randn(B, S, horizon, width, generator=generator)
    history = torch.randn(B, context - 1, width, generator=generator) if context > 1 else None
    return latents, candidates, history


def expected(model, latents, candidates, history):
    """The definition in float64; its gradient is asked for where the candidates' is."""
    weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
    past = None if history is None else history.double()
    kind = {"heads": model.predictor.heads, "residual": model.predictor.residual}
    return reference.rollout(weights, latents.double(), candidates.double(), past, **kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [1, 2, 3, 4, 5])
def test_latents_are_those_of_the_definition(model, kind, horizon):
    dynamics = kind(model)
    for context in range(1, model.history + 1):
        given = inputs(model, context, horizon)
        with torch.no_grad():
            torch.testing.assert_close(dynamics(*given).double(), expected(model, *given), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("horizon", [1, 4])
def test_gradients_of_candidates_are_those_of_the_definition(model, horizon):
    dynamics = DifferentiableDynamics(model)
    for context in range(1, model.history + 1):
        latents, candidates, history = inputs(model, context, horizon)
        gradients = []
        for rollout in (dynamics, lambda *given: expected(model, *given)):
            variable = candidates.clone().requires_grad_()
            rollout(latents, variable, history)[:, :, -1].double().square().sum().backward()
            gradients.append(variable.grad)
        assert (gradients[1].abs() > 1e-4).any()
        torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_a_search_may_differentiate_through_the_bounds(tiny, make_model, monkeypatch):
    model = make_model({})
    model.action_low.fill_(-0.5)
    model.action_high.fill_(0.5)
    found = []

    def search(cost, start, planner, keys):
        variable = start.mean[:, None].clone().requires_grad_()
        costs = cost(start.bounds.clamp(variable))
        found.append(torch.autograd.grad(costs.sum(), variable)[0])
        return Plan(start.mean, costs.detach()[:, 0], costs.detach())

    monkeypatch.setitem(PLANNERS, "cem", Search(search, differentiates=True))
    controller = Controller(model, tiny.planning, 0)
    latents = controller.embed(np.zeros((2, 16, 16, 3), np.uint8))
    controller.plan(Context(latents[:, None]), latents + 1, np.arange(2), 0)
    assert torch.cat(found).abs().sum(dim=(1, 2, 3)).min() > 1e-4


def test_packed_dynamics_have_no_gradient(model):
    latents, candidates, _ = inputs(model, 1, 2)
    assert not PackedDynamics(model)(latents, candidates).requires_grad
    with pytest.raises(ValueError, match="require a gradient"):
        PackedDynamics(model)(latents, candidates.requires_grad_())


def test_packed_dynamics_are_a_snapshot(make_model):
    model = make_model({})
    snapshot = PackedDynamics(model)
    given = inputs(model, 1, 2)
    before = snapshot(*given)
    with torch.no_grad():
        model.prediction_projector[3].bias.add_(1)
    assert torch.equal(snapshot(*given), before)
    assert not torch.allclose(PackedDynamics(model)(*given), before)


def test_rows_are_few_where_a_row_is_large(make_model):
    model = make_model({})
    packed, differentiable = PackedDynamics(model), DifferentiableDynamics(model)
    assert packed.rows(5) == packed.rows(50) > 100  # on a CPU, the caches bound them, not the memory
    assert differentiable.rows(5) == 1
    model.to("meta")
    packed, differentiable = PackedDynamics(model), DifferentiableDynamics(model)
    for dynamics in (packed, differentiable):
        assert dynamics.rows(5) > 5 * dynamics.rows(50) > 0
    assert packed.rows(5) > differentiable.rows(5)  # the differentiable rollout keeps values for the gradient


class Lane:
    """No model: a place on a line, its velocity, and a block that accelerates it; latents are (place, velocity)."""

    device, action_block = CPU, 1

    def rows(self, horizon):
        return 10_000

    def __call__(self, latents, candidates, history=None, /):
        assert latents.shape[1] == 1
        assert history is None
        velocity = latents[:, :, 1, None] + candidates[..., 0].cumsum(dim=2)
        place = latents[:, :, 0, None] + velocity.cumsum(dim=2)
        return torch.stack([place, velocity], dim=-1)


def test_the_protocol_is_kept(model):
    for dynamics in (PackedDynamics(model), DifferentiableDynamics(model), Lane()):
        assert isinstance(dynamics, Dynamics)
        assert dynamics.device == CPU


def test_plans_in_a_simulator_reach_their_goals():
    planning = Planning(planner=Cem(samples=200, elites=20, iterations=30), cost=LastCost(), horizon=4)
    starts = torch.tensor([[0.0, 0.0], [1.0, -0.5], [-2.0, 0.5]])
    goals = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    problem = Problem(Context(starts[:, None]), goals, torch.arange(3), torch.tensor(0))
    plan = Solver(Lane(), planning, seed=0).solve(problem)
    reached = Lane()(starts[:, None], plan.actions[:, None])[:, 0, -1]
    torch.testing.assert_close(reached, goals, atol=0.02, rtol=0)
    assert (starts - goals).norm(dim=-1).min() > 1
