"""Commands at once, in runs that cannot be written, and on disks that fill up: no result is lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lewm.probing import probes
from lewm.report_files import read_report
from lewm_cli import output
from lewm_cli.main import app
from lewm_data.collection.record_episodes import record
from lewm_data.envs.registry import world
from lewm_data.envs.two_room.vector_env import TwoRoomVectorEnv
from lewm_data.temporary import claimed
from lewm_data.video.video_writer import write_video

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
PLAN = ["plan", "--episodes", "3", "--samples", "8", "--elites", "4", "--iterations", "1", "--horizon", "2"]


def call(*arguments):
    """The exit code, what stdout has, and what stderr or the error says."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, result.stdout, "\n".join(output.explain(result.exception))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEWM_HOME", str(home))
        collect = ["collect", "--episodes", "40", "--frame-size", "16", "--workers", "0", "--out", home / "rooms.h5"]
        train = ["train", "--data", home / "rooms.h5", "--steps", "5", "--batch-size", "8", "--out", home / "run"]
        for command in (collect, [*train, *TINY]):
            code, _, said = call(*command)
            assert code == 0, said
        yield home


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(16,), steps=20, validate_every=10))
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "rooms.mp4"
    (episode,) = record(world("two-room"), [0], 16, 40)
    write_video(path, episode.frames.repeat(8, axis=1).repeat(8, axis=2), 10.0)
    return path


COMMANDS = {
    "plan": PLAN,
    "probe": ["probe"],
    "surprise": ["surprise", "VIDEO"],
    "decode": ["decode", "--steps", "2"],
    "suite": ["surprise", "--suite", "two-room", "--episodes", "2", "--alpha", "0.1"],
}


def command_of(kind, run, video):
    return [str(video) if word == "VIDEO" else word for word in COMMANDS[kind]] + ["--run", str(run)]


