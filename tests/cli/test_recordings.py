"""Anybody's data: recordings of a world that lewm has no simulator of, by every command."""

import json
import re
import sys
from dataclasses import replace

import gymnasium
import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from lewm.probing import probes
from lewm_cli import output
from lewm_cli.main import app
from lewm_cli.train import _configure
from lewm_data.envs.registry import world
from lewm_data.video.video_writer import write_video

SMALL = [
    *("--steps", "2", "--batch-size", "4"),
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=16"),
    *("--set", "model.predictor.projector_hidden=16"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.encoder.width=16"),
    *("--set", "model.predictor.width=8"),
    *("--set", "model.predictor.depth=1"),
    *("--set", "model.action_embedder.hidden=8"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.held_out=0.5"),
]
EPISODES, LENGTH = 12, 24


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def record(path, numbers=2, state=2, **attributes):
    """A recording like that of a robot: a dot that is pushed about, with its positions."""
    rng = np.random.default_rng(0)
    rows = EPISODES * LENGTH
    actions = rng.uniform(-1, 1, (EPISODES, LENGTH, numbers)).astype(np.float32)
    at = np.clip(7 + 0.7 * actions[..., :2].cumsum(axis=1), 0, 13).reshape(rows, -1)
    actions[:, -1] = np.nan
    pixels = np.full((rows, 16, 16, 3), 255, np.uint8)
    for frame, (x, y) in zip(pixels, at.astype(int), strict=True):
        frame[y : y + 3, x : x + 3] = 200, 0, 0
    with h5py.File(path, "w") as file:
        file["pixels"], file["action"] = pixels, actions.reshape(rows, -1)
        file["state"] = np.tile(at, (1, state))[:, :state]
        file["ep_len"] = np.full(EPISODES, LENGTH)
        file["ep_offset"] = np.arange(EPISODES) * LENGTH
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(8,), steps=20, validate_every=10))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(data, *arguments):
    """The run of a training, and what was said."""
    code, shown = call("train", "--data", str(data), *SMALL, *arguments)
    assert code == 0, shown
    return shown


def test_every_command_that_needs_no_simulator_works_on_recordings(here, caplog):
    shown = trained(record(here / "arm.h5", env="my-arm"))
    run = here / "home" / "runs" / "my-arm-small"
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["env"] == config["dataset"]["env"] == "my-arm"
    for words in (
        '"my-arm" is no world that lewm knows: the data are taken as recordings, without a simulator',
        "encoder kind conv, channels (4, 8), width 16 (--set model.encoder.keypoints=32",
        "history 3 (--set model.predictor.history=1",
        "loss prediction + 0.09 · sigreg (--lambda)",
        "2 steps (--steps)",
    ):
        assert words in shown, words
    assert "the shortest paths of my-arm are not known: there is no curve of latent distance" in caplog.text
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["health"]["distance_correlation"] is None
    assert last["health"]["std_mean"] > 0
    assert (run / "training.png").stat().st_size > 10_000

    with h5py.File(here / "arm.h5") as file:
        write_video(here / "arm.mp4", file["pixels"][:LENGTH], 10.0)
    for command, words in (
        (["probe"], "state"),
        (["surprise", "arm.h5#3", "--alpha", "0.05"], "actions known"),
        (["surprise", "arm.mp4", "--alpha", "0.05"], "actions unknown"),
        (["decode", "--steps", "2"], "mean squared error"),
    ):
        code, shown = call(*command)
        assert code == 0, shown
        assert words in shown
    code, shown = call("report")
    assert code == 0, shown
    page = (run / "report" / "index.html").read_text()
    assert "my-arm" in page
    assert "lewm plan" not in page
    assert "--suite" not in page


def test_the_choices_of_the_small_recipe_can_be_changed(here):
    data = record(here / "arm.h5", env="my-arm")
    others = ["--set", "model.encoder.keypoints=4", "--set", "model.predictor.history=1", "--lambda", "0.02"]
    shown = trained(data, *others)
    for words in ("width 16, keypoints 4 (", "history 1 (", "prediction + 0.02 · sigreg ("):
        assert words in shown
    config = json.loads((here / "home" / "runs" / "my-arm-small" / "config.json").read_text())["config"]
    assert config["model"]["encoder"]["keypoints"] == 4
    assert config["model"]["predictor"]["history"] == 1
    assert config["objective"]["lambda"] == 0.02


