"""Manifests of CLEAR-LeWM: read, written, and read again; and results in its form."""

import dataclasses
import hashlib
import json
import shutil
from typing import get_args

import numpy as np
import pytest

from lewm.checkpoints.origin import Origin
from lewm.config import Planning
from lewm.errors import LewmError
from lewm.evaluation.choice import named_protocol
from lewm.evaluation.clear.manifest import read_if_manifest
from lewm.evaluation.clear.pairs import tasks_of, write_manifest
from lewm.evaluation.command import evaluate_run
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.from_env import draw_from_env
from lewm.evaluation.manifest import read_tasks, write_tasks
from lewm.evaluation.report import agent_name
from lewm.evaluation.requests import FromFile, PlanRequest
from lewm.files import sha256
from lewm.heads.command import PolicyRequest, train_policy_of
from lewm.heads.policies import POLICIES
from lewm.opened_run import open_run
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.metadata import metadata_sha256
from tests.lewm.evaluation.clear_files import manifest_of, push_t_data, written
from tests.lewm.evaluation.drawing import CPU, HELD_OUT, WORLD, draw, request

PUSH_T = world("push-t")


@pytest.fixture(scope="module")
def acting(trained, tmp_path_factory):
    """A run with a policy of each kind."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("acting") / "run")
    for kind in POLICIES:
        settings = dataclasses.replace(POLICIES[kind].settings(), steps=2)
        train_policy_of(PolicyRequest(run, None, kind, settings), CPU, lambda what, share: None)
    return run


@pytest.fixture
def push_t(tmp_path):
    """A dataset, and the manifest of it."""
    data = push_t_data(tmp_path / "push-t.h5")
    return data, written(tmp_path / "manifest.json", manifest_of(data))


def test_a_manifest_as_the_project_writes_it(push_t):
    data, path = push_t
    manifest = read_if_manifest(path)
    with Dataset.open(data) as dataset:
        tasks = tasks_of(manifest, dataset, PUSH_T)
        states = dataset.column("state")
        assert tasks.dataset == dataset.fingerprint()
    assert [(task.episode, task.step) for task in tasks.each] == [(1, 2), (0, 0)]
    for task, (start, goal) in zip(tasks.each, ((7, 11), (0, 4)), strict=True):
        np.testing.assert_array_equal(task.start.state, states[start])
        np.testing.assert_array_equal(task.start.goal, states[goal])
    assert (tasks.protocol, tasks.goal_offset, tasks.budget) == ("CLEAR-LeWM strict", 4, 50)
    assert manifest.content.policy_seed == 42
    assert manifest.sha256 == sha256(path)
    assert manifest.protocol == json.loads(path.read_text())["protocol"]


def test_the_fingerprint_is_of_size_names_shapes_and_types(push_t):
    data, _ = push_t
    with Dataset.open(data) as dataset:
        rows, columns = dataset.num_steps, {column.name: column for column in dataset.schema}
    shapes = {name: ([rows, *column.shape], str(column.dtype)) for name, column in columns.items()}
    shapes |= {"ep_len": ([2], "int32"), "ep_offset": ([2], "int64"), "row_hash": ([rows, 2, 16], "uint8")}
    outline = [f'{{"dtype":"{kind}","key":"{name}","shape":{shape}}}' for name, (shape, kind) in sorted(shapes.items())]
    text = f'{{"schema":[{",".join(outline)}],"size_bytes":{data.stat().st_size}}}'.replace(", ", ",")
    assert metadata_sha256(data) == hashlib.sha256(text.encode()).hexdigest()


def test_a_file_that_was_not_closed_has_no_fingerprint(push_t, tmp_path):
    data, _ = push_t
    open_still = tmp_path / "open.h5"
    content = bytearray(data.read_bytes())
    content[11] |= 1  # HDF5's mark of a file that is being written
    open_still.write_bytes(content)
    with pytest.raises(DataError, match=r"open\.h5"):
        metadata_sha256(open_still)


def test_tasks_are_the_same_after_a_manifest(dataset, tmp_path):
    for protocol in ("held-out", "unsolved", "paper"):
        tasks = draw(dataset, protocol)
        path = tmp_path / f"{protocol}.json"
        write_manifest(path, tasks, dataset, 5, 0.1, HELD_OUT)
        again = tasks_of(read_if_manifest(path), dataset, WORLD)
        assert again.sha256() == tasks.sha256()
        assert again == dataclasses.replace(tasks, each=again.each, judgement=again.judgement)
        stated = json.loads(path.read_text())
        assert stated["split"] == stated["protocol"]["split"] == ("heldout" if protocol == "held-out" else "all")
        assert stated["protocol"]["exclude_initial_success"] == (protocol != "paper")
        assert stated["policy_seed"] == 5
        assert stated["protocol"]["name"] == f"lewm-{protocol}"
        states = dataset.column("state")
        rows, split = dataset.column("episode_idx"), np.arange(20) if protocol != "held-out" else HELD_OUT
        pairs = [row for row in range(len(rows) - 25) if rows[row] == rows[row + 25]]
        near = [np.linalg.norm(states[row + 25] - states[row]) < 16 / 224 for row in pairs if rows[row] in split]
        statistics = stated["statistics"]
        assert statistics["valid_pairs_all_splits"] == len(pairs)
        assert statistics["pairs_in_selected_split"] == len(near)
        assert statistics["initial_success_rate_percent"] == pytest.approx(100 * np.mean(near))
        assert statistics["upstream_initial_success_rate_percent"] == pytest.approx(100 * np.mean(near))
        assert statistics["num_eval"] == len(tasks)
        for pair, task in zip(stated["pairs"], tasks.each, strict=True):
            apart = 224 * np.linalg.norm(states[pair["goal_row"]] - states[pair["start_row"]])
            assert pair["difficulty"] == pytest.approx(apart)
            assert pair["initial_success"] == pair["upstream_initial_success"] == (apart < 16)
            assert dataset.column("episode_idx")[pair["start_row"]] == pair["episode_id"] == task.episode
            assert dataset.column("step_idx")[pair["goal_row"]] == pair["goal_step"] == task.step + 25


def test_a_manifest_of_ours_that_was_changed_is_refused(dataset, tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(path, draw(dataset), dataset, 0, 0.1, HELD_OUT)
    content = json.loads(path.read_text())
    content["pairs"].reverse()
    with pytest.raises(LewmError, match="another sha256"):
        tasks_of(read_if_manifest(written(path, content)), dataset, WORLD)


def test_what_is_no_row_of_the_dataset_has_no_manifest(dataset, push_t, tmp_path):
    path = tmp_path / "no.json"
    refused = {
        "are not from": draw_from_env(WORLD, 2, 25, 50, 0),
        "are not from .*h5": dataclasses.replace(draw(dataset), dataset="0" * 64),
        "is no task of CLEAR-LeWM": dataclasses.replace(draw(dataset), env="gymnasium_package:Lane-v0"),
    }
    for problem, tasks in refused.items():
        with pytest.raises(LewmError, match=problem):
            write_manifest(path, tasks, dataset, 0, 0.1, HELD_OUT)
    data, manifest = push_t
    with Dataset.open(data) as other:
        tasks = tasks_of(read_if_manifest(manifest), other, PUSH_T)
        with pytest.raises(LewmError, match="from a manifest of CLEAR-LeWM already"):
            write_manifest(path, tasks, other, 0, 0.1, np.arange(2))
    assert not path.exists()


def test_pairs_of_a_manifest_can_be_kept_in_our_own_form(push_t, tmp_path):
    data, manifest = push_t
    with Dataset.open(data) as dataset:
        tasks = tasks_of(read_if_manifest(manifest), dataset, PUSH_T)
    write_tasks(tmp_path / "tasks.json", tasks)
    assert read_if_manifest(tmp_path / "tasks.json") is None
    assert read_tasks(tmp_path / "tasks.json", PUSH_T).sha256() == tasks.sha256()


def test_outcomes_by_all_rules(trained, tiny, dataset, tmp_path):
    """The same episodes as without results, each scored by three rules, and by the manifest's own."""
    asked = request(trained, tiny, episodes=12)
    plain, _ = evaluate_run(asked, CPU)
    paths = {"save_tasks": tmp_path / "manifest.json", "clear_results": tmp_path / "results.json"}
    report, _ = evaluate_run(dataclasses.replace(asked, clear_form=True, **paths), CPU)
    same = ("successes", "tasks_sha256", "protocol", "random", "tasks")
    assert {name: getattr(report, name) for name in same} == {name: getattr(plain, name) for name in same}
    manifest, result = (json.loads(paths[name].read_text()) for name in ("save_tasks", "clear_results"))
    assert result["schema_version"] == "clear-lewm-result-v1"
    assert result["manifest_sha256"] == sha256(paths["save_tasks"])
    assert result["protocol"] == manifest["protocol"]
    assert result["dataset_fingerprint"] == manifest["dataset"]["fingerprint"]
    assert result["checkpoint"]["runtime_sha256"] == sha256(trained / "model.safetensors")
    assert [pair["pair_id"] for pair in result["pairs"]] == [pair["pair_id"] for pair in manifest["pairs"]]
    for name, outcomes in (("policy", "planner"), ("random", "random")):
        by_rule = [pair[name] for pair in result["pairs"]]
        ours = [getattr(task, outcomes).solved for task in report.tasks]
        assert [one["world"] for one in by_rule] == [one["moderate"] for one in by_rule] == ours
        assert all(one["world"] or not one["strict"] for one in by_rule)
        assert [one["protocol"] for one in by_rule] == ours
    assert result["episode_successes"] == [task.planner.solved for task in report.tasks]
    assert result["random_episode_successes"] == [task.random.solved for task in report.tasks]
    metrics = result["metrics"]
    assert metrics["success_rate_percent"] == pytest.approx(100 * report.success_rate)
    assert metrics["random_success_rate_percent"] == pytest.approx(100 * report.random.success_rate)