def test_commands_begun_at_once_leave_a_report_each(run):
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "lewm_cli", *PLAN, "--run", str(run), "--seed", str(seed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    for one in started:
        said = one.communicate()[1]
        assert one.returncode == 0, said
    assert sorted(read_report(path)["planner"]["seed"] for path in run.glob("plan-*.json")) == [0, 1, 2]
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_run_that_cannot_be_written_is_refused_before_the_work(run, video, kind, monkeypatch):
    opened = os.open

    def read_only(path, flags, *arguments, **named):
        if flags & os.O_CREAT and Path(path).parent == run:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *arguments, **named)

    def work(*arguments, **named):
        raise AssertionError("the work has begun")

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr("lewm.checkpoints.run.load_run", work)
    before = sorted(run.iterdir())
    code, shown, said = call(*command_of(kind, run, video))
    assert (code, shown) == (1, "")
    assert said == (
        f"{run}: its report cannot be written there: Read-only file system\n"
        "Copy the run to a folder that you can write to, and give --run the copy."
    )
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize(("kind", "json_too"), [*((kind, False) for kind in COMMANDS), ("plan", True)])
def test_a_disk_that_is_full_at_the_end_costs_no_result(run, video, kind, json_too, monkeypatch):
    def full(path, *arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("lewm.report_files.write_text", full)
    before = {one.name for one in run.iterdir()} | {"decoder.safetensors"}
    code, shown, said = call(*command_of(kind, run, video), *["--json"] * json_too)
    assert code == 1
    assert "No space left on device" in said
    if json_too:
        assert "checkpoint_sha256" in json.loads(shown)
    else:
        told = {"plan": "LeWM + CEM", "probe": "shape of the space", "surprise": "scored frames", "decode": "pixel"}
        assert told.get(kind, "False alarms") in shown
    assert {one.name for one in run.iterdir()} <= before


def test_films_that_cannot_be_written_do_not_stop_the_planning(run, monkeypatch):
    written = []

    def write(path, *arguments):
        written.append(path.name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("lewm.evaluation.film.write_video", write)
    code, shown, said = call(*PLAN, "--run", run, "--video", "gif")
    assert (code, written) == (1, ["episode-0000.gif"])
    assert "LeWM + CEM" in shown
    assert "No space left on device" in said
    assert not list(run.glob("plan-*"))


def test_a_cache_that_cannot_be_written_costs_nothing_but_a_warning(run, tmp_path, monkeypatch, caplog):
    (tmp_path / "home").write_text("no folder")
    code, shown, said = call("probe", "--run", run)
    assert code == 0, said
    assert "shape of the space" in shown
    assert "cannot be written, so it is made again the next time" in caplog.text


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ([*PLAN, "--save-tasks"], "--save-tasks"),
        (["surprise", "VIDEO", "--out-video"], "--out-video"),
        (["report", "--out"], "--out"),
        (["collect", "--episodes", "3", "--out"], "--out"),
        (["envs", "show", "two-room", "--out"], "--out"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_first(run, video, tmp_path, command, option, monkeypatch):
    monkeypatch.setattr("lewm.checkpoints.run.load_run", lambda *_: pytest.fail("the work has begun"))
    monkeypatch.setattr(TwoRoomVectorEnv, "__init__", lambda *_: pytest.fail("the work has begun"))
    (tmp_path / "file").write_text("")
    words = [str(video) if word == "VIDEO" else word for word in command]
    of_run = [] if command[0] in ("collect", "envs") else ["--run", run]
    code, _, said = call(*words, tmp_path / "file" / "there.mp4", *of_run)
    assert code == 1
    assert f"{tmp_path / 'file'}: cannot be written to: Not a directory\nGive {option} " in said
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "folder.mp4" / "mine").write_text("mine")
    code, _, said = call(*words, tmp_path / "folder.mp4", *of_run)
    assert code == 1
    assert f"{tmp_path / 'folder.mp4'}: " in said
    assert f"Give {option} " in said
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder.mp4", "run"]


@pytest.mark.parametrize(
    ("command", "made"),
    [
        ([*PLAN, "--save-tasks"], "a/b.mp4"),
        (["surprise", "VIDEO", "--alpha", "0.1", "--out-video"], "a/b.mp4"),
        (["report", "--out"], "a/b.mp4/index.html"),
    ],
)
def test_folders_of_outputs_are_made(run, video, tmp_path, command, made):
    words = [str(video) if word == "VIDEO" else word for word in command]
    code, _, said = call(*words, tmp_path / "new" / "a" / "b.mp4", "--run", run)
    assert code == 0, said
    assert (tmp_path / "new" / made).is_file()


@pytest.mark.parametrize("kind", [*COMMANDS, "train-head", "train-policy"])
@pytest.mark.parametrize("wrong", ["run", "video", "option"])
def test_an_early_error_stands_alone(run, video, tmp_path, kind, wrong):
    """No empty bar is shown before it, and no empty line."""
    words = {"run": ["--run", tmp_path / "nowhere"], "option": ["--run", run, "--device", "quantum"]}.get(wrong)
    words = [*COMMANDS.get(kind, [kind]), *(words or ["--run", run])]
    if wrong == "video" and kind != "surprise":
        words += ["--data", tmp_path / "nowhere.h5"] if kind != "suite" else ["--calibrate", tmp_path / "nowhere.h5"]
    video = tmp_path / "nowhere.mp4" if wrong == "video" else video
    result = CliRunner().invoke(app, [str(video if word == "VIDEO" else word) for word in words])
    assert result.exception is not None
    assert not result.output, result.output


@pytest.mark.parametrize("kind", ["plan", "surprise", "decode", "suite"])
def test_an_encoder_that_is_missing_is_found_first(run, video, tmp_path, kind, monkeypatch):
    more = {"plan": ["--video", "mp4"], "surprise": ["--out-video", str(tmp_path / "a.mp4")]}.get(kind, [])
    monkeypatch.setattr("av.codecs_available", set())
    monkeypatch.setattr("lewm.checkpoints.run.load_run", lambda *_: pytest.fail("the work has begun"))
    code, _, said = call(*command_of(kind, run, video), *more)
    assert code == 1
    assert said.startswith("writing .mp4 needs the encoder libx264")
    assert not list(run.glob(f"{kind}-*"))


def test_the_result_of_a_training_is_shown_before_its_picture_is_drawn(run, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("lewm.training.plot.plot_training", full)
    code, shown, said = call("train", "--resume", "--out", run, "--json")
    assert code == 1
    assert json.loads(shown)["steps"] == 5
    assert "No space left on device" in said


def test_collections_begun_at_once_get_files_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    collect = ["collect", "--episodes", "2", "--frame-size", "16", "--workers", "0"]
    with claimed(tmp_path / "datasets" / "two-room.h5"):  # another program has not finished an episode yet
        assert call(*collect)[0] == 0
    assert call(*collect)[0] == 0
    assert {one.name for one in (tmp_path / "datasets").iterdir()} == {"two-room.h5", "two-room-2.h5"}


def test_two_reports_are_compared_task_by_task(run, tmp_path):
    saved = tmp_path / "tasks.json"
    assert call(*PLAN, "--run", run, "--goal-offset", "9", "--budget", "12", "--save-tasks", saved)[0] == 0
    assert call(*PLAN[:1], *PLAN[3:], "--run", run, "--tasks", saved, "--seed", "5")[0] == 0
    first, second = (read_report(path) for path in sorted(run.glob("plan-*.json"), key=lambda one: one.stat().st_mtime))
    assert first["tasks_sha256"] == second["tasks_sha256"]
    tasks = json.loads(saved.read_text())["tasks"]
    for number, (one, other) in enumerate(zip(first["tasks"], second["tasks"], strict=True)):
        for key in ("number", "episode", "step", "seed"):
            assert one[key] == other[key]
        assert (one["number"], one["episode"], one["step"]) == (number, tasks[number]["episode"], tasks[number]["step"])
        for outcome in (one["planner"], one["random"], other["planner"], other["random"]):
            assert outcome["latent_distance"] is None
            assert outcome["solved"] or outcome["steps"] == 12
            assert 0 < outcome["steps"] <= 12
    for report in (first, second):
        assert sum(one["planner"]["solved"] for one in report["tasks"]) == report["successes"]
        assert sum(one["random"]["solved"] for one in report["tasks"]) == report["random"]["successes"]
