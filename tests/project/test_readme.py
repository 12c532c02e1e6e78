"""Every command, example and table of the pages is real."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

from lewm.probing import probes
from lewm_cli.main import app
from lewm_data.envs.overview import is_installed
from lewm_data.envs.registry import WORLDS
from lewm_data.store import Dataset
from lewm_data.video_writer import write_video

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    lewm (.*?)(?:  #.*)?$", README, re.MULTILINE)
ENVIRONMENT, RECORDINGS, LIBRARY = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SMALL = ["--set", "model.frame_size=16", "--set", "model.encoder.channels=[4, 8]"]


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)


def test_the_first_screen_has_the_two_commands_and_the_picture():
    first = README[: README.index("## ")]
    assert "make quickstart" in first
    assert "make test" in first
    picture = re.search(r"!\[.*?\]\((.*?)\)", first)
    assert picture is not None
    assert (ROOT / picture[1]).is_file()


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line):
    group = typer.main.get_command(app)
    name, *arguments = shlex.split(line)
    command = group.commands[name]
    command.make_context(name, arguments)


def test_all_commands_are_shown_and_none_that_is_not_there():
    names = set(typer.main.get_command(app).commands)
    assert {line.split()[0] for line in COMMANDS} == names


def test_make_targets_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+)", README)) <= set(targets)


def test_links_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md", "kernels/README.md", "data/README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert link.startswith("https://") or (ROOT / page).parent.joinpath(link).exists(), (page, link)


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    call("collect", "--episodes", "8", "--frame-size", "16")
    call("train", "--steps", "2", "--batch-size", "8", *SMALL)
    names: dict = {}
    exec(compile(LIBRARY, "README.md", "exec"), names)
    assert names["cost"].shape == (1, 300)
    assert names["cost"].std() > 0


def test_the_environment_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_worlds.py").write_text(ENVIRONMENT)
    commands = [line for line in COMMANDS if "my_worlds:" in line]
    assert [line.split()[0] for line in commands] == ["envs", "collect", "train", "plan"]
    for line in commands[:2]:
        call(*shlex.split(line), "--episodes", "4", "--frame-size", "16")
    assert (tmp_path / "ice.png").is_file()
    with h5py.File(tmp_path / "datasets" / "my_worlds-Ice-v0.h5") as file:
        assert file["observation.place"].shape == file["observation.velocity"].shape == (4 * 101, 2)
        assert abs(file["observation.place"][:]).max() <= 0.9
        assert len(set(file["episode_seed"][:])) == 4
    call(*shlex.split(commands[2]), "--steps", "2", "--batch-size", "8", *SMALL, "--set", "training.held_out=0.5")
    planner = ["--episodes", "2", "--samples", "4", "--elites", "2", "--iterations", "1", "--horizon", "1"]
    call(*shlex.split(commands[3]), *planner)


def test_recordings_of_ones_own_go_through_every_command_that_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(8,), steps=20, validate_every=10))
    exec(compile(RECORDINGS, "README.md", "exec"), {})
    section = README[README.index("## Your own recordings") : README.index("## Training on your own terms")]
    commands = re.findall(r"^    lewm (.*)$", section, re.MULTILINE)
    assert [line.split()[0] for line in commands] == ["train", "probe", "surprise", "decode", "report"]
    quick = {"train": ["--steps", "2", "--batch-size", "8", *SMALL], "decode": ["--steps", "2"]}
    for line in commands:
        name, *arguments = shlex.split(line)
        call(name, *arguments, *quick.get(name, []))
    assert (tmp_path / "runs" / "my-arm-small" / "report" / "index.html").is_file()


# Each command as README prints it, with these after it: of an option that is given twice, the last counts.
SMALLER = {
    "collect": ["--episodes", "40", "--frame-size", "16"],
    "train": ["--steps", "3", "--batch-size", "8", *SMALL, "--set", "training.held_out=0.5"],
    "plan": ["--samples", "8", "--elites", "2", "--iterations", "1"],
    "decode": ["--steps", "3"],
    "envs show": ["--episodes", "1", "--frame-size", "16"],
    "surprise --suite": ["--episodes", "2"],
}

POLICY = """
from lewm_data.policies import SmoothPolicy

