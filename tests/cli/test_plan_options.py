"""Options of `lewm plan` reach the report, and wrong ones are answered in two lines that say what can be set."""

import json
from typing import Literal

import pytest
import torch
from typer.testing import CliRunner

from lewm.config import Planner, Planning, resolve
from lewm.planning.costs.head import Head, save_head
from lewm.training.loop import train
from lewm_cli import output
from lewm_cli.main import app
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

FEW = ["--episodes", "2", "--goal-offset", "5", "--budget", "10"]


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    home = tmp_path_factory.mktemp("rooms")
    collect(world("two-room"), home / "data.h5", 8, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=8)
    shrunk = {"training.steps": 2, "training.held_out": 0.5, "model.predictor.history": 3, "planning.horizon": 3}
    shrunk |= {"planning.planner.samples": 8, "planning.planner.elites": 4, "planning.planner.iterations": 1}
    train(resolve(tiny, None, shrunk), home / "data.h5", home / "run", torch.device("cpu"))
    return home / "run"


def call(run, *arguments):
    result = CliRunner().invoke(app, ["plan", "--run", str(run), *FEW, *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def planner_of(run, *arguments):
    """The report's section on the planner."""
    known = set(run.glob("plan-*.json"))
    code, shown = call(run, *arguments)
    assert code == 0, shown
    (path,) = set(run.glob("plan-*.json")) - known
    return json.loads(path.read_text())["planner"]


def refused(run, *arguments):
    """The two lines that are shown."""
    known = set(run.glob("plan-*.json"))
    code, shown = call(run, *arguments)
    assert code == 1, shown
    assert set(run.glob("plan-*.json")) == known
    problem, remedy = shown.splitlines()
    return problem, remedy


def test_every_option_reaches_the_report(run):
    named = planner_of(
        run,
        *("--planner", "cem", "--cost", "min", "--samples", "6", "--elites", "3", "--iterations", "2"),
        *("--horizon", "4", "--execute", "1", "--horizon-end", "fixed", "--context", "2", "--warm-start", "on"),
        *("--bounds", "off", "--precision", "fp32"),
    )
    assert named["planner"] == {"kind": "cem", "samples": 6, "elites": 3, "iterations": 2}
    assert named["cost"] == {"kind": "min"}
    settings = {"horizon": 4, "execute": 1, "horizon_end": "fixed", "context": 2, "warm_start": "on", "bounds": "off"}
    assert {key: named[key] for key in settings} == settings
    assert named["precision_reason"] != planner_of(run)["precision_reason"]


@pytest.mark.parametrize(
    "option",
    [
        "--planner=cem",
        "--samples=6",
        "--cost=head",
        "--warm-start=idm",
        "--set planner.samples=6",
        "--set warm_start=on",
    ],
)
def test_options_of_a_search_are_refused_where_the_policy_decides(run, option):
    code, shown = call(run, "--agent", "idm", *option.split())
    assert code == 2
    assert option.partition("=")[0] in shown
    assert "the policy decides" in shown


@pytest.mark.parametrize("option", ["--horizon=2", "--horizon-end=fixed", "--set horizon=2", "--samples=6"])
def test_options_of_an_arrival_are_refused_where_the_policy_is_not_told_of_it(run, option):
    code, shown = call(run, "--agent", "gcbc", *option.split())
    assert code == 2
    assert option.partition("=")[0] in shown
    assert "is not told the steps" in shown


@pytest.mark.parametrize("agent", ["random", "expert"])
@pytest.mark.parametrize("option", ["--execute=1", "--set context=2", "--planner=cem", "--precision=fp32"])
def test_options_of_plans_are_refused_where_nothing_is_planned(run, agent, option):
    code, shown = call(run, "--agent", agent, *option.split())
    assert code == 2
    assert option.partition("=")[0] in shown
    assert f"the agent {agent} does not plan" in shown
    code, shown = call(run, "--agent", agent, "--video", "gif", "--imagine")
    assert (code, "makes none" in shown) == (2, True)


def test_keys_are_set_as_options_are(run):
    assignments = ["planner.samples=6", "planner.elites=3", "cost.kind=mean", "context=3", "warm_start=on", "execute=2"]
    named = planner_of(run, *(word for pair in assignments for word in ("--set", pair)))
    assert named["planner"] == {"kind": "cem", "samples": 6, "elites": 3, "iterations": 1}
    assert named["cost"] == {"kind": "mean"}
    assert (named["context"], named["warm_start"], named["execute"]) == (3, "on", 2)
    unset = planner_of(run, "--set", "execute=none")
    assert unset["execute"] is None


def test_what_is_not_given_is_the_runs(run):
    named = planner_of(run)
    settings = Planning.model_validate({key: named[key] for key in Planning.model_fields})
    assert (settings.horizon, settings.planner.samples, settings.context) == (3, 8, 1)


def test_a_head_is_given_by_its_file(run, tmp_path, tiny):
    path = tmp_path / "head.safetensors"
    save_head(path, Head(tiny.model.latent, (8,)))
    given = ["--cost", "head", "--set", f"cost.path={path}"]
    named = planner_of(run, *given, "--set", "cost.over=min", "--set", "cost.distance_weight=0.5")
    assert named["cost"] == {"kind": "head", "path": str(path), "over": "min", "distance_weight": 0.5}
    problem, remedy = refused(run, "--cost", "head")
    assert problem == f"{run}: no head.safetensors, so nothing that tells the steps to a goal"
    assert remedy == f'Train one with "lewm train-head --run {run}".'
    path.unlink()
    problem, remedy = refused(run, *given)
    assert problem == f"{path}: no such file"
    assert "cost.path" in remedy
    save_head(path, Head(tiny.model.latent + 1, (8,)))
    problem, _ = refused(run, *given)
    assert problem == f"{path}: a head for latents of 9 numbers, the model's have 8"


@pytest.fixture
def without_elites():
    """A kind of planner that has no elites, and that is gone after the test."""

    class Greedy(Planner):
        kind: Literal["greedy"] = "greedy"
        samples: int = 3
        iterations: int = 1

    yield
    del Planner.kinds["greedy"]


def test_a_planner_is_given_no_option_of_another(run, without_elites):
    problem, remedy = refused(run, "--planner", "greedy", "--elites", "5")
    assert '"planner.elites"' in problem
    assert "Known: planner.iterations, planner.kind, planner.samples." in remedy


@pytest.mark.parametrize(
    ("arguments", "problem", "remedy"),
    [
        (["--planner", "cemm"], 'unknown planner.kind in the options: "cemm"', 'Did you mean "cem"? Known: '),
        (["--cost", "least"], 'unknown cost.kind in the options: "least"', "Known: head, last, mean, min."),
        (["--set", "planner.sample=2"], '"planner.sample"', 'Did you mean "planner.samples"? Known: planner.elites, '),
        (["--set", "contxt=2"], '"contxt"', 'Did you mean "context"?'),
        (["--set", "cost.path=file"], '"cost.path"', "Known: cost.kind."),
        (
            ["--warm-start", "maybe"],
            "warm_start: Input should be 'on', 'idm' or 'off', got 'maybe'",
            "--set warm_start=VALUE",
        ),
        (["--horizon-end", "grow"], "horizon_end: Input should be 'shrink' or 'fixed'", "--set horizon_end=VALUE"),
        (["--elites", "9"], "planner: elites 9 exceeds samples 8", "--set planner.KEY=VALUE"),
        (["--execute", "4"], "execute 4 exceeds horizon 3", "--set KEY=VALUE"),
        (["--context", "4"], "a context of 4 latents, and the predictor sees at most 3", "Use --context 3 or fewer."),
    ],
)
def test_wrong_values_are_refused_with_what_can_be_given(run, arguments, problem, remedy):
    lines = refused(run, *arguments)
    assert problem in lines[0]
    assert remedy in lines[1]
    assert "--config" not in lines[1]  # `lewm plan` has no such option
