"""`lewm plan` as a user meets it: tasks in a file, tasks without a dataset, goals in a picture, any environment."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from typer.testing import CliRunner

from lewm.evaluation.agents import Seconds
from lewm.evaluation.episodes import Played
from lewm.report_files import read_report
from lewm_cli import output
from lewm_cli.main import app
from lewm_data.envs import registry

TINY = [
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=16"),
    *("--set", "model.predictor.projector_hidden=16"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.predictor.width=8"),
    *("--set", "model.predictor.depth=1"),
    *("--set", "model.predictor.history=1"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.held_out=0.5"),
]
PLANNER = ["--samples", "8", "--elites", "4", "--iterations", "1", "--horizon", "2"]
LANE = "gymnasium_package:LanePictures-v0"


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """The tests' own environments can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data" / "envs"))


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def train(home, env, episodes="8"):
    """A run in `env`, and the dataset it was trained on, in `home`."""
    data, run = home / "data.h5", home / "run"
    collect = ["collect", "--env", env, "--episodes", episodes, "--frame-size", "16", "--workers", "0"]
    for command in (
        [*collect, "--out", str(data)],
        ["train", "--data", str(data), "--out", str(run), "--steps", "2", "--batch-size", "4", *TINY],
    ):
        code, shown = call(*command)
        assert code == 0, shown
    return run, data