def make(env, noise):
    return SmoothPolicy(env)
"""


def smaller(line):
    """What is added to a command, so that the test is quick; None where what the command needs is not installed."""
    name, *rest = words = shlex.split(line)
    world = WORLDS.get(rest[rest.index("--env") + 1]) if "--env" in rest else WORLDS.get(rest[-1] if rest else "")
    if world is not None and world.extra is not None and not is_installed(world.extra):
        return None
    if "--resume" in rest:  # goes on with what the run has
        return []
    more = [word for start, added in SMALLER.items() if words[: len(start.split())] == start.split() for word in added]
    if name == "collect" and world is not None and world.workers:
        more += ["--episodes", "1"]
    if name == "plan" and "tasks.json" not in rest[rest.index("--tasks") :] if "--tasks" in rest else name == "plan":
        more += ["--episodes", "2"]
    return more


def what_a_reader_has(folder):
    """The files that README calls the reader's own."""
    call("collect", "--episodes", "1", "--frame-size", "16", "--out", str(folder / "mine.h5"))
    with Dataset.open(folder / "mine.h5") as dataset:
        episode = dataset.episode(0)
    write_video(folder / "video.mp4", episode["pixels"], 10.0)
    np.savetxt(folder / "actions.csv", episode["action"][:-1], delimiter=",")
    Image.fromarray(episode["pixels"][-1]).save(folder / "goal.png")
    (folder / "my_worlds.py").write_text(ENVIRONMENT)
    exec(compile(RECORDINGS, "README.md", "exec"), {})  # writes the recordings into the present folder
    (folder / "my_package").mkdir()
    (folder / "my_package" / "my_module.py").write_text(POLICY)


def test_the_commands_run_in_the_order_in_which_they_stand(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    what_a_reader_has(tmp_path)
    for line in COMMANDS:
        more = smaller(line)
        if more is not None:
            result = CliRunner().invoke(app, [*shlex.split(line), *more])
            assert result.exit_code == 0, (line, result.output, result.exception)
    for made in ("annotated.mp4", "clean.h5", "reacher.png", "tasks.json", "runs/mine", "mine/index.html"):
        assert (tmp_path / made).exists() or not is_installed("mujoco"), made


def test_the_next_command_after_make_quickstart_is_as_the_page_prints_it(tmp_path):
    """What the target prints at its end, typed into a shell, gives the program and the home that quickstart had."""
    virtual = tmp_path / "an environment"
    venv.create(virtual, with_pip=False, symlinks=True)
    planned = subprocess.run(
        ["make", "--dry-run", "quickstart", f"VENV={virtual}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    end = [line for line in planned if line.startswith("echo ")]
    assert planned[-len(end) :] == end, "they are the last that is seen"
    shown = subprocess.run(["bash", "-c", "\n".join(end)], capture_output=True, text=True, check=True).stdout
    typed = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
    script = "\n".join([*typed, 'echo "$VIRTUAL_ENV"', 'echo "$LEWM_HOME"'])
    environment = {name: value for name, value in os.environ.items() if name != "LEWM_HOME"}
    found = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, env=environment).stdout
    assert found.splitlines() == [str(virtual), str(ROOT / ".lewm" / "quickstart")]
    page = re.findall(r"^    ((?:source|export) .*)$", README, re.MULTILINE)
    assert [line.replace("$PWD", str(ROOT)).replace(".venv", str(virtual)) for line in page] == typed
    assert README.index(page[-1]) < README.index("    lewm collect"), "before the first command"


def test_tables_are_those_of_the_committed_results(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = tables
    spec.loader.exec_module(tables)
    for page in tables.PAGES:
        text = (ROOT / page).read_text()
        assert tables.filled(page, text) == text, f"run python benchmarks/tables.py: {page} is out of date"
