"""The names of tasks in a report, the bounds of actions, and the message on a short budget."""

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest
import torch

from lewm.checkpoints import run
from lewm.config import Evaluation, resolve
from lewm.errors import LewmError
from lewm.evaluation.actors import random_floor
from lewm.evaluation.command import evaluate_run
from lewm.evaluation.manifest import read_tasks
from lewm.evaluation.requests import FromDataset, FromFile, PlanRequest
from lewm.evaluation.tasks import Placed, Task, Tasks
from lewm.files import sha256
from lewm.model import build
from lewm.planning.controller import Controller
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.judgement import BY_STATES
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.clips import split_episodes
from lewm_data.store.dataset import Dataset

CPU = torch.device("cpu")
WORLD = world("two-room")


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Two runs on one dataset that held out other episodes, and one on another dataset."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed, data, data_seed in (("a", 1, "one", 0), ("b", 2, "one", 0), ("c", 1, "two", 9)):
        path = folder / f"{data}.h5"
        if not path.exists():
            collect(WORLD, path, 20, policy="expert", noise=2.0, frame_size=16, seed=data_seed)
        train(resolve(tiny, None, {"training.seed": seed, "training.steps": 1}), path, folder / name, CPU)
    return folder


def plan(directory, tiny, tasks=None, **changes):
    source = FromFile(tasks) if tasks else FromDataset(None, changes.pop("protocol", "held-out"), 6, tiny.evaluation)
    planning = resolve(tiny, None, {"planning.horizon": 2, "planning.planner.iterations": 1}).planning
    return evaluate_run(PlanRequest(directory, source, planning, 0, **changes), CPU)[0]


@pytest.fixture
def saved(runs, tiny, tmp_path):
    """The tasks that run "a" held out, in a file."""
    plan(runs / "a", tiny, save_tasks=tmp_path / "tasks.json")
    return tmp_path / "tasks.json"


def test_tasks_are_held_out_only_for_runs_that_did_not_train_on_them(runs, tiny, saved):
    tasks = read_tasks(saved, WORLD)
    assert plan(runs / "a", tiny, saved).protocol == "held-out"
    episodes = {task.episode for task in tasks.each}
    seen = episodes - set(split_episodes(20, tiny.training.held_out, 2)[1].tolist())
    assert seen
    report = plan(runs / "b", tiny, saved)
    assert report.protocol == f"tasks of {saved}; {len(seen)} of {len(episodes)} episodes were seen in training"
    assert report.tasks_sha256 == tasks.sha256()
    unknown = plan(runs / "c", tiny, saved)
    assert unknown.protocol == f"tasks of {saved}; it is not known whether training saw their episodes"
    with Dataset.open(runs / "two.h5") as dataset:  # the episodes would be held out, were they of this dataset
        assert episodes <= set(split_episodes(dataset.num_episodes, tiny.training.held_out, 1)[1].tolist())


def test_tasks_of_episodes_that_training_left_out_are_held_out(saved):
    """With `training.episodes`, episodes can be neither seen nor held out."""
    tasks = read_tasks(saved, WORLD)
    episodes = sorted({task.episode for task in tasks.each})
    others = np.setdiff1d(np.arange(20), episodes)
    assert tasks.protocol_for(tasks.dataset, others, saved) == "held-out"
    some = tasks.protocol_for(tasks.dataset, np.append(others, episodes[0]), saved)
    assert some == f"tasks of {saved}; 1 of {len(episodes)} episodes were seen in training"