def test_what_needs_a_simulator_says_so_in_two_lines(here):
    trained(record(here / "arm.h5", env="my-arm"))
    for command, remedy in (
        (["plan"], "Planning needs a simulator"),
        (["plan", "--env", "two-room"], "Planning needs a simulator"),
        (["plan", "--tasks", "from-env"], "Planning needs a simulator"),
        (["surprise", "--suite", "my-arm"], "The suite needs a simulator"),
        (["surprise", "--suite", "two-room"], "The suite needs a simulator"),
    ):
        code, shown = call(*command)
        assert code == 1, shown
        problem, what_to_do = shown.splitlines()[-2:]
        assert problem.endswith("trained on recordings of my-arm, of which lewm has no simulator")
        assert what_to_do.startswith(remedy)


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "recording"),
        ({"env": ""}, "recording"),
        ({"env": np.arange(3)}, "recording"),
        ({"env": 5}, "recording"),
        ({"env": h5py.Empty("f")}, "recording"),
        ({"env": np.bytes_(b"arm")}, "arm"),
        ({"env": np.bytes_(b"\xffarm")}, "arm"),
        ({"env": np.array([b"arm"])}, "arm"),
        ({"env": np.array(["arm"], h5py.string_dtype())}, "arm"),
        ({"env": np.array([b"arm", b"leg"])}, "recording"),
        ({"env": "\x1b[31marm\x1b[0m\n"}, "31marm-0m"),
        ({"env": "../up"}, "../up"),
        ({"env": "lewm/TwoRoom-v0"}, "two-room"),
    ],
)
def test_whatever_a_file_calls_its_world_is_a_plain_name(here, capsys, attributes, name):
    settings = _configure("small", record(here / "arm.h5", **attributes), None, None, {})
    assert settings.env == name
    assert "\x1b" not in capsys.readouterr().err


def test_data_of_an_odd_name_belong_to_their_run(here):
    trained(record(here / "arm.h5", env="\x1b[31marm\x1b[0m"))
    assert (here / "home" / "runs" / "31marm-0m-small").is_dir()
    code, shown = call("decode", "--steps", "2")
    assert code == 0, shown


def test_published_files_that_do_not_say_train_as_recordings_or_as_what_they_are_called(golden, here):
    data = golden / "official_layout.h5"
    assert "the data do not say of which world they are" in trained(data)
    assert (here / "home" / "runs" / "recording-small").is_dir()
    shown = trained(data, "--env", "two-room")
    assert "recordings" not in shown
    assert (here / "home" / "runs" / "two-room-small").is_dir()


@pytest.mark.parametrize("env", ["recording", "recordings"])
def test_data_may_be_called_as_those_that_have_no_name(here, env):
    shown = trained(record(here / "a.h5", env=env))
    assert "do not say of which world" not in shown
    assert f'"{env}" is no world that lewm knows' in shown


def test_a_slip_of_the_pen_is_pointed_out(here):
    shown = trained(record(here / "rooms.h5", env="two-room"), "--env", "two-rom")
    assert '"two-rom" is no world that lewm knows' in shown
    assert 'if "two-room" is meant, give --env two-room' in shown


def test_actions_that_are_not_the_worlds_are_refused_before_training(here):
    wide = record(here / "wide.h5", numbers=3, env="two-room")
    code, shown = call("train", "--data", str(wide), *SMALL)
    assert code == 1
    assert shown.splitlines()[-2:] == [
        f"{wide}: actions have 3 dimensions, those of two-room have 2",
        "Where the data are of another world, name it, or think of a name for it: --env my-robot.",
    ]
    assert not (here / "home" / "runs").exists()
    trained(wide, "--env", "my-robot")
    code, shown = call("decode", "--steps", "2")  # its own data still belong to it
    assert code == 0, shown


