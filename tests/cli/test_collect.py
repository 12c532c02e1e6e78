"""`lewm collect` interrupted by Ctrl-C, and the names that it gives to files."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from lewm.files import file_name, newest_dataset
from lewm_cli import output
from lewm_cli.main import app, main

SMALL = ["--frame-size", "16"]
TRAIN = ["train", "--steps", "1", "--batch-size", "2", "--set", "training.held_out=0.5"]
TINY = ["--set", "model.frame_size=16", "--set", "model.encoder.channels=[4]", "--set", "model.predictor.history=1"]


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def interrupted(*arguments, once):
    """Presses Ctrl-C in a `lewm collect` once something is true; its last two lines."""
    child = subprocess.Popen(
        [sys.executable, "-c", "from lewm_cli.main import main; main()", "collect", *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not once():
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGINT)  # a terminal sends it to every process of the command
    shown, errors = child.communicate()
    assert child.returncode == 130
    assert shown == ""
    assert "Traceback" not in errors
    return errors.splitlines()[-2:]


def episodes_in(path):
    with h5py.File(path) as file:
        return len(file["ep_len"])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path, workers):
    path = tmp_path / "my rooms.h5"
    first, second = interrupted("--episodes", "100000", "--workers", workers, "--out", str(path), once=path.exists)
    kept = episodes_in(path)
    assert first == f"error: interrupted: {kept} of 100000 episodes are in {path}"
    program, *command = shlex.split(second.removeprefix("To go on: "))
    assert program == "lewm"
    command[command.index("100000")] = str(kept + 2)
    call(*command)
    assert episodes_in(path) == kept + 2


def test_ctrl_c_before_the_first_episode_keeps_the_file_that_was_to_be_replaced(home, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "from lewm_data.policies import RandomPolicy\n"
        "class Slow(RandomPolicy):\n"
        "    def act(self, observation):\n"
        "        pathlib.Path('acting').touch()\n"
        "        time.sleep(60)\n"
        "def make(env, noise):\n"
        "    return Slow(env)\n"
    )
    path = tmp_path / "rooms.h5"
    call("collect", *SMALL, "--episodes", "2", "--out", str(path))
    before = path.read_bytes()
    slow = ["--policy", "slow:make", "--overwrite", "--out", str(path)]
    lines = interrupted(*slow, once=(tmp_path / "acting").exists)
    assert lines == [
        "error: interrupted before an episode was finished: nothing new is kept",
        "Give the same command again.",
    ]
    assert path.read_bytes() == before


def test_a_command_without_words_of_its_own_is_interrupted_in_two_lines(monkeypatch, capfd):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lewm_data.envs.overview.overview", press)
    monkeypatch.setattr(sys, "argv", ["lewm", "envs"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert output.explain(KeyboardInterrupt())[0] == "interrupted"
    assert "error: interrupted\n" in capfd.readouterr().err


def test_names_of_environments_become_names_of_files(home, monkeypatch):
    assert file_name("ALE/Pong-v5") == "ALE-Pong-v5"
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data" / "envs"))
    env = "gymnasium_package:Lane-v0"
    for _ in range(2):
        call("collect", "--env", env, *SMALL, "--episodes", "2", "--workers", "0")
    name = "gymnasium_package-Lane-v0"
    assert {file.name for file in (home / "datasets").iterdir()} == {f"{name}.h5", f"{name}-2.h5"}
    call("collect", "--env", env, *SMALL, "--episodes", "3", "--workers", "0", "--append")
    assert episodes_in(home / "datasets" / f"{name}-2.h5") == 3
    with h5py.File(home / "datasets" / f"{name}.h5") as file:
        assert file.attrs["env"] == env
    call(*TRAIN, *TINY)
    config = json.loads((home / "runs" / f"{name}-small" / "config.json").read_text())["config"]
    assert config["env"] == env
    assert call("envs", "show", env, "--episodes", "1", "--frame-size", "16").strip() == f"{name}.png"
    assert Path(f"{name}.png").is_file()


def test_the_newest_dataset_of_an_environment_is_not_one_of_another(home):
    folder = home / "datasets"
    folder.mkdir(parents=True)
    for age, name in enumerate(["cube.h5", "cube-2.h5", "cube-mine.h5", "cube-v1.h5", "cubes.h5"]):
        (folder / name).touch()
        os.utime(folder / name, (age, age))
    assert newest_dataset("cube").name == "cube-2.h5"
    assert newest_dataset().name == "cubes.h5"
