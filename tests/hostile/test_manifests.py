"""Files that are no tasks, each made here, each met with two lines that say what to do."""

import json
from pathlib import Path

import numpy as np
import pytest

from lewm.errors import LewmError
from lewm.evaluation.from_env import draw_from_env
from lewm.evaluation.manifest import read_tasks, write_tasks
from lewm_data.envs.registry import world

TWO_ROOM = world("two-room")


@pytest.fixture
def path(tmp_path):
    """A good file, to be spoilt."""
    path = tmp_path / "tasks.json"
    write_tasks(path, draw_from_env(TWO_ROOM, 3, 25, 50, 0))
    assert len(read_tasks(path, TWO_ROOM)) == 3
    return path


def refused(path, problem, place=TWO_ROOM):
    with pytest.raises(LewmError) as caught:
        read_tasks(path, place)
    first, remedy = str(caught.value).split("\n")
    assert first.startswith(f"{path}: "), first
    assert problem in first
    assert len(remedy) > 15
    assert remedy.endswith(".")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"budget": 5000}, "another sha256"),
        ({"goal_offset": 3}, "another sha256"),
        ({"sha256": "0" * 64}, "another sha256"),
        ({"protocol": "held-out"}, "another sha256"),
        ({"protocol": "held-out, surely"}, "protocol: Input should be 'held-out', 'unsolved', 'paper', 'from-env'"),
        ({"dataset": "0" * 64}, "another sha256"),
        ({"discarded_solved": 77}, "another sha256"),
        ({"discarded_ended": 77}, "another sha256"),
        ({"format": 2}, "format 2, this version reads 1"),
        ({"format": "x" * 500}, "format 'xxx"),
        ({"env": "push-t"}, "tasks in 'push-t', the run was trained in 'two-room'"),
        ({"env": None}, "tasks in None"),
        ({"budget": 0}, "budget: Input should be greater than 0"),
        ({"budget": 10**12}, "budget: Input should be less than or equal to 1000000000"),
        ({"budget": "50"}, "budget: Input should be a valid integer"),
        ({"budget": True}, "budget: Input should be a valid integer"),
        ({"discarded_solved": -1}, "discarded_solved"),
        ({"tasks": []}, "tasks: List should have at least 1 item"),
        ({"tasks": {}}, "tasks: Input should be a valid list"),
        ({"tasks": [3]}, "tasks.0: Input should be a valid dictionary"),
        ({"comment": "mine"}, "comment: Extra inputs are not permitted"),
    ],
)
def test_changed_heads(path, changes, problem):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(path, problem)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"start": [0.5, 0.25]}, "another sha256"),
        ({"episode": 77}, "another sha256"),
        ({"step": 77}, "another sha256"),
        ({"factors": {"agent.speed": 0.03}}, "another sha256"),
        ({"start": [0.5]}, "tasks.1: start and goal are 1 and 2 numbers, expected 2"),
        ({"goal": [0.5, 0.5, 0.5]}, "tasks.1: start and goal are 2 and 3 numbers, expected 2"),
        ({"start": [[0.5], [0.5]]}, "tasks.1.start.0: Input should be a valid number"),
        ({"start": [0.5, "0.5"]}, "tasks.1.start.1: Input should be a valid number"),
        ({"start": [0.5, float("nan")]}, "tasks.1.start.1: Input should be a finite number"),
        ({"start": [0.5, 10**400]}, "tasks.1.start.1"),
        ({"start": None}, "tasks.1.start: Input should be a valid list"),
        ({"episode": -1}, "tasks.1.episode"),
        ({"episode": 2**70}, "tasks.1.episode"),
        ({"factors": {"agent.color": "red"}}, "tasks.1.factors.agent.color"),
        ({"seed": 3}, "tasks.1.seed: Extra inputs are not permitted"),
    ],
)
def test_changed_tasks(path, changes, problem):
    content = json.loads(path.read_text())
    content["tasks"][1] |= changes
    path.write_text(json.dumps(content))
    refused(path, problem)


@pytest.mark.parametrize("name", ["env", "format", "budget", "sha256", "tasks", "dataset"])
def test_what_is_missing(path, name):
    content = json.loads(path.read_text())
    del content[name]
    path.write_text(json.dumps(content))
    refused(path, "is not a file of tasks" if name == "tasks" else "" if name in ("env", "format") else name)


def test_replayed_tasks_of_wrong_shapes(path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data" / "envs"))
    lane = world("gymnasium_package:Lane-v0")
    write_tasks(path, draw_from_env(lane, 2, 3, 9, 0))
    assert read_tasks(path, lane).each[0].start.goal_actions.shape == (3, 5)
    refused(path, "tasks in 'gymnasium_package:Lane-v0', the run was trained in 'two-room'")
    good = json.loads(path.read_text())
    for changes, problem in (
        ({"goal_actions": [[0, 1]]}, "tasks.1: an action is 2 numbers, expected 5"),
        ({"actions": [[1e300] * 5]}, "tasks.1: an action is beyond what float32 holds"),
        ({"actions": [[]]}, "tasks.1: an action is 0 numbers, expected 5"),
        ({"actions": [3]}, "tasks.1.actions.0: Input should be a valid list"),
        ({"seed": 2**31}, "tasks.1.seed"),
        ({"seed": -1}, "tasks.1.seed"),
        ({"goal_actions": np.zeros((3, 5)).tolist()}, "another sha256"),
    ):
        spoilt = json.loads(json.dumps(good))
        spoilt["tasks"][1] |= changes
        path.write_text(json.dumps(spoilt))
        refused(path, problem, lane)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"\x89HDF\r\n\x1a\n", b"[" * 100_000, b'{"tasks": ' + b"9" * 5000 + b"}", b"\x80\x04"],
)
def test_files_that_are_not_json(path, content):
    path.write_bytes(content)
    refused(path, "is not ")


@pytest.mark.parametrize("content", ["[]", "3", "null", '"tasks"', "{}", '{"success_rate": 1.0}'])
def test_json_that_is_something_else(path, content):
    path.write_text(content)
    refused(path, "is not a file of tasks")


def test_directories_and_missing_files(tmp_path):
    refused(tmp_path, "is a directory, expected a file")
    refused(tmp_path / "missing.json", "No such file")


def test_a_cut_file(path):
    content = path.read_bytes()
    for share in (0.2, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        refused(path, "is not JSON")
