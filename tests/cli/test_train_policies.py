"""`lewm train --policy`: policies are trained after the model; what is there stays, whatever ends the training."""

import json
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from typer.testing import CliRunner

from lewm.config import resolve
from lewm.episode_latents import encode_episodes
from lewm.heads.files import own_policy
from lewm.heads.policies import POLICIES
from lewm.opened_run import open_run
from lewm.report_files import read_report
from lewm.training.loop import train
from lewm_cli import output
from lewm_cli import train as train_command
from lewm_cli.main import app
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from tests.conftest import TINY


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("rooms") / "data.h5"
    collect(world("two-room"), path, 8, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=8)
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for kind, line in POLICIES.items():
        monkeypatch.setitem(POLICIES, kind, replace(line, settings=partial(line.settings, steps=3)))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.json"
    tree: dict = {"training": {"held_out": 0.5}}
    for key, value in (TINY | {"training.steps": 2}).items():
        *sections, name = key.split(".")
        section = tree
        for one in sections:
            section = section.setdefault(one, {})
        section[name] = value
    path.write_text(json.dumps(tree))
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, result.stdout, "\n".join(output.explain(result.exception))
    return result.exit_code, result.stdout, result.stderr


def policies(*kinds):
    return [word for kind in kinds for word in ("--policy", kind)]


def test_policies_are_trained_after_the_model_and_named(data, config, tmp_path, monkeypatch):
    run, encoded = tmp_path / "run", []

    def noting(model, dataset, episodes, on_share):
        encoded.append(len(episodes))
        return encode_episodes(model, dataset, episodes, on_share)

    monkeypatch.setattr("lewm.heads.prepared.encode_episodes", noting)
    code, shown, said = call(
        "train", "--data", data, "--config", config, "--out", run, *policies("gcbc", "idm", "gcbc"), "--json"
    )
    assert code == 0, said
    assert encoded == [4, 4], "those that training saw, and those that it held out, once for both policies"
    named = json.loads(shown)["policies"]
    assert list(named) == ["gcbc", "idm"]
    for kind, one in named.items():
        assert one["file"] == str(run / f"policy-{kind}.safetensors")
        assert one["seconds"] > 0
        assert own_policy(open_run(run), kind).kind == kind
    for name in ("GCBC", "GC-IDM"):
        assert f"{name}, held-out episodes: mean squared error " in said
    before = {kind: (run / f"policy-{kind}.safetensors").read_bytes() for kind in named}
    code, shown, said = call("train", "--resume", "--out", run, *policies("idm", "gcivl"), "--json")
    assert code == 0, said
    again = json.loads(shown)["policies"]
    assert again["idm"]["seconds"] is None
    assert again["gcivl"]["seconds"] > 0
    assert "is there already" in said
    assert "GCIVL, held-out episodes: mean squared error " in said
    assert "GC-IDM, held-out" not in said
    assert {kind: (run / f"policy-{kind}.safetensors").read_bytes() for kind in named} == before
    for kind in POLICIES:
        (report,) = run.glob(f"policy-{kind}-*.json")
        assert read_report(report)["policy"]["steps"] == 3


def test_a_policy_of_other_weights_is_trained_again(data, config, tmp_path, tiny):
    run = tmp_path / "run"
    assert call("train", "--data", data, "--config", config, "--out", run, *policies("idm"))[0] == 0
    other = tmp_path / "other"
    train(resolve(tiny, config, {"training.seed": 1}), data, other, torch.device("cpu"))
    (run / "policy-idm.safetensors").rename(other / "policy-idm.safetensors")
    code, shown, said = call("train", "--resume", "--out", other, *policies("idm"), "--json")
    assert code == 0, said
    assert json.loads(shown)["policies"]["idm"]["seconds"] > 0
    own_policy(open_run(other), "idm")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_trained_when_a_signal_comes_is_kept(data, config, tmp_path, monkeypatch, number, code):
    run = tmp_path / "run"
    learn = POLICIES["gcbc"].learn

    def stopped(*_):
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setitem(POLICIES, "gcbc", replace(POLICIES["gcbc"], learn=stopped))
        ended, shown, said = call(
            "train", "--data", data, "--config", config, "--out", run, *policies("idm", "gcbc", "gcivl"), "--json"
        )
    assert ended == code
    assert json.loads(shown)["steps"] == 2  # the result of the training is shown
    problem, remedy = said.splitlines()[-2:]
    assert problem == "error: interrupted: the trained model is kept, and so are the policies idm"
    assert remedy == f"To go on: lewm train --resume --out {run} --policy idm --policy gcbc --policy gcivl"
    kept = (run / "policy-idm.safetensors").read_bytes()
    assert not (run / "policy-gcbc.safetensors").exists()
    assert not list(run.glob("policy-gcbc*"))
    assert (run / "training.png").is_file()
    assert POLICIES["gcbc"].learn is learn
    assert call(*remedy.split()[4:])[0] == 0
    assert (run / "policy-idm.safetensors").read_bytes() == kept
    for kind in POLICIES:
        own_policy(open_run(run), kind)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_models_training_names_the_policies_too(data, config, tmp_path, monkeypatch, number, code):
    run, update = tmp_path / "run", train_command._Display.update

    def stopped(display, progress):
        update(display, progress)
        signal.raise_signal(number)

    given = ["train", "--data", data, "--config", config, "--out", run]
    with monkeypatch.context() as patch:
        patch.setattr(train_command._Display, "update", stopped)
        ended, _, said = call(*given, *policies("gcbc", "idm"))
    assert ended == code, said
    remedy = said.splitlines()[-1]
    assert remedy == f"To go on: lewm train --resume --out {run} --policy gcbc --policy idm"
    assert call(*remedy.split()[4:])[0] == 0
    for kind in ("gcbc", "idm"):
        own_policy(open_run(run), kind)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--policy", "gcbd"], 'unknown kind of policy "gcbd"'),
        (["--env", "a-robot", "--policy", "idm"], "a-robot: lewm has no simulator of it, in which a policy could act"),
    ],
)
def test_policies_that_cannot_be_trained_are_refused_before_the_training(data, config, tmp_path, more, problem):
    code, shown, said = call("train", "--data", data, "--config", config, "--out", tmp_path / "run", *more)
    assert (code, shown) == (1, "")
    assert said.splitlines()[0] == problem
    assert not (tmp_path / "run").exists()
