"""The command line as a user meets it: help, results, and what it says when something is wrong."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import h5py
import pytest
from typer.testing import CliRunner

from lewm_cli import output
from lewm_cli.main import app

TINY = [
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=16"),
    *("--set", "model.predictor.projector_hidden=16"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.predictor.width=8"),
    *("--set", "model.predictor.depth=1"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.log_every=1"),
    *("--set", "training.checkpoint_every=2"),
]
COLLECT = ["collect", "--episodes", "12", "--frame-size", "16"]
TRAIN = ["train", "--steps", "4", "--batch-size", "8", *TINY]
PLAN = ["plan", "--episodes", "6", "--samples", "16", "--elites", "4", "--iterations", "2"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def call(*arguments):
    """Run a command in this process; like `lewm`, but failures come back as (exit code, two lines)."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def test_collect_train_plan_with_no_path_at_all(home):
    code, shown = call(*COLLECT)
    assert code == 0, shown
    assert (home / "datasets" / "two-room.h5").is_file()
    code, shown = call(*TRAIN)
    assert code == 0, shown
    run = home / "runs" / "two-room-small"
    names = {file.name for file in run.iterdir()}
    tensors = {"model.safetensors", "training.safetensors", "training-previous.safetensors", "reference.safetensors"}
    assert names == {"config.json", "metrics.jsonl", "training.png", "embeddings.json", *tensors}
    code, shown = call(*PLAN, "--horizon", "3", "--video", "mp4")
    assert code == 0, shown
    assert "random actions" in shown
    report = next(run.glob("plan-*.json"))
    assert json.loads(report.read_text())["planner"]["horizon"] == 3
    assert len(list(report.with_suffix("").glob("*.mp4"))) == 6


def test_json_goes_to_stdout_and_everything_else_to_stderr(home):
    for command in (COLLECT, TRAIN, PLAN):
        shown = subprocess.run(
            [sys.executable, "-c", "from lewm_cli.main import main; main()", *command, "--json"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "LEWM_HOME": str(home)},
        )
        assert isinstance(json.loads(shown.stdout), dict)


def test_collect_appends_overwrites_and_refuses(home):
    assert call(*COLLECT)[0] == 0
    assert call(*COLLECT)[0] == 0, "without --out the next free name is taken"
    assert sorted(file.name for file in (home / "datasets").iterdir()) == ["two-room-2.h5", "two-room.h5"]
    first = home / "datasets" / "two-room.h5"
    assert call("collect", "--episodes", "13", "--frame-size", "16", "--append")[0] == 0
    with h5py.File(home / "datasets" / "two-room-2.h5") as file:
        assert len(file["ep_len"]) == 13, "without --out the newest is continued"
    code, shown = call(*COLLECT, "--out", str(first))
    assert code == 1
    assert "--append" in shown
    more = ["collect", "--episodes", "15", "--frame-size", "16", "--out", str(first)]
    assert call(*more, "--append")[0] == 0
    with h5py.File(first) as file:
        assert len(file["ep_len"]) == 15
    assert call(*COLLECT, "--out", str(first), "--overwrite", "--policy", "random")[0] == 0
    with h5py.File(first) as file:
        assert len(file["ep_len"]) == 12
        assert file.attrs["policy"] == "random"


def test_collect_mixes_policies_varies_factors_and_takes_workers(home):
    options = ["--policy", "expert:0.7,random:0.3", "--noise", "0.5", "--repeat", "0.1", "--vary", "door.position"]
    for name, how in (("one.h5", ["--num-envs", "5"]), ("other.h5", ["--workers", "1"])):
        code, shown = call(*COLLECT, *options, *how, "--out", str(home / name))
        assert code == 0, shown
    assert (home / "one.h5").read_bytes() == (home / "other.h5").read_bytes()
    with h5py.File(home / "one.h5") as file:
        noted = {name: file.attrs[name] for name in ("policy", "noise", "repeat", "vary")}
        assert noted == {"policy": "expert:0.7,random:0.3", "noise": 0.5, "repeat": 0.1, "vary": "door.position"}
        assert set(file["policy"][:]) == {0, 1}
        assert len(set(file["factor.door.position"][:])) == 12
    assert call(*COLLECT, "--out", str(home / "usual.h5"))[0] == 0
    with h5py.File(home / "usual.h5") as file:
        assert {name: file.attrs[name] for name in noted} == {
            "policy": "expert", "noise": 2.0, "repeat": 0.05, "vary": ""
        }  # fmt: skip


