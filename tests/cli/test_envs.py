"""`lewm envs`: the list, and the picture."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from lewm_cli import output
from lewm_cli.main import app
from lewm_data.envs.overview import overview
from lewm_data.envs.registry import WORLDS


def call(*arguments, columns=160):
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["envs", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def test_every_environment_is_listed():
    code, shown = call()
    assert code == 0, shown
    for name in WORLDS:
        assert name in shown
    assert "expert, random, smooth" in shown
    assert "door.position" in shown


@pytest.mark.parametrize("columns", [72, 80, 100, 200])
def test_the_list_breaks_lines_between_words(columns):
    _, shown = call(columns=columns)
    lines = shown.splitlines()
    assert max(len(line) for line in lines if not line.startswith("actions and states")) <= columns
    words = {word.strip(",") for line in lines for word in line.split()}
    for one in overview():
        assert {one.name, *one.about.split(), *one.policies, *one.factors} <= words


def test_the_list_says_what_has_to_be_installed(monkeypatch):
    monkeypatch.setattr("lewm_data.envs.overview.is_installed", lambda extra: extra != "mujoco")
    _, shown = call()
    assert shown.count('needs pip install -e ".[mujoco]"') == 2
    assert ".[push-t]" not in shown


def test_the_list_for_programs():
    code, shown = call("--json")
    assert code == 0
    found = {one["name"]: one for one in json.loads(shown)["environments"]}
    assert list(found) == list(WORLDS)
    rooms = found["two-room"]
    assert (rooms["action_dim"], rooms["state_dim"], rooms["expert"], rooms["extra"]) == (2, 2, True, None)
    assert rooms["gymnasium_id"] == "lewm/TwoRoom-v0"
    assert found["push-t"]["extra"] == "push-t"


def test_a_picture_is_drawn_where_it_is_asked_for(tmp_path):
    out = tmp_path / "grid.png"
    code, shown = call("show", "two-room", "--out", str(out), "--vary", "all", "--episodes", "1", "--frame-size", "16")
    assert code == 0, shown
    assert shown.strip() == str(out)
    with Image.open(out) as picture:
        assert picture.size[0] > 900


def test_wrong_names_are_met_with_the_nearest(tmp_path):
    for arguments, word in ((["two-rom"], "two-room"), (["two-room", "--vary", "wall.colour"], "wall.color")):
        code, shown = call("show", *arguments, "--out", str(tmp_path / "a.png"))
        assert code == 1
        assert f'Did you mean "{word}"' in shown
