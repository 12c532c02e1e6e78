"""`lewm report` as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lewm import recipes
from lewm.checkpoints.run import DatasetIdentity, write_config
from lewm_cli.main import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    run = tmp_path / "runs" / "room[red]"  # would be a colour to rich
    write_config(
        run, recipes.small("two-room", 2), DatasetIdentity("/data/rooms.h5", "ef" * 32, (64, 64), 20, "two-room")
    )
    return run


def call(*arguments):
    return CliRunner().invoke(app, ["report", *arguments])


def test_it_prints_where_the_page_is_and_nothing_else_on_stdout(run):
    result = call()
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'report' / 'index.html'}\n"
    assert "newest run: " in result.stderr
    assert Path(result.stdout.strip()).is_file()


def test_json_names_the_page_and_its_sections(run, tmp_path):
    result = call("--run", str(run), "--out", str(tmp_path / "page"), "--json")
    assert json.loads(result.stdout) == {"page": str(tmp_path / "page" / "index.html"), "sections": ["model"]}
    assert result.stderr == ""


def test_a_folder_of_other_things_is_refused(run, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "thesis.txt").write_text("years of work")
    result = call("--out", str(tmp_path / "page"))
    assert result.exit_code != 0
    assert "holds thesis.txt" in str(result.exception)
