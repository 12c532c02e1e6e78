"""Every world from data to plans, at sizes that only show that it works."""

import json

import h5py
import pytest
from typer.testing import CliRunner

from lewm import recipes
from lewm_cli.main import app
from lewm_data.envs.mujoco.headless import choose_renderer
from lewm_data.envs.overview import is_installed
from lewm_data.envs.registry import WORLDS, world
from lewm_data.errors import DataError

TINY = [
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=16"),
    *("--set", "model.predictor.projector_hidden=16"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.predictor.width=8"),
    *("--set", "model.predictor.depth=1"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.held_out=0.5"),
]


def tiny(name):
    """Options of a small training. A recipe with stages is small in each of its own parts; what stages join stays."""
    stages = recipes.small(name, 2).stages
    if not stages:
        return TINY
    return [
        *("--set", "model.frame_size=16"),
        *("--set", "training.held_out=0.5"),
        *(word for stage in stages for word in ("--set", f"stages.{stage}.steps=2")),
    ]


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.parametrize("name", sorted(set(WORLDS) - {"two-room"}))  # tests/cli/test_commands.py tests that one
def test_collect_train_and_plan(name, tmp_path, monkeypatch):
    place = world(name)
    if not is_installed(place.extra):
        pytest.skip(f'needs pip install -e ".[{place.extra}]"')
    if place.extra == "mujoco":
        try:
            choose_renderer()
        except DataError as error:
            pytest.skip(str(error))
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    mixed = ["--policy", "expert:0.5,smooth:0.5", "--vary", "all", "--workers", "1"]
    call("collect", "--env", name, "--episodes", "2", "--frame-size", "16", *mixed)
    with h5py.File(tmp_path / "datasets" / f"{name}.h5") as file:
        assert file.attrs["env"] == name
        assert {f"factor.{factor}" for factor in place.factors} <= set(file)
        assert file["action"].shape[1] == place.action_dim
        assert file["state"].shape[1] == place.state_dim
    call("train", "--steps", "2", "--batch-size", "4", *tiny(name))
    planner = ["--samples", "8", "--elites", "4", "--iterations", "1", "--horizon", "2"]
    shown = call("plan", "--episodes", "2", "--protocol", "paper", "--budget", "20", *planner, "--json")
    report = json.loads(shown)
    assert report["episodes"] == 2
    config = json.loads((tmp_path / "runs" / f"{name}-small" / "config.json").read_text())["config"]
    assert config["model"]["action_dim"] == place.action_dim
    assert config["model"]["predictor"]["history"] == 3
