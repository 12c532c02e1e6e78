"""Solves as CUDA graphs, with the Triton kernels of the rollout in them."""

import pytest
import torch

from lewm.config import Planning
from lewm.planning.categorical import OneHot
from lewm.planning.solver import Solver
from lewm_kernels._dispatch import choose
from lewm_kernels.rollout import tiles

pytestmark = pytest.mark.gpu
SEED = 5

GROUPS = (3, 2)  # an action is two one-hot vectors of these widths
FREQUENCY = (0.2, 0.5, 0.3, 0.6, 0.4)  # of each choice in the training data
F = 2  # actions in a block


def a_solver(model, planning, precision="fp32", one_hot=None):
    """Its rollout runs in Triton."""
    packed = model.pack(precision)
    assert choose("rollout", packed.device, unsupported=tiles.unsupported(packed)).backend == "triton"
    return Solver(packed, planning, SEED, together=100, one_hot=one_hot)


def problem(model, environments, seed=0):
    """Latents, goals and numbers of episodes, on the model's device."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, environments, model.config.latent, generator=generator).to(model.device)
    return latents[:, None], goals, torch.arange(100, 100 + environments, device=model.device)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_cuda_graph_replays_what_runs_without_it(model, tiny, precision):
    model.to("cuda")
    solver, plain = (a_solver(model, tiny.planning, precision) for _ in range(2))
    plain._captures = False
    for turn, environments in enumerate([3, 50, 3, 50, 3, 50, 1, 1, 1]):
        inputs = problem(model, environments, seed=turn)
        plan, expected = solver.solve(*inputs, turn), plain.solve(*inputs, turn)
        for name in ("actions", "cost", "history"):
            torch.testing.assert_close(getattr(plan, name), getattr(expected, name))
    assert set(solver._graphs) == {1, 3, 50}


def test_a_solve_on_cuda_never_waits_for_the_device(model, tiny, nothing_waits):
    model.to("cuda")
    solver, inputs = a_solver(model, tiny.planning), problem(model, 3)
    solver.solve(*inputs, 0)
    solver._captures = False
    with nothing_waits():
        solver.solve(*inputs, 1)


def test_a_cuda_graph_replays_plans_of_one_hot_actions_and_nothing_waits(make_model, nothing_waits):
    model = make_model({"model.action_dim": len(FREQUENCY), "model.frameskip": F})
    mean = torch.tensor(FREQUENCY)
    model.action_mean.copy_(mean)
    model.action_std.copy_((mean * (1 - mean)).sqrt())
    model.to("cuda")
    planning, one_hot = Planning(samples=200, elites=20, iterations=20, horizon=2), OneHot.of(model, GROUPS)
    solver, plain = (a_solver(model, planning, one_hot=one_hot) for _ in range(2))
    plain._captures = False
    inputs = problem(model, 6)
    for replan in range(4):
        expected, plan = plain.solve(*inputs, replan), solver.solve(*inputs, replan)
        torch.testing.assert_close(plan.cost, expected.cost)
        for vector in plan.actions.cpu().split(GROUPS * F, dim=-1):
            assert ((vector == 0) | (vector == 1)).all()
            assert (vector.sum(dim=-1) == 1).all()
    assert set(solver._graphs) == {6}
    with nothing_waits():
        plain.solve(*inputs, 0)