def test_a_manifest_is_played_from_its_file(trained, tiny, data, dataset, tmp_path):
    """Its pairs decide; the report says whose they are and how many of their episodes training saw."""
    path = tmp_path / "manifest.json"
    tasks = draw(dataset, "unsolved", count=6)
    write_manifest(path, tasks, dataset, 0, 0.1, HELD_OUT)
    content = json.loads(path.read_text())
    del content["lewm"]
    content["protocol"] |= {"pusht_block_only": True, "tworoom_distance_threshold": 8.0}
    written(path, content)
    results = tmp_path / "results.json"
    asked = PlanRequest(trained, FromFile(path, data), tiny.planning, 3, clear_results=results)
    report, _ = evaluate_run(asked, CPU)
    assert report.protocol.startswith("CLEAR-LeWM lewm-unsolved; ")
    assert report.protocol.endswith("episodes were seen in training")
    assert [(task.episode, task.step) for task in report.tasks] == [(task.episode, task.step) for task in tasks.each]
    result = json.loads(results.read_text())
    assert result["policy_seed"] == 3
    assert result["criterion"]["tworoom_distance_threshold"] == 8.0
    for pair in result["pairs"]:
        assert pair["random"]["strict"] <= pair["random"]["protocol"] <= pair["random"]["moderate"]


