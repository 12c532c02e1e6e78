"""Policies of every kind learn on the latents of a model of patches, and act alike in batches of any size."""

import pytest
import torch
from typer.testing import CliRunner

from lewm.config import resolve
from lewm.heads.files import own_policy
from lewm.heads.policies import POLICIES
from lewm.opened_run import open_run
from lewm.report_files import read_report
from lewm.training.loop import train
from lewm_cli.main import app
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

PATCHES = 4
PREDICTOR = {"kind": "patches", "patches": PATCHES, "action_width": 2, "depth": 2, "heads": 3, "head_dim": 5, "mlp": 16}
CHANGES = {
    "model.latent": 3 * PATCHES,
    "model.predictor": PREDICTOR,
    "model.action_embedder": {"bottleneck": 2, "hidden": None},
    "training.steps": 2,
    "training.held_out": 0.5,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("patches")
    collect(world("two-room"), folder / "data.h5", 8, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=8)
    train(resolve(tiny, None, CHANGES), folder / "data.h5", folder / "run", torch.device("cpu"))
    return folder / "run"


def call(*words):
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_on_patches_acts_alike_in_batches_of_any_size(run, kind):
    call("train-policy", "--kind", kind, "--run", str(run), "--steps", "5")
    assert own_policy(open_run(run), kind).patches == PATCHES
    tasks = ["--episodes", "3", "--goal-offset", "15", "--budget", "20", "--execute", "2"]
    before = set(run.glob("plan-*.json"))
    for batch in ("1", "3"):
        call("plan", "--run", str(run), "--agent", kind, *tasks, "--batch", batch)
    one, other = map(read_report, set(run.glob("plan-*.json")) - before)
    assert one["tasks"] == other["tasks"]
    assert {one["planner"]["batch"], other["planner"]["batch"]} == {1, 3}
