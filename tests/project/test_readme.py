"""Every command, example and table of the pages is real."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import h5py
import pytest
import typer.main
from typer.testing import CliRunner

from lewm_cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    lewm (.*?)(?:  #.*)?$", README, re.MULTILINE)
OF_CLEAR = re.findall(r"^    lewm (.*)$", (ROOT / "docs" / "clear.md").read_text(), re.MULTILINE)
ENVIRONMENT, _, LIBRARY = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
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


@pytest.mark.parametrize("line", COMMANDS + OF_CLEAR)
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
    pages = (
        "README.md",
        "CONTRIBUTING.md",
        "kernels/README.md",
        "data/README.md",
        "docs/checkpoints.md",
        "docs/clear.md",
    )
    for page in pages:
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
