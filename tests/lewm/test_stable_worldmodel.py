"""A model as a policy and as a cost in stable-worldmodel, with what that gives; it need not be installed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from lewm.adapters.stable_worldmodel import ActionScaler, ModelCost, WorldPolicy
from lewm.checkpoints import run as runs
from lewm.checkpoints.run import DatasetIdentity, save_tensors, write_config
from lewm.config import MeanCost, resolve
from lewm.errors import LewmError
from lewm.opened_run import open_run
from lewm.planning.controller import Controller
from lewm.planning.costs import COSTS
from lewm.planning.dynamics import dynamics_of
from lewm.planning.plan import Context
from lewm.planning.replanner import Replanner

B, S, H = 2, 7, 3
BOX = spaces.Box(-1, 1, (2,), np.float32)


def pictures(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 1, 16, 16, 3), np.uint8)


def infos(environments, seed=0):
    return {
        "pixels": pictures(environments, seed),
        "goal": pictures(environments, seed + 1),
        "terminated": np.zeros((environments, 1), np.bool_),
        "truncated": np.zeros((environments, 1), np.bool_),
    }


def repeated(info):
    return {name: torch.from_numpy(info[name])[:, None].expand(-1, S, -1, -1, -1, -1) for name in ("pixels", "goal")}


def pool(environments, space=BOX):
    batched = batch_space(space, environments)
    return SimpleNamespace(num_envs=environments, single_action_space=space, action_space=batched)


@pytest.fixture
def run(tiny, make_model, tmp_path):
    """A run whose plans have 2 blocks, of which 1 is executed."""
    model = make_model({})
    model.action_mean.copy_(torch.tensor([0.1, -0.1]))
    model.action_std.copy_(torch.tensor([0.5, 0.3]))
    model.action_low.fill_(-0.6)
    model.action_high.fill_(0.6)
    config = resolve(tiny, None, {"planning.horizon": 2, "planning.execute": 1, "planning.horizon_end": "fixed"})
    write_config(tmp_path / "run", config, DatasetIdentity("/data/a.h5", "0", (16, 16), 20, "two-room"))
    save_tensors(tmp_path / "run" / runs.MODEL, model.state_dict())
    return open_run(tmp_path / "run")


def test_costs_are_those_of_plans(model):
    """Also where the latents are given in place of pictures, and with another cost."""
    info = infos(B)
    candidates = torch.randn(B, S, H, model.config.action_block)
    with torch.no_grad():
        latents, goals = (model.embed(torch.from_numpy(info[name][:, 0])) for name in ("pixels", "goal"))
    for settings, kind in ((None, "last"), (MeanCost(), "mean")):
        make = COSTS[kind](settings, model.device)
        expected = make(dynamics_of(model), Context(latents[:, None]), goals)(candidates)
        given = repeated(info)
        cost = ModelCost(model, settings)
        torch.testing.assert_close(cost.get_cost(given, candidates), expected, rtol=0, atol=0)
        assert given["emb"].shape == given["goal_emb"].shape == (B, S, 1, model.config.latent)
        given.update(pixels=None, goal=None)
        torch.testing.assert_close(cost.get_cost(given, candidates), expected, rtol=0, atol=0)
    assert next(iter(ModelCost(model).parameters())).dtype == torch.float32


@pytest.mark.parametrize(("gone", "latents"), [("pixels", "emb"), ("goal", "goal_emb")])
def test_what_a_cost_lacks_is_named(model, gone, latents):
    info = repeated(infos(B))
    del info[gone]
    with pytest.raises(LewmError, match=f"info_dict has neither '{gone}' nor '{latents}'"):
        ModelCost(model).get_cost(info, torch.zeros(B, S, H, model.config.action_block))


def test_costs_have_gradients_where_candidates_have(model):
    candidates = torch.randn(B, S, H, model.config.action_block, requires_grad=True)
    cost = ModelCost(model).get_cost(repeated(infos(B)), candidates)
    plain = ModelCost(model).get_cost(repeated(infos(B)), candidates.detach())
    torch.testing.assert_close(cost.detach(), plain, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(cost.sum(), candidates)
    assert (gradient != 0).any(dim=-1).all()


def test_a_scaler_is_the_models_statistics(run):
    scaler, model = ActionScaler(run.model), run.model
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 1, 2)).astype(np.float32)
    scores = scaler.transform(actions)
    blocks = torch.from_numpy(actions).reshape(4, 2).repeat(1, model.config.frameskip)
    normal = model.normalize_actions(blocks)[:, :2].numpy()
    np.testing.assert_allclose(scores[:, 0], normal, rtol=1e-6)
    np.testing.assert_allclose(scaler.inverse_transform(scores), actions, atol=1e-6)
    np.testing.assert_allclose(scaler.inverse_transform(np.full((3, 2), 9.0)), 0.6, rtol=1e-6)
    assert np.isnan(scaler.transform(np.full((1, 1, 2), np.nan))).all()


def test_a_scaler_and_a_cost_say_what_does_not_fit(make_model):
    model = make_model({})
    with pytest.raises(LewmError, match=r"blocks of 2 numbers, the model's have 10\nGive PlanConfig\(.*action_block=5"):
        ModelCost(model).get_cost(repeated(infos(B)), torch.zeros(B, S, H, 2))
    for wrong in (
        torch.zeros(B, S, 1, 16, 16, 3),
        torch.zeros(B, S, 2, 16, 16, 3, dtype=torch.uint8),
        torch.zeros(B, S, 1, 3, 16, 16, dtype=torch.uint8),
    ):
        with pytest.raises(LewmError, match=r"'pixels' is .* expected uint8 \(B, 1, Y, X, 3\)\nGive World"):
            ModelCost(model).get_cost({**repeated(infos(B)), "pixels": wrong}, torch.zeros(B, S, H, 10))
    model.action_mean.fill_(torch.nan)
    with pytest.raises(LewmError, match="no action statistics"):
        ActionScaler(model)


def expected_actions(run, info_by_block, number):
    """The actions of an episode that shows these pictures a block apart, planned by itself."""
    controller = Controller(run.model, run.config.planning, 0)
    goal = controller.embed(info_by_block[0]["goal"][0])
    replanner = Replanner(controller, goal, np.array([number]))
    blocks = [replanner.act(controller.embed(info["pixels"][0]), np.array([0]))[0] for info in info_by_block]
    return np.concatenate(blocks)


def one(info, index):
    return {name: values[index : index + 1] for name, values in info.items()}


def test_a_policy_plans_as_alone_and_again_after_each_block(run):
    """Pictures within a block are not looked at."""
    policy, frameskip = WorldPolicy(run), run.model.config.frameskip
    policy.set_env(pool(2))
    info, shown, taken = infos(2), [], []
    for step in range(2 * frameskip):
        info["pixels"][:] = pictures(2, 100 + step)
        if step % frameskip == 0:
            shown.append({name: values.copy() for name, values in info.items()})
        taken.append(policy.get_action(info))
    taken = np.stack(taken)
    assert (taken.shape, taken.dtype) == ((2 * frameskip, 2, 2), np.float32)
    assert np.abs(taken).max() <= 0.6
    for index in range(2):
        alone = expected_actions(run, [one(each, index) for each in shown], index)
        np.testing.assert_array_equal(taken[:, index], alone)
    assert (taken[:, 0] != taken[:, 1]).any()


def test_a_policy_begins_anew_where_an_environment_was_reset(run):
    """The mark of a reset stays in the dictionary, and must count once."""
    policy = WorldPolicy(run)
    policy.set_env(pool(2))
    info = infos(2)
    for _ in range(2):
        policy.get_action(info)
    info["goal"][1] = pictures(1, 7)[0]
    info["_needs_flush"] = np.array([False, True])
    first = [policy.get_action(info)]
    first += [policy.get_action(info) for _ in range(run.model.config.frameskip - 1)]
    alone = expected_actions(run, [one(info, 1)], 1 + 2 * 1)
    np.testing.assert_array_equal(np.stack(first)[:, 1], alone)
    again = infos(2, 50)  # another dictionary: all were reset
    actions = policy.get_action(again)
    np.testing.assert_array_equal(actions[0], expected_actions(run, [one(again, 0)], 0 + 2 * 1)[0])
    np.testing.assert_array_equal(actions[1], expected_actions(run, [one(again, 1)], 1 + 2 * 2)[0])


def test_a_policy_leaves_episodes_that_are_over_alone(run, monkeypatch):
    policy = WorldPolicy(run)
    policy.set_env(pool(3))
    info = infos(3)
    info["terminated"][0] = info["truncated"][2] = True
    actions = policy.get_action(info)
    assert not actions[[0, 2]].any()
    np.testing.assert_array_equal(actions[1], expected_actions(run, [one(info, 1)], 1)[0])


def test_a_policy_of_choices_gives_numbers_of_choices(run):
    policy = WorldPolicy(run)
    policy.set_env(pool(2, spaces.Discrete(2, start=4)))
    actions = policy.get_action(infos(2))
    assert actions.shape == (2,)
    assert set(actions.tolist()) <= {4, 5}
    with pytest.raises(LewmError, match="one-hot actions of 3 numbers"):
        WorldPolicy(run).set_env(pool(2, spaces.Discrete(3)))


@pytest.mark.parametrize("agent", ["random", "expert"])
def test_an_agent_that_does_not_plan_is_refused(run, agent):
    planning = run.config.planning.model_copy(update={"agent": agent})
    with pytest.raises(LewmError, match=f"the agent {agent} does not plan"):
        WorldPolicy(run, planning)