def test_a_file_s_tasks_keep_their_name_for_an_imported_run(trained, tiny, dataset, tmp_path):
    """It says of all of them that it is not known whether training saw them, and of none that they are held out."""
    run = dataclasses.replace(open_run(trained), origin=Origin("hf:robots/rooms", "weights.pt", "00", "transformers4"))
    path = tmp_path / "manifest.json"
    write_manifest(path, draw(dataset, "unsolved", count=6), dataset, 0, 0.1, HELD_OUT)
    content = json.loads(path.read_text())
    del content["lewm"]
    content["protocol"]["name"] = "moderate"
    asked = PlanRequest(trained, FromFile(path), tiny.planning, 0)
    of_manifest = tasks_of(read_if_manifest(written(path, content)), dataset, WORLD)
    every = {one: draw(dataset, one) for one in ("unsolved", "paper")} | {
        "CLEAR-LeWM moderate": of_manifest,
        f"tasks of {path}": draw(dataset, "held-out"),
    }
    for name, tasks in every.items():
        said = f"{name}; it is not known whether training saw their episodes"
        assert named_protocol(asked, run, tasks) == said


def test_a_manifest_does_not_say_that_a_run_held_out_what_another_one_did(dataset, tmp_path):
    path = tmp_path / "manifest.json"
    for unseen in (HELD_OUT[:2], np.arange(0)):
        with pytest.raises(LewmError, match="another run held them out\nLeave out --tasks,"):
            write_manifest(path, draw(dataset), dataset, 0, 0.1, unseen)
    assert not path.exists()