def test_tasks_that_are_written_again_stay_what_they_are(runs, tiny, saved, tmp_path):
    plan(runs / "b", tiny, saved, save_tasks=tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == saved.read_bytes()


def test_a_manifest_of_held_out_tasks_is_written_by_the_run_that_held_them_out(runs, tiny, saved, tmp_path):
    path = tmp_path / "manifest.json"
    with pytest.raises(LewmError, match="another run held them out"):
        plan(runs / "b", tiny, saved, save_tasks=path, clear_form=True)
    assert not path.exists()
    plan(runs / "a", tiny, saved, save_tasks=path, clear_form=True)
    assert json.loads(path.read_text())["protocol"]["name"] == "lewm-held-out"


def test_the_hash_covers_where_tasks_are_from(saved):
    tasks = read_tasks(saved, WORLD)
    first = tasks.each[0]
    changed = [
        dataclasses.replace(tasks, protocol="paper"),
        dataclasses.replace(tasks, dataset="0" * 64),
        dataclasses.replace(tasks, dataset=None),
        dataclasses.replace(tasks, env="push-t"),
        dataclasses.replace(tasks, discarded_solved=tasks.discarded_solved + 1),
        dataclasses.replace(tasks, discarded_ended=1),
        dataclasses.replace(tasks, each=(dataclasses.replace(first, episode=first.episode + 1), *tasks.each[1:])),
        dataclasses.replace(tasks, each=(dataclasses.replace(first, step=first.step + 1), *tasks.each[1:])),
    ]
    assert len({one.sha256() for one in [tasks, *changed]}) == 1 + len(changed)


def test_a_report_is_of_the_weights_that_planned_though_a_training_goes_on(runs, tiny, tmp_path):
    directory = shutil.copytree(runs / "a", tmp_path / "a")
    weights = sha256(directory / run.MODEL)

    def train_on(share, solved):
        shutil.copy(runs / "b" / run.MODEL, directory / run.MODEL)

    source = FromDataset(None, "held-out", 6, tiny.evaluation)
    planning = resolve(tiny, None, {"planning.horizon": 2, "planning.planner.iterations": 1}).planning
    report, _ = evaluate_run(PlanRequest(directory, source, planning, 0), CPU, train_on)
    assert report.checkpoint_sha256 == weights != sha256(directory / run.MODEL)


@pytest.mark.parametrize("chosen", [(), ("bounds",), ("bounds", "execute")])
def test_the_paper_protocol_plans_as_published_unless_asked(runs, tiny, tmp_path, chosen):
    """Without bounds, and all of a plan is executed."""
    path = tmp_path / "tasks.json"
    asked = resolve(tiny, None, {"planning.execute": 1})
    report = plan(runs / "a", asked, protocol="paper", chosen=chosen, save_tasks=path)
    again = plan(runs / "a", asked, path, chosen=chosen)
    assert (report.protocol, again.protocol) == ("paper", "paper")
    for planner in (report.planner, again.planner):
        assert planner["bounds"] == ("on" if "bounds" in chosen else "off")
        assert planner["execute"] == (1 if "execute" in chosen else None)
    held_out = plan(runs / "a", asked).planner
    assert (held_out["bounds"], held_out["execute"]) == ("on", 1)


@pytest.mark.parametrize(
    ("goal_offset", "budget", "said"),
    [
        (25, 50, []),
        (25, 25, []),
        (25, 24, ["the goals are 25 environment steps ahead and the budget is 24"]),
        (5, 9, ["a plan has 10 environment steps (horizon 2, frameskip 5) and the budget is 9", "at most 9 steps"]),
        (20, 3, ["the goals are 20 environment steps ahead and the budget is 3", "at most 3 steps"]),
    ],
)
def test_a_short_budget_is_said_aloud(runs, tiny, caplog, goal_offset, budget, said):
    settings = tiny.model_copy(update={"evaluation": Evaluation(goal_offset=goal_offset, budget=budget)})
    with caplog.at_level(logging.WARNING, logger="lewm.evaluation"):
        plan(runs / "a", settings, protocol="paper")
    text = "\n".join(caplog.messages)
    assert bool(text) == bool(said)
    for part in said:
        assert part in text


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_that_do_not_fit_in_64_bits_are_refused(runs, tiny, seed):
    source = FromDataset(None, "held-out", 6, tiny.evaluation)
    with pytest.raises(DataError, match=f"the seed is {seed}, expected at least 0 and below 2\\^64\n"):
        evaluate_run(PlanRequest(runs / "a", source, tiny.planning, seed), CPU)


def test_random_actions_of_a_long_budget_are_drawn_bit_by_bit(tiny, monkeypatch):
    """Equals the result of drawing them at once."""
    start = Task(0, 0, Placed(np.array([0.1, 0.1]), np.array([0.9, 0.9]), {}))
    tasks = Tasks("two-room", "from-env", None, (start,) * 3, None, None, 230, BY_STATES, 0, 0)
    controller = Controller(build(tiny.model), tiny.planning, 4)
    taken = []
    with_env = WORLD.make(1, 16, False)
    step = type(with_env).step
    monkeypatch.setattr(type(with_env), "step", lambda self, actions: taken.append(actions) or step(self, actions))
    solved = random_floor(controller, WORLD, tasks, 16, 3).solved
    assert not solved.any()
    expected = [np.random.default_rng([4, task]).uniform([-1, -1], [1, 1], (230, 2)) for task in range(3)]
    np.testing.assert_array_equal(np.stack(taken, axis=1), np.float32(expected))