def test_train_resumes_with_the_runs_own_settings(home):
    call(*COLLECT)
    call(*TRAIN)
    assert call("train", "--resume")[0] == 0
    code, shown = call("train", "--resume", "--seed", "3")
    assert code == 2
    assert "no other setting" in re.sub(r"\s+", " ", shown)


def test_killed_at_any_moment_and_resumed_training_ends_in_the_same_weights(home, tmp_path):
    """SIGKILL in the middle of steps, four times; tests/lewm/test_training_kills.py kills at each change of a file."""
    call(*COLLECT)
    command = [*TRAIN, "--steps", "60"]
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert call(*command, "--out", str(whole))[0] == 0
    metrics, moments = pieces / "metrics.jsonl", random.Random(0)
    for steps in (2, 17, 31, 44):
        resume = ["train", "--resume"] if (pieces / "config.json").exists() else command
        training = start(*resume, "--out", str(pieces), home=home)
        while training.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < steps):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        training.kill()
        training.communicate()
        assert training.returncode == -signal.SIGKILL
    assert call("train", "--resume", "--out", str(pieces))[0] == 0
    for name in ("model.safetensors", "training.safetensors"):
        assert (pieces / name).read_bytes() == (whole / name).read_bytes()
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(1, 61))


def test_options_override_the_file_which_overrides_the_recipe(home, tmp_path):
    call(*COLLECT)
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nseed = 5\nweight_decay = 0.5\n[objective]\nlambda = 0.7\n")
    code, shown = call(*TRAIN, "--config", str(file), "--set", "objective.lambda=0.6", "--lambda", "0.4")
    assert code == 0, shown
    config = json.loads((home / "runs" / "two-room-small" / "config.json").read_text())["config"]
    assert config["training"]["seed"] == 5
    assert config["training"]["weight_decay"] == 0.5
    assert config["objective"]["lambda"] == 0.4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["collect", "--env", "two-rooms"], ['unknown environment "two-rooms"', 'Did you mean "two-room"']),
        (["collect", "--policy", "exprt"], ["exprt", 'Did you mean "expert"']),
        (["collect", "--policy", "my_module:make"], ["my_module cannot be imported", "package.module:function"]),
        (["collect", "--vary", "agent.colour"], ["agent.colour", 'Did you mean "agent.color"']),
        (["train"], ["no dataset", "lewm collect"]),
        (["train", "--data", "missing.h5"], ["missing.h5"]),
        (["plan"], ["no run", "lewm train"]),
        (["plan", "--run", "missing"], ["missing: no such run"]),
    ],
)
def test_failures_are_two_lines_that_help(home, arguments, words):
    code, shown = call(*arguments)
    assert code == 1
    assert len(shown.splitlines()) == 2
    assert all(word in shown for word in words), shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--recipe", "smal"], ['unknown recipe "smal"', 'Did you mean "small"']),
        (["train", "--set", "training.stepz=3"], ["training.stepz", 'Did you mean "training.steps"']),
        (["train", "--set", "training.precision=half"], ["training.precision", "'fp32' or 'bf16'"]),
        (["train", "--precision", "fp16"], ["training.precision", "'fp32' or 'bf16'"]),
        (["train", "--device", "quantum"], ['device "quantum"', "--device auto"]),
        (["train", "--set", "model.action_dim=7"], ["2 dimensions, the configuration expects 7"]),
        (["train", "--set", "model.predictor.history=400"], ["no episode has the 2005 steps of a clip"]),
        (["train", "--batch-size", "100000"], ["not enough for a batch of 100000"]),
    ],
)
def test_wrong_settings_for_training_leave_nothing_behind(home, arguments, words):
    call(*COLLECT)
    code, shown = call(*arguments)
    assert code == 1
    assert len(shown.splitlines()) == 2
    assert all(word in shown for word in words), shown
    runs = home / "runs"
    assert not runs.exists() or not any(runs.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--steps", "3", "--epochs", "3"],
        ["train", "--set", "training.seed"],
        ["collect", "--append", "--overwrite"],
        ["collect", "--workers", "few"],
        ["collect", "--workers", "9" * 5000],
        ["collect", "--workers", "2", "--num-envs", "3"],
        ["collect", "--repeat", "1.5"],
        ["plan", "--batch", "many"],
        ["plan", "--batch", "0"],
        ["data"],
        ["plan", "--video", "avi"],
        ["plan", "--horizon", "0"],
        ["explode"],
    ],
)
def test_wrong_usage_exits_with_two(home, arguments):
    assert call(*arguments)[0] == 2


