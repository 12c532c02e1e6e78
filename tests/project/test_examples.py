"""examples/extend_*.py: each adds a kind without a change of the project, and works from the command line."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("extend_*.py"))
SMALL = ("--steps", "4", "--batch-size", "8", "--set", "training.evaluate_every=4")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    lewm(home, "collect", "--episodes", "24", "--frame-size", "64")
    lewm(home, "train", *SMALL, "--out", home / "runs" / "plain")
    return home


def lewm(home, *words, example=None):
    """What the command shows, from a process of its own, as kinds stay in the tables of a process."""
    before = ("--import", ROOT / "examples" / example) if example else ()
    path = os.pathsep.join(str(place) for place in (ROOT, ROOT / "kernels", ROOT / "data"))
    done = subprocess.run(
        [sys.executable, "-m", "lewm_cli", *map(str, (*before, *words))],
        env={**os.environ, "LEWM_HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plan(home, *words, example=None):
    asked = ("plan", "--run", home / "runs" / "plain", "--episodes", "3", "--iterations", "2", "--samples", "40")
    return json.loads(lewm(home, *asked, *words, "--json", example=example))["planner"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_section_a_class_or_function_and_a_line(example):
    body = ast.parse(example.read_text()).body
    assert sum(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in body) == 2
    lines = [node for node in body if isinstance(node, ast.Assign)]
    assert [type(line.targets[0]) for line in lines] == [ast.Subscript]


def test_the_planner(home):
    used = plan(home, "--planner", "shooting", example="extend_planner.py")
    assert used["planner"] == {"kind": "shooting", "samples": 40, "iterations": 2}


def test_the_cost(home):
    save_file({"map": torch.eye(64)[:8].contiguous()}, home / "map.safetensors")
    used = plan(home, "--cost", "mapped", "--set", "cost.path=map.safetensors", example="extend_cost.py")
    assert used["cost"] == {"kind": "mapped", "path": "map.safetensors"}


def test_the_objective(home):
    run = home / "runs" / "inverse"
    objective = ("--set", "objective.kind=lewm-inverse", "--set", "objective.inverse=0.5")
    lewm(home, "train", *SMALL, *objective, "--out", run, example="extend_objective.py")
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    terms = line["terms"]
    assert line["loss"] == pytest.approx(
        terms["prediction"] + 0.09 * terms["sigreg"] + 0.5 * terms["inverse"], rel=1e-5
    )
    lewm(home, "train", "--resume", "--out", run, example="extend_objective.py")


def test_the_encoder(home):
    run = home / "runs" / "patches"
    encoder = ("--set", "model.encoder.kind=patches", "--set", "model.encoder.patch=16")
    lewm(home, "train", *SMALL, *encoder, "--out", run, example="extend_encoder.py")
    used = lewm(
        home, "plan", "--run", run, "--episodes", "3", "--iterations", "2", "--json", example="extend_encoder.py"
    )
    assert json.loads(used)["episodes"] == 3
