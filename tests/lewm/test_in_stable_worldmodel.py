"""A model in stable-worldmodel itself: "make stable-worldmodel" runs these tests, where that package is installed."""

import contextlib
import importlib.util
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from lewm.adapters.stable_worldmodel import ActionScaler, ModelCost, WorldPolicy
from lewm.checkpoints import run as runs
from lewm.checkpoints.run import DatasetIdentity, save_tensors, write_config
from lewm.config import resolve
from lewm.opened_run import open_run
from lewm.planning.costs import COSTS
from lewm.planning.dynamics import dynamics_of
from lewm.planning.plan import Context
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

if importlib.util.find_spec("stable_worldmodel") is None:
    pytest.skip('needs stable-worldmodel: "make stable-worldmodel" installs it', allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # the package and its environments warn of much

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
ID = "swm/PushT-v1"
SIDE = 16


def import_package():
    """Imports the package.

    The torchvision of PyPI is built for the PyTorch of PyPI. With a PyTorch for CPUs it lacks two operators, which
    nothing here uses: they are declared.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError:
            declared.append(torch.library.Library("torchvision", "DEF"))
            for name in ("nms", "qnms"):
                declared[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import torchvision  # noqa: F401
        import stable_worldmodel

        return stable_worldmodel


declared = []  # they are gone with the object that declares them
swm = import_package()


@pytest.fixture
def run(tiny, make_model, tmp_path):
    model = make_model({})
    model.action_mean.zero_()
    model.action_std.fill_(0.5)
    model.action_low.fill_(-1)
    model.action_high.fill_(1)
    config = resolve(tiny, None, {"planning.horizon": 2, "planning.execute": 1})
    write_config(tmp_path / "run", config, DatasetIdentity("/data/a.h5", "0", (SIDE, SIDE), 20, "push-t"))
    save_tensors(tmp_path / "run" / runs.MODEL, model.state_dict())
    return open_run(tmp_path / "run")


@pytest.fixture
def make_world():
    with contextlib.ExitStack() as stack:

        def make(environments, **settings):
            made = swm.World(ID, num_envs=environments, image_shape=(SIDE, SIDE), **settings)
            stack.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi"])
def test_its_solvers_see_the_costs_of_our_plans(run, make_world, kind):
    """Its candidates and costs are recorded; a cost of ours, of the same candidates, is the same."""
    solver_class = {"cem": swm.solver.CEMSolver, "icem": swm.solver.ICEMSolver, "mppi": swm.solver.MPPISolver}[kind]
    model, seen = run.model, []

    class Recorded(ModelCost):
        def get_cost(self, info_dict, action_candidates):
            cost = super().get_cost(info_dict, action_candidates)
            seen.append((action_candidates.clone(), cost.clone()))
            return cost

    place = make_world(2)
    solver = solver_class(Recorded(model), batch_size=2, num_samples=40, n_steps=3, topk=8)
    config = swm.PlanConfig(horizon=3, receding_horizon=3, action_block=model.config.frameskip)
    policy = swm.policy.WorldModelPolicy(solver, config, process={"action": ActionScaler(model)})
    place.set_policy(policy)
    place.reset(seed=0)
    shown = {name: place.infos[name][:, 0].copy() for name in ("pixels", "goal")}
    with contextlib.redirect_stdout(io.StringIO()):
        actions = policy.get_action(place.infos)
    assert len(seen) == 3
    with torch.no_grad():
        latents, goals = (model.embed(torch.from_numpy(shown[name])) for name in ("pixels", "goal"))
        ours = COSTS["last"](None, model.device)(dynamics_of(model), Context(latents[:, None]), goals)
        for candidates, cost in seen:
            torch.testing.assert_close(cost, ours(candidates), rtol=1e-6, atol=1e-6)
        assert seen[-1][1].mean() < seen[0][1].mean()
    assert actions.shape == (2, 2)
    assert np.abs(actions).max() <= 1


def test_its_gradient_solver_descends_our_cost(run, make_world):
    model = run.model
    solver = swm.solver.GradientSolver(ModelCost(model), n_steps=10, num_samples=2, batch_size=2)
    place = make_world(2)
    solver.configure(
        action_space=place.envs.action_space,
        n_envs=2,
        config=swm.PlanConfig(horizon=2, receding_horizon=2, action_block=model.config.frameskip),
    )
    place.reset(seed=0)
    info = {name: torch.from_numpy(place.infos[name]) for name in ("pixels", "goal")}
    with contextlib.redirect_stdout(io.StringIO()):
        found = solver.solve(info)
    with torch.no_grad():
        cost = ModelCost(model)
        spread = {name: values[:, None] for name, values in info.items()}
        assert (
            cost.get_cost(spread, found["actions"][:, None]) < cost.get_cost(spread, torch.zeros(2, 1, 2, 10))
        ).all()


def test_our_policy_plays_its_world(run, make_world):
    """Episodes end and others begin; the same seeds give the same episodes, alone and beside others."""
    taken = []
    for environments in (2, 2):
        place = make_world(environments, max_episode_steps=12)
        place.set_policy(WorldPolicy(run))
        act, actions = place.policy.get_action, []
        place.policy.get_action = lambda info, act=act, actions=actions: actions.append(act(info)) or actions[-1]
        found = place.evaluate(episodes=4, seed=3)
        assert len(found["episode_successes"]) == 4
        assert 0 <= found["success_rate"] <= 100
        taken.append(np.stack(actions))
    assert taken[0].shape == (24, 2, 2)
    np.testing.assert_array_equal(*taken)
    assert np.unique(taken[0], axis=0).shape[0] > 12
    place = make_world(1, max_episode_steps=12)
    place.set_policy(WorldPolicy(run))
    place.reset(seed=3)
    np.testing.assert_array_equal(place.policy.get_action(place.infos)[0], taken[0][0, 0])


class Recorded:
    """Two episodes as its datasets give them, in which every picture has one colour."""

    column_names = ("pixels", "state", "step_idx")

    def load_chunk(self, episodes, starts, ends):
        return [
            {
                "pixels": torch.stack([torch.full((3, SIDE, SIDE), 7 * step, dtype=torch.uint8) for step in steps]),
                "state": torch.tensor([[float(step)] * 7 for step in steps]),
                "step_idx": torch.tensor([[step] for step in steps]),
            }
            for steps in (range(start, end) for start, end in zip(starts, ends, strict=True))
        ]


def test_our_policy_pursues_the_goals_of_its_datasets(run, make_world):
    """They are put into the dictionary after the reset, and the first pictures and steps too."""
    place, embedded = make_world(2, max_episode_steps=12), []
    policy = WorldPolicy(run)
    place.set_policy(policy)
    embed = policy.controller.embed
    object.__setattr__(policy.controller, "embed", lambda frames: embedded.append(frames.copy()) or embed(frames))
    found = place.evaluate(
        dataset=Recorded(), episodes_idx=[0, 1], start_steps=[3, 5], goal_offset=6, eval_budget=12, callables=[]
    )
    assert found["episode_successes"].shape == (2,)
    goals, starts = [7 * 9, 7 * 11], [7 * 3, 7 * 5]
    assert [int(frames[0, 0, 0, 0]) for frames in embedded[:2]] == goals
    assert [int(frames[0, 0, 0, 0]) for frames in embedded[2:4]] == starts
    assert len(embedded) == 2 + 2 * 3, "a look for each of three blocks"


def test_its_environments_are_worlds(tmp_path):
    """The picture of the goal in `info` is no column."""
    name = f"stable_worldmodel:{ID}"
    collect(world(name), tmp_path / "a.h5", 2, policy="random", noise=0.0, frame_size=SIDE, seed=0, max_steps=10)
    with Dataset.open(tmp_path / "a.h5") as dataset:
        first = dataset.episode(0)
    assert first["pixels"].shape == (11, SIDE, SIDE, 3)
    assert first["action"].shape == (11, 2)
    assert "info.goal" not in first
    assert first["info.pos_agent"].shape == (11, 2)
    assert (tmp_path / "a.h5").stat().st_size < 10 * 2**20


def test_a_missing_prefix_is_named(monkeypatch):
    import gymnasium

    for registered in [one for one in gymnasium.registry if one.startswith("swm/")]:
        monkeypatch.delitem(gymnasium.registry, registered)
    with pytest.raises(DataError, match=f'Write "stable_worldmodel:{ID}", which imports the package'):
        world(ID)


def test_the_adapter_imports_nothing_of_it():
    import lewm.adapters.stable_worldmodel as adapter

    assert "import stable_worldmodel" not in Path(adapter.__file__).read_text()