def test_states_that_are_not_the_worlds_leave_out_the_paths(here, caplog):
    trained(record(here / "rooms.h5", state=3, env="two-room"))
    assert "rooms.h5 is a state of two-room, which has 2 numbers" in caplog.text
    metrics = (here / "home" / "runs" / "two-room-small" / "metrics.jsonl").read_text()
    assert json.loads(metrics.splitlines()[-1])["health"]["curve"] == []


def test_data_of_another_name_are_refused(here):
    trained(record(here / "arm.h5", env="my-arm"))
    other = record(here / "other.h5", env="my-leg")
    for command in (["probe", "--data", str(other)], ["surprise", "arm.h5#0", "--calibrate", str(other)]):
        code, shown = call(*command)
        assert code == 1
        assert "other.h5: is of the world my-leg, the run was trained in my-arm" in shown
    more = record(here / "more.h5")  # it does not say: its owner has to know
    code, shown = call("probe", "--data", str(more), "--target", "x=state[0]")
    assert code == 0, shown


@pytest.fixture
def package(here, monkeypatch):
    """An id of a package beside the user, and what the package leaves where it is imported."""
    name, mark = f"package_{here.name}", here / "imported"
    (here / f"{name}.py").write_text(
        f"open({str(mark)!r}, 'a').close()\n"
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        f"gymnasium.register('{name}-v0', PendulumEnv, max_episode_steps=30)\n"
    )
    monkeypatch.syspath_prepend(str(here))
    yield f"{name}:{name}-v0", mark
    sys.modules.pop(name, None)
    gymnasium.registry.pop(f"{name}-v0", None)


def test_no_command_imports_a_package_that_a_file_names(here, package):
    name, mark = package
    shown = trained(record(here / "arm.h5", env=name), "--out", "run")
    assert f"--env {name} imports it and runs its code" in shown
    for command in (
        ["probe"],
        ["surprise", "arm.h5#0", "--alpha", "0.05"],
        ["decode", "--steps", "2"],
        ["report"],
        ["plan"],
        ["plan", "--env", "two-room"],
        ["surprise", "--suite", "two-room"],
    ):
        call(*command, "--run", "run")
        assert not mark.exists(), command
    assert call("train", "--resume", "--out", "run")[0] == 0
    assert not mark.exists()
    (here / "other.toml").write_text(f'env = "{name}"')
    for given in (["--config", "other.toml"], ["--set", f"env={name}"]):
        trained(record(here / "arm.h5", env="my-arm"), *given)
        assert not mark.exists()


def test_a_package_that_the_user_names_is_imported_to_train_and_to_plan(here, package, caplog):
    name, mark = package
    collect = ["collect", "--env", name, "--episodes", "8", "--frame-size", "16", "--workers", "0", "--out", "c.h5"]
    assert call(*collect)[0] == 0
    shown = trained("c.h5", "--env", name, "--out", "run")
    assert mark.exists()
    assert "recordings" not in shown
    assert "no curve" not in caplog.text
    module, _, registered = name.partition(":")
    del sys.modules[module], gymnasium.registry[registered]  # from here on as in a new process
    world.cache_clear()
    mark.unlink()
    planner = ["--run", "run", "--samples", "4", "--elites", "2", "--iterations", "1", "--horizon", "1"]
    planner += ["--episodes", "1", "--goal-offset", "5", "--budget", "5"]
    code, shown = call("plan", *planner)
    assert code == 1
    assert shown.splitlines()[-1] == f"Give --env {name}, which imports {module} and runs its code."
    assert not mark.exists()
    code, shown = call("plan", *planner, "--env", name)
    assert code == 0, shown
    assert mark.exists()
    code, shown = call("plan", *planner, "--env", "two-room")
    assert code == 1
    assert f"a run of {name}, not of two-room" in shown


@pytest.mark.parametrize(
    ("command", "words"),
    [
        *((command, "imports that package and runs its code") for command in ("collect", "train", "plan", "surprise")),
        ("envs show", "imports that package and runs its code"),
        ("collect", "package.module:function imports and runs the module"),
    ],
)
def test_the_options_that_import_say_so(command, words):
    _, shown = call(*command.split(), "--help")
    assert words in re.sub(r"[│\s]+", " ", shown)
