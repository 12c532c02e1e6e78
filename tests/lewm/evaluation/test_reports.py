"""A report is what happened, on the data that the run was trained on."""

import json

import numpy as np
import pytest

from lewm.config import resolve
from lewm.errors import LewmError
from lewm.evaluation import command as evaluation
from lewm.evaluation.command import evaluate_run, fitting_batch
from lewm.evaluation.episodes import Played
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.report import LatentDistance, Outcome, Success
from lewm.planning.controller import Controller
from lewm.report_files import read_report
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.envs.two_room import TwoRoomVectorEnv
from lewm_data.store.clips import split_episodes
from lewm_data.store.dataset import Dataset
from tests.lewm.evaluation.drawing import CPU, WORLD, request


def test_report_has_every_key_and_is_written(tiny, trained, data):
    report, path = evaluate_run(request(trained, tiny, video="gif"), CPU)
    written = read_report(path)
    assert written == json.loads(json.dumps(report.as_dict()))
    success = ["success_rate", "successes", "episodes", "interval_95", "latent_distance"]
    keys = [
        "random",
        "success",
        "protocol",
        "goal_offset",
        "budget",
        "discarded_solved",
        "discarded_ended",
        "tasks_sha256",
    ]
    keys += ["tasks", "seconds_per_plan", "seconds_preparing", "planner", "checkpoint_sha256"]
    keys += ["head_sha256", "policy_sha256", "versions"]
    assert list(written) == [*success, *keys]
    assert list(written["random"]) == success
    assert written["latent_distance"] is None
    assert written["episodes"] == written["random"]["episodes"] == 5
    assert written["seconds_preparing"] == 0
    assert written["planner"]["method"] == "LeWM"
    assert written["planner"]["precision"] == "fp32"
    assert written["planner"]["precision_reason"] == "chosen by default on cpu"
    assert len(list(path.with_suffix("").glob("episode-*.gif"))) == 5
    _, held_out = split_episodes(20, tiny.training.held_out, tiny.training.seed)
    with Dataset.open(data) as opened:
        tasks = draw_tasks(opened, WORLD, "held-out", held_out, 5, 25, 50, 0)
    assert written["tasks_sha256"] == tasks.sha256()


def test_random_actions_too_are_tried_in_batches(tiny, trained, monkeypatch):
    made = []
    begin = TwoRoomVectorEnv.__init__

    def counted(self, num_envs, *arguments, **named):
        made.append(num_envs)
        begin(self, num_envs, *arguments, **named)

    monkeypatch.setattr(TwoRoomVectorEnv, "__init__", counted)
    evaluate_run(request(trained, tiny, batch=2), CPU)
    assert made == [2, 2, 1] * 2


def test_held_out_needs_the_data_of_training(tiny, trained, tmp_path):
    other = tmp_path / "other.h5"
    collect(WORLD, other, 20, policy="expert", noise=2.0, frame_size=16, seed=5, num_envs=20)
    with pytest.raises(LewmError, match="what it held out is not known"):
        evaluate_run(request(trained, tiny, data=other), CPU)


def test_frames_of_another_size_than_in_training_are_refused(tiny, trained, tmp_path):
    larger = tmp_path / "larger.h5"
    collect(WORLD, larger, 4, policy="expert", noise=2.0, frame_size=32, seed=0, num_envs=4)
    with pytest.raises(LewmError, match="32 x 32 pixels, the run was trained on 16 x 16 pixels"):
        evaluate_run(request(trained, tiny, "paper", larger), CPU)


def test_a_model_of_another_size_than_its_data_is_shown_what_it_was_trained_on(tiny, data, tmp_path, monkeypatch):
    config = resolve(tiny, None, {"model.frame_size": 8})
    train(config, data, tmp_path / "run", CPU)
    seen = set()
    embed = Controller.embed
    monkeypatch.setattr(Controller, "embed", lambda self, frames: seen.add(frames.shape[1:]) or embed(self, frames))
    evaluate_run(request(tmp_path / "run", tiny, episodes=3), CPU)
    assert seen == {(16, 16, 3)}


def test_success_of_nothing_and_everything():
    nothing = np.zeros((0, 2))
    assert Success.of(Played(np.ones(10, dtype=bool), nothing, np.arange(10))).interval_95[1] == pytest.approx(1)
    assert Success.of(Played(np.zeros(10, dtype=bool), nothing, np.arange(10))).success_rate == 0


def test_where_success_is_not_known_there_are_distances():
    success = Success.of(Played(None, np.array([[3.0, 1.0], [5.0, 2.0]]), np.array([3, 4])))
    assert (success.success_rate, success.successes, success.interval_95) == (None, None, None)
    assert success.episodes == 2
    assert (success.latent_distance.start, success.latent_distance.end) == (4.0, 1.5)
    assert Outcome.each(Played(None, np.array([[3.0, 1.0], [5.0, 2.0]]), np.array([3, 4]))) == [
        Outcome(None, 3, LatentDistance(3.0, 1.0)),
        Outcome(None, 4, LatentDistance(5.0, 2.0)),
    ]


def test_automatic_batch_keeps_every_frame_in_an_eighth_of_the_memory(monkeypatch):
    monkeypatch.setattr(evaluation, "physical_memory", lambda device: 8 * 10 * (51 * 64 * 64 * 3))
    assert fitting_batch(WORLD, 64, 50) == 10
    assert fitting_batch(WORLD, 64, 51) == 9
    assert fitting_batch(WORLD, 64, 100_000) == 1


def test_simulators_are_few_whatever_the_memory(monkeypatch):
    monkeypatch.setattr(evaluation, "physical_memory", lambda device: 10**12)
    assert fitting_batch(WORLD, 16, 50) > 10_000
    assert fitting_batch(world("reacher"), 16, 50) == fitting_batch(world("CartPole-v1"), 16, 50) == 50