def plan(run, *arguments):
    """Plans, and what it reports."""
    known = set(run.glob("plan-*.json"))
    code, shown = call("plan", "--run", str(run), *PLANNER, *arguments)
    assert code == 0, shown
    (path,) = set(run.glob("plan-*.json")) - known
    return read_report(path), " ".join(re.sub(r"[│┃]", " ", shown).split())


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A run in Two-Room."""
    return train(tmp_path_factory.mktemp("two-room"), "two-room")


def test_saved_tasks_are_scored_again_without_the_dataset(rooms, tmp_path):
    run, data = rooms
    tasks = tmp_path / "tasks.json"
    report, shown = plan(run, "--episodes", "5", "--goal-offset", "9", "--budget", "30", "--save-tasks", str(tasks))
    assert f"tasks: {tasks}" in shown
    away = data.rename(data.with_suffix(".away"))
    again, shown = plan(run, "--tasks", str(tasks))
    away.rename(data)
    assert "goals 9 steps ahead, 30 steps allowed protocol held-out" in shown
    assert report["tasks_sha256"] == again["tasks_sha256"] == json.loads(tasks.read_text())["sha256"]
    changing = ("seconds_per_plan",)
    assert {k: v for k, v in report.items() if k not in changing} == {
        k: v for k, v in again.items() if k not in changing
    }
    code, shown = call("plan", "--run", str(run), "--tasks", str(tmp_path))
    assert code == 1
    assert len(shown.splitlines()) == 2


def test_tasks_go_to_clear_lewm_and_come_back(rooms, tmp_path):
    """The seed of a manifest is that of its plans, unless another is given."""
    run, data = rooms
    manifest, results, again = (tmp_path / name for name in ("manifest.json", "results.json", "again.json"))
    asked = ["--episodes", "4", "--goal-offset", "9", "--budget", "12", "--seed", "6"]
    written = ["--save-tasks", str(manifest), "--tasks-form", "clear", "--clear-results", str(results)]
    report, shown = plan(run, *asked, *written)
    assert f"outcomes for CLEAR-LeWM: {results}" in shown
    moved = data.rename(data.with_suffix(".moved"))
    code, shown = call("plan", "--run", str(run), *PLANNER, "--tasks", str(manifest))
    assert code == 1
    assert "no such file" in shown
    given = ["--tasks", str(manifest), "--data", str(moved), "--clear-results", str(again)]
    read, shown = plan(run, *given)
    other, _ = plan(run, *given[:4], "--seed", "7")
    moved.rename(data)
    assert read["tasks_sha256"] == report["tasks_sha256"]
    assert (read["planner"]["seed"], other["planner"]["seed"]) == (6, 7)
    first, second = (json.loads(path.read_text()) for path in (results, again))
    assert first == second
    assert first["policy_seed"] == 6


def test_tasks_are_saved_before_the_first_is_tried(rooms, tmp_path, monkeypatch):
    run, _ = rooms

    def stop(*arguments):
        raise KeyboardInterrupt("enough")

    monkeypatch.setattr("lewm.evaluation.command.run_planner", stop)
    tasks = tmp_path / "tasks.json"
    call("plan", "--run", str(run), *PLANNER, "--episodes", "3", "--save-tasks", str(tasks))
    assert len(json.loads(tasks.read_text())["tasks"]) == 3


def test_kernels_are_counted_while_they_are_compiled_and_their_seconds_said_apart(rooms, monkeypatch):
    run, _ = rooms

    def compiling(controller, world, tasks, *_):
        controller.on_compile(14, 29)
        return Played(np.ones(len(tasks), dtype=bool), np.zeros((0, 2)), np.full(len(tasks), 7)), Seconds(0.25, 12.0)

    monkeypatch.setattr("lewm.evaluation.command.run_planner", compiling)
    report, shown = plan(run, "--episodes", "2", "--device", "cpu")
    assert (report["seconds_per_plan"], report["seconds_preparing"]) == (0.25, 12.0)
    assert "compiling kernels, once: 14 of 29" in shown
    assert "0.25 s a plan in fp32, chosen by default on cpu" in shown
    assert "12 s beside the plans to compile kernels and to capture CUDA graphs" in shown


def test_tasks_from_the_environment(rooms, tmp_path):
    run, _ = rooms
    tasks = tmp_path / "tasks.json"
    asked = ["--tasks", "from-env", "--episodes", "3", "--budget", "20"]
    report, shown = plan(run, *asked, "--save-tasks", str(tasks))
    assert (report["protocol"], report["goal_offset"], report["episodes"]) == ("from-env", None, 3)
    assert "the environment's own goals, 20 steps allowed protocol from-env" in shown
    assert "0 of 3" in shown
    assert plan(run, "--tasks", str(tasks))[0]["tasks_sha256"] == report["tasks_sha256"]
    assert plan(run, *asked, "--seed", "1")[0]["tasks_sha256"] != report["tasks_sha256"]


def test_a_goal_picture(rooms, tmp_path):
    run, _ = rooms
    goal = tmp_path / "goal.png"
    image.imsave(goal, np.full((20, 30, 3), 255, np.uint8))
    report, shown = plan(run, "--goal", str(goal), "--episodes", "2", "--budget", "10", "--video", "gif")
    assert (report["protocol"], report["success_rate"], report["random"]["interval_95"]) == ("goal-picture", None, None)
    assert report["latent_distance"]["start"] == report["random"]["latent_distance"]["start"] > 0
    assert "the goal in the picture, 10 steps allowed" in shown
    assert shown.count("not known") == 3
    assert "Success is not known, because the goal is a picture, whose state nothing tells" in " ".join(shown.split())
    assert f"{report['latent_distance']['end']:.3g}" in shown
    goal.write_text("spoilt")
    code, shown = call("plan", "--run", str(run), "--goal", str(goal))
    assert code == 1
    assert "PNG or JPEG" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tasks", "tasks.json", "--protocol", "paper"],
        ["--tasks", "tasks.json", "--goal-offset", "3"],
        ["--tasks", "tasks.json", "--budget", "3"],
        ["--tasks", "tasks.json", "--episodes", "3"],
        ["--tasks", "tasks.json", "--goal", "goal.png"],
        ["--tasks", "from-env", "--data", "a.h5"],
        ["--tasks", "from-env", "--protocol", "paper"],
        ["--tasks", "from-env", "--goal-offset", "3"],
        ["--goal", "goal.png", "--protocol", "paper"],
        ["--goal", "goal.png", "--goal-offset", "3"],
        ["--goal", "goal.png", "--save-tasks", "tasks.json"],
        ["--seed", "0", "--tasks-form", "clear"],
        ["--save-tasks", "tasks.json", "--tasks-form", "other"],
    ],
)
def test_options_that_something_else_settles_are_wrong_usage(rooms, arguments):
    code, shown = call("plan", "--run", str(rooms[0]), *arguments)
    assert code == 2
    assert arguments[2] in re.sub(r"[^ -~]", "", shown)


def test_a_file_of_tasks_needs_no_dataset(rooms, tmp_path):
    tasks = tmp_path / "tasks.json"
    plan(rooms[0], "--episodes", "2", "--goal-offset", "9", "--budget", "10", "--save-tasks", str(tasks))
    code, shown = call("plan", "--run", str(rooms[0]), "--tasks", str(tasks), "--data", "a.h5")
    assert code == 2
    assert "--data" in re.sub(r"[^ -~]", "", shown)


def test_bounds_are_named_in_the_report(rooms):
    run, _ = rooms
    asked = ["--episodes", "2", "--goal-offset", "9", "--budget", "10"]
    assert [plan(run, *asked, *option)[0]["planner"]["bounds"] for option in ([], ["--bounds", "off"])] == ["on", "off"]
    paper = [*asked, "--protocol", "paper"]
    assert [plan(run, *paper, *option)[0]["planner"]["bounds"] for option in ([], ["--bounds", "on"])] == ["off", "on"]
    code, shown = call("plan", "--run", str(run), "--bounds", "wide")
    assert code == 1
    assert "bounds: Input should be 'on' or 'off', got 'wide'" in shown


def test_choices_have_no_bounds(cart_pole):
    code, shown = call("plan", "--run", str(cart_pole), "--bounds", "off")
    assert code == 2
    assert "--bounds" in re.sub(r"[^ -~]", "", shown)


def test_where_no_demonstrator_can_be_led_it_is_refused_first(cart_pole, rooms, monkeypatch):
    monkeypatch.setattr("lewm.evaluation.command.tasks_for", lambda *_: pytest.fail("tasks are drawn"))
    code, shown = call("plan", "--run", str(cart_pole), "--agent", "expert")
    assert (code, "CartPole-v1: has no demonstrator" in shown) == (1, True)
    code, shown = call("plan", "--run", str(rooms[0]), "--agent", "expert", "--goal", "goal.png")
    assert (code, "the goal is a picture, and a demonstrator is led to states" in shown) == (1, True)


def test_chance_where_actions_are_choices(cart_pole):
    asked = ["--episodes", "3", "--goal-offset", "5", "--budget", "30", "--agent"]
    planned, _ = plan(cart_pole, *asked, "planner")
    known = set(cart_pole.glob("plan-*.json"))
    code, shown = call("plan", "--run", str(cart_pole), *asked, "random")
    assert (code, shown.count("random actions")) == (0, 1)
    (path,) = set(cart_pole.glob("plan-*.json")) - known
    drawn = read_report(path)
    assert drawn["random"] is None
    assert [one["planner"] for one in drawn["tasks"]] == [one["random"] for one in planned["tasks"]]


@pytest.mark.parametrize("tasks", [[], ["--protocol", "paper"], ["--tasks", "from-env"]])
def test_cart_pole_from_collection_to_success(cart_pole, tasks, tmp_path):
    saved = tmp_path / "tasks.json"
    asked = ["--episodes", "3", "--goal-offset", "5", "--budget", "30"]
    report, shown = plan(cart_pole, *tasks, *asked, "--save-tasks", str(saved))
    assert report["episodes"] == report["random"]["episodes"] == 3
    assert 0 <= report["success_rate"] <= 1
    assert "goals 5 steps ahead, 30 steps allowed" in shown
    again, _ = plan(cart_pole, "--tasks", str(saved))
    assert (again["successes"], again["random"]) == (report["successes"], report["random"])


@pytest.fixture(scope="module")
def cart_pole(tmp_path_factory):
    """A run in CartPole, whose episodes end where the pole falls."""
    return train(tmp_path_factory.mktemp("cart-pole"), "CartPole-v1", "10")[0]


def test_an_environment_that_tells_nothing(tmp_path):
    run, _ = train(tmp_path, LANE)
    for tasks in ([], ["--tasks", "from-env"]):
        report, shown = plan(run, *tasks, "--episodes", "3", "--goal-offset", "3", "--budget", "8")
        assert report["success_rate"] is None
        assert report["random"]["latent_distance"]["start"] == pytest.approx(report["latent_distance"]["start"])
        assert shown.count("not known") == 3
        assert "Success is not known, because the environment observes no numbers" in " ".join(shown.split())


def test_a_trial_of_states_shows_how_far_it_is_and_is_not_made_twice(cart_pole, tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    shown = []
    monkeypatch.setattr(output, "show_stage", lambda bar, task, what, done: shown.append((what, done)))
    reports = []
    for _ in range(2):
        registry.world.cache_clear()  # another process would have another world
        registry._usable.cache_clear()
        reports.append(plan(cart_pole, "--episodes", "2", "--goal-offset", "1", "--budget", "4")[0]["success"])
    assert reports[0] == reports[1]
    assert re.match("judged by states: moments that count as the same look alike", reports[0])
    tried = [done for what, done in shown if what == "trying out whether states tell success"]
    assert len(tried) > 100
    assert tried == sorted(tried)
    assert tried[-1] == 1
    first_planning = [what for what, _ in shown].index("planning")
    assert len(tried) == first_planning, "the second command tries nothing"