def test_plan_refuses_what_does_not_fit(home):
    call(*COLLECT)
    call(*TRAIN)
    for arguments, word in (
        (["--protocol", "held_out"], 'Did you mean "held-out"'),
        (["--elites", "17", "--samples", "16"], "elites 17 exceeds samples 16"),
        (["--precision", "fp16"], "'fp32', 'tf32' or 'bf16', got 'fp16'"),
        (["--precision", "tf32", "--device", "cpu"], "Use --precision fp32 or bf16"),
        (["--episodes", "5000"], "5000 asked for"),
    ):
        code, shown = call("plan", *arguments)
        assert code == 1
        assert word in shown


def test_plan_says_in_which_precision(home):
    call(*COLLECT)
    call(*TRAIN)
    code, shown = call(*PLAN, "--precision", "bf16", "--device", "cpu")
    assert code == 0, shown
    assert "s a plan in bf16, as set" in re.sub(r"\s+", " ", shown)
    report = next((home / "runs" / "two-room-small").glob("plan-*.json"))
    assert json.loads(report.read_text())["planner"]["precision"] == "bf16"
    _, shown = call(*PLAN, "--device", "cpu")
    assert "s a plan in fp32, chosen by default on cpu" in re.sub(r"\s+", " ", shown)
    assert "to compile kernels" not in shown


def start(*arguments, home):
    code = "from lewm_cli.main import main; main()"
    environment = {**os.environ, "LEWM_HOME": str(home)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL, env=environment)


def real(*arguments, home, **extra):
    return subprocess.run(
        [sys.executable, "-c", "from lewm_cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "LEWM_HOME": str(home), **extra},
    )


def test_the_program_itself_fails_with_two_lines_and_shows_a_traceback_only_on_request(home):
    failed = real("plan", home=home)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert len(failed.stderr.splitlines()) == 2
    assert "Traceback" not in failed.stderr
    assert "Traceback" in real("plan", home=home, LEWM_DEBUG="1").stderr


def test_no_space_left_is_said_and_keeps_the_finished_episodes(home, tmp_path):
    """A limit on the size of files stands for a full disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000)); "
        "from lewm_cli.main import main; sys.argv = ['lewm', *sys.argv[1:]]; main()"
    )
    command = ["collect", "--episodes", "60", "--frame-size", "32", "--out", str(tmp_path / "full.h5")]
    failed = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "LEWM_HOME": str(home)},
    )
    assert failed.returncode == 1
    last_two = failed.stderr.splitlines()[-2:]
    assert "full.h5" in last_two[0]
    with h5py.File(tmp_path / "full.h5") as file:
        kept = len(file["ep_len"])
    assert 0 < kept < 60
    assert real(*command, "--append", home=home).returncode == 0
    with h5py.File(tmp_path / "full.h5") as file:
        assert len(file["ep_len"]) == 60


def test_help_of_every_command_names_its_options():
    shown = CliRunner().invoke(app, ["--help"]).output
    for command in ("collect", "train", "plan", "decode", "probe", "surprise"):
        assert command in shown
        page = CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, "--help"]).output
        assert "--seed" in page
        assert "--json" in page


def test_explains_unexpected_errors_without_hiding_them():
    problem, remedy = output.explain(KeyError("oops"))
    assert "KeyError" in problem
    assert "LEWM_DEBUG" in remedy
    problem, remedy = output.explain(OSError(28, "No space left on device", "/data/x.h5"))
    assert problem == "/data/x.h5: No space left on device"
    assert "Make room" in remedy