@pytest.mark.parametrize("option", ["save_tasks", "clear_results"])
def test_no_file_is_written_in_the_place_of_the_tasks(trained, tiny, tmp_path, option):
    path, link = tmp_path / "manifest.json", tmp_path / "link.json"
    path.write_text("tasks")
    link.symlink_to(path)
    asked = PlanRequest(trained, FromFile(path), tiny.planning, 0, **{option: link})
    named = f"--{option.replace('_', '-')}"
    with pytest.raises(LewmError, match=rf"link\.json: is the file of --tasks too\nName another file with {named}\."):
        evaluate_run(asked, CPU)
    assert path.read_text() == "tasks"


def test_tasks_and_results_need_a_file_each(trained, tiny, tmp_path):
    path = tmp_path / "one.json"
    with pytest.raises(LewmError, match=r"one\.json: is the file of --save-tasks too\n"):
        evaluate_run(request(trained, tiny, save_tasks=path, clear_form=True, clear_results=path), CPU)
    assert not path.exists()


@pytest.mark.parametrize("agent", get_args(Planning.model_fields["agent"].annotation))
def test_every_agent_is_scored(acting, tiny, tmp_path, agent):
    """Numbers of a search are there only where one ran."""
    paths = {"save_tasks": tmp_path / "manifest.json", "clear_results": tmp_path / "results.json"}
    asked = request(acting, tiny, episodes=3, clear_form=True, **paths)
    planning = tiny.planning.model_copy(update={"agent": agent})
    report, _ = evaluate_run(dataclasses.replace(asked, planning=planning), CPU)
    result = json.loads(paths["clear_results"].read_text())
    assert result["episode_successes"] == [task.planner.solved for task in report.tasks]
    assert result["policy"] == agent_name(report.planner)
    assert (result["inference"]["mode"], result["policy_seed"]) == (agent, 0)
    solver = result["solver"]
    search = tiny.planning.planner if agent == "planner" else None
    assert solver["batch_size"] == report.planner["batch"]
    assert solver["num_samples"] == (search and search.samples)
    assert solver["n_steps"] == (search and search.iterations)
    assert solver["topk"] == (search and search.elites)
    assert result["inference"]["planning"]["planner"] == (search and search.model_dump(mode="json"))
    if agent == "expert":
        assert all(result["episode_successes"])
    if agent == "random":
        assert result["random_episode_successes"] == result["episode_successes"]


def test_statistics_that_say_anything_are_read(push_t):
    """They describe the pairs and change nothing, so those of other versions and makers are no fault."""
    data, path = push_t
    for statistics in (None, {}, {"valid_pairs": 7, "initial_success_rate_percent": "none"}, [1]):
        manifest = read_if_manifest(written(path, manifest_of(data) | {"statistics": statistics}))
        assert len(manifest.content.pairs) == 2


def test_results_need_a_manifest(trained, tiny, tmp_path):
    asked = request(trained, tiny, clear_results=tmp_path / "results.json")
    with pytest.raises(LewmError, match="no manifest of CLEAR-LeWM"):
        evaluate_run(asked, CPU)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("name", ["push-t", "reacher", "cube"])
def test_tasks_of_every_world_are_the_same_after_a_manifest(tmp_path, name):
    place = world(name)
    pytest.importorskip("pymunk" if name == "push-t" else "dm_control")
    collect(place, tmp_path / "data.h5", 2, policy="random", noise=0.0, frame_size=16, seed=0, num_envs=2, max_steps=12)
    with Dataset.open(tmp_path / "data.h5") as dataset:
        tasks = draw_tasks(dataset, place, "paper", np.arange(2), 5, 4, 9, 0)
        write_manifest(tmp_path / "manifest.json", tasks, dataset, 0, 0.1, np.arange(2))
        assert tasks_of(read_if_manifest(tmp_path / "manifest.json"), dataset, place).sha256() == tasks.sha256()
    pairs = json.loads((tmp_path / "manifest.json").read_text())["pairs"]
    starts, goals = (np.stack([getattr(task.start, part) for task in tasks.each]) for part in ("state", "goal"))
    assert [pair["initial_success"] for pair in pairs] == place.solved(starts, goals).tolist()
