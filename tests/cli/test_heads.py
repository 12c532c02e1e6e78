"""`lewm train-head`, `lewm train-policy`, and plans with what they have learnt, as a user meets them."""

import inspect
import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lewm.checkpoints.run import read_config, read_tensors, save_tensors, write_config
from lewm.config import resolve
from lewm.episode_latents import encode_episodes
from lewm.files import sha256
from lewm.heads.moves import draw_moves
from lewm.heads.policies import POLICIES
from lewm.heads.policies.idm import IdmSettings
from lewm.heads.temporal import HeadSettings
from lewm.opened_run import open_run
from lewm.report_files import read_report
from lewm.training.loop import train
from lewm_cli import output
from lewm_cli.main import app
from lewm_cli.train_head import train_head
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.clips import split_episodes
from lewm_data.store.writer import Writer

PLAN = ["--episodes", "3", "--goal-offset", "15", "--budget", "20"]


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    home = tmp_path_factory.mktemp("rooms")
    collect(world("two-room"), home / "data.h5", 8, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=8)
    few = {"planning.planner.samples": 8, "planning.planner.elites": 4, "planning.planner.iterations": 2}
    config = resolve(tiny, None, {"training.steps": 2, "training.held_out": 0.5, "planning.horizon": 3, **few})
    train(config, home / "data.h5", home / "run", torch.device("cpu"))
    for command in (["train-head"], *(["train-policy", "--kind", kind] for kind in POLICIES)):
        code, shown = call(*command[:1], home / "run", *command[1:], "--steps", "5")
        assert code == 0, shown
    return home / "run"


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def call(command, run, *arguments):
    result = CliRunner().invoke(app, [command, "--run", str(run), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def report_of(run, kind):
    (path,) = run.glob(f"{kind}-*.json")
    return read_report(path)


def newest_plan(run):
    return read_report(max(run.glob("plan-*.json"), key=lambda path: path.stat().st_mtime_ns))


def test_reports_say_how_well_it_was_learnt(run):
    head, policy = report_of(run, "head"), report_of(run, "policy-idm")
    assert head["head"]["longest"] == policy["policy"]["longest"] == head["errors"][-1]["most"]
    assert head["checkpoint_sha256"] == policy["checkpoint_sha256"]
    assert -1 <= head["real"]["head"] <= 1
    assert all(one["real"] > 0 for one in head["errors"])
    for kind in POLICIES:
        policy = report_of(run, f"policy-{kind}")
        assert policy["kind"] == kind
        assert policy["error"] > 0
        assert policy["policy"]["steps"] == 5
        assert (policy["value_correlation"] is not None) == (kind == "gcivl")


LEARNING = [["train-head"], ["train-policy"], ["train-policy", "--kind", "gcbc"], ["train-policy", "--kind", "gcivl"]]


@pytest.mark.parametrize("command", LEARNING, ids=" ".join)
def test_it_learns_from_seen_episodes_and_is_measured_on_others(run, monkeypatch, command):
    encoded = []

    def noting(model, dataset, episodes, on_progress):
        encoded.append(sorted(episodes.tolist()))
        return encode_episodes(model, dataset, episodes, on_progress)

    monkeypatch.setattr("lewm.heads.prepared.encode_episodes", noting)
    assert call(command[0], run, *command[1:], "--steps", "2")[0] == 0
    assert encoded == [sorted(half.tolist()) for half in open_run(run).split(8)]


def test_defaults_of_the_command_are_those_of_the_library():
    options = inspect.signature(train_head).parameters
    shared = [one.name for one in fields(HeadSettings()) if one.name in options]
    assert "steps" in shared
    assert {name: options[name].default for name in shared} == {name: getattr(HeadSettings(), name) for name in shared}


@pytest.mark.parametrize(
    ("goal", "options", "horizon", "execute"),
    [
        ("20", [], 4, 1),
        ("20", ["--execute", "2"], 4, 2),
        ("20", ["--horizon", "5"], 5, 1),
        ("20", ["--set", "execute=none"], 4, 3),  # as often as with the run's 3 blocks, all of them executed
        ("20", ["--set", "execute=none", "--horizon", "5"], 5, None),
        ("9", ["--set", "execute=none"], 2, 2),
    ],
)
def test_a_policy_is_to_arrive_when_the_goal_is_reached_in_the_data(run, goal, options, horizon, execute):
    code, shown = call("plan", run, *PLAN, "--goal-offset", goal, "--agent", "idm", *options)
    assert code == 0, shown
    planner = newest_plan(run)["planner"]
    assert (planner["horizon"], planner["execute"]) == (horizon, execute)


def test_a_policy_learns_from_as_many_frames_as_are_asked_for(run, monkeypatch):
    encoded, drawn = [], []

    def encoding(model, dataset, episodes, on_progress):
        encoded.append(int(dataset.lengths[episodes].sum()))
        return encode_episodes(model, dataset, episodes, on_progress)

    def drawing(model, latents, count, *rest):
        drawn.append(count)
        return draw_moves(model, latents, count, *rest)

    monkeypatch.setattr("lewm.heads.prepared.encode_episodes", encoding)
    monkeypatch.setattr("lewm.heads.policies.idm.draw_moves", drawing)
    assert IdmSettings().frames is None
    with open_run(run).data() as data:
        every = int(data.dataset.lengths[data.seen].sum())
    for given in ((), ("--frames", str(10**12))):
        encoded.clear(), drawn.clear()
        assert call("train-policy", run, "--steps", "2", *given)[0] == 0
        assert encoded[0] == every
        assert drawn[0] == IdmSettings.moves_per_frame * every
    encoded.clear(), drawn.clear()
    before = set(run.glob("policy-idm-*.json"))
    assert call("train-policy", run, "--steps", "2", "--frames", str(every - 1))[0] == 0
    (report,) = set(run.glob("policy-idm-*.json")) - before
    assert read_report(report)["policy"]["frames"] == encoded[0] < every
    assert drawn[0] == IdmSettings.moves_per_frame * encoded[0]


def test_the_same_command_learns_the_same(run, trained):
    for command, name in (("train-head", "head"), *(("train-policy", f"policy-{kind}") for kind in POLICIES)):
        kind = ["--kind", name.removeprefix("policy-")] if command == "train-policy" else []
        before = (run / f"{name}.safetensors").read_bytes()
        assert call(command, run, *kind, "--steps", "5")[0] == 0
        assert (run / f"{name}.safetensors").read_bytes() == before
        assert call(command, run, *kind, "--steps", "5", "--seed", "1")[0] == 0
        assert (run / f"{name}.safetensors").read_bytes() != before


def test_plans_name_the_files_of_what_they_used(run):
    files = {None: None} | {one.stem: sha256(one) for one in run.glob("*.safetensors")}
    for options, head, policy in (
        ([], None, None),
        (["--cost", "head"], "head", None),
        *((["--agent", kind], None, f"policy-{kind}") for kind in POLICIES),
        (["--cost", "head", "--warm-start", "idm"], "head", "policy-idm"),
    ):
        assert call("plan", run, *PLAN, *options)[0] == 0
        report = newest_plan(run)
        assert (report["head_sha256"], report["policy_sha256"]) == (files[head], files[policy])


def test_a_policy_needs_no_head_whatever_the_cost_of_the_run(run):
    config, trained_on = read_config(run)
    write_config(run, resolve(config, None, {"planning.cost.kind": "head"}), trained_on)
    (run / "head.safetensors").unlink()
    assert "so nothing that tells the steps to a goal" in call("plan", run, *PLAN)[1]
    code, shown = call("plan", run, *PLAN, "--agent", "idm")
    assert code == 0, shown


def test_json_is_the_report(run):
    result = CliRunner().invoke(app, ["train-head", "--run", str(run), "--steps", "2", "--longest", "9", "--json"])
    printed = json.loads(result.stdout)
    assert (printed["head"]["steps"], printed["head"]["longest"]) == (2, 9)
    assert printed in [read_report(path) for path in run.glob("head-*.json")]


@pytest.mark.parametrize(
    ("options", "agent"),
    [
        (["--cost", "head"], "LeWM + CEM"),
        (["--agent", "idm"], "LeWM + GC-IDM"),
        (["--agent", "idm", "--execute", "1"], "LeWM + GC-IDM"),
        (["--agent", "gcbc"], "LeWM + GCBC"),
        (["--agent", "gcivl", "--execute", "2"], "LeWM + GCIVL"),
        (["--agent", "random"], "random actions"),
        (["--agent", "expert"], "the world's demonstrator"),
        (["--warm-start", "idm"], "LeWM + CEM from GC-IDM"),
    ],
)
def test_plans_with_what_was_learnt_do_not_depend_on_the_batch(run, options, agent):
    for batch in ("1", "3"):
        code, shown = call("plan", run, *PLAN, *options, "--batch", batch, "--video", "gif")
        assert code == 0, shown
        assert agent in shown
    one, other = sorted(run.glob("plan-*.json"))
    assert read_report(one)["tasks"] == read_report(other)["tasks"]
    for film in one.with_suffix("").iterdir():
        assert film.read_bytes() == (other.with_suffix("") / film.name).read_bytes()


def test_data_that_have_moved_are_named_with_an_option(run):
    config, trained_on = read_config(run)
    write_config(run, config, replace(trained_on, path="/gone/data.h5"))
    code, shown = call("train-policy", run, "--steps", "2")
    assert code == 1
    assert "/gone/data.h5: no such file" in shown
    assert "If it has moved, say with --data where it is." in shown
    assert call("train-policy", run, "--steps", "2", "--data", trained_on.path)[0] == 0


@pytest.mark.parametrize(
    ("name", "options", "command", "nothing"),
    [
        ("head", ["--cost", "head"], "train-head", "so nothing that tells the steps to a goal"),
        ("policy-idm", ["--warm-start", "idm"], "train-policy --kind idm", "so no policy"),
        *((f"policy-{kind}", ["--agent", kind], f"train-policy --kind {kind}", "so no policy") for kind in POLICIES),
    ],
)
def test_what_is_missing_or_of_other_weights_is_named(run, tmp_path, name, options, command, nothing):
    path = run / f"{name}.safetensors"
    kept = path.rename(tmp_path / "kept")
    code, shown = call("plan", run, *PLAN, *options)
    assert code == 1
    remedy = f'Train one with "lewm {command} --run {run}".'
    assert shown == f"{run}: no {name}.safetensors, {nothing}\n{remedy}"
    kept.rename(path)
    weights = read_tensors(run / "model.safetensors")
    name_of_one = next(one for one, tensor in weights.items() if tensor.is_floating_point())
    save_tensors(run / "model.safetensors", weights | {name_of_one: weights[name_of_one] + 0.01})
    code, shown = call("plan", run, *PLAN, *options)
    assert code == 1
    assert shown == f"{path}: trained on other weights than model.safetensors of the run has now\n{remedy}"


def test_held_out_episodes_without_a_whole_block_are_refused(tmp_path, tiny):
    data, (held_out,) = tmp_path / "data.h5", split_episodes(2, 0.5, tiny.training.seed)[1]
    with Writer.create(data, {"env": "two-room"}) as writer:
        for episode in (0, 1):
            rows = 4 if episode == held_out else 40
            action = np.linspace(-1, 1, rows * 2, dtype=np.float32).reshape(rows, 2)
            writer.write_episode({"pixels": np.zeros((rows, 16, 16, 3), np.uint8), "action": action})
    config = resolve(tiny, None, {"training.steps": 1, "training.held_out": 0.5, "training.batch_size": 8})
    train(config, data, tmp_path / "run", torch.device("cpu"))
    for command in ("train-head", "train-policy"):
        code, shown = call(command, tmp_path / "run", "--steps", "2")
        assert code == 1
        assert "the longest held-out episode has 3 steps, and a block has 5" in shown


def test_steps_beyond_the_longest_episode_are_refused(run, monkeypatch):
    encoded = []
    monkeypatch.setattr("lewm.heads.prepared.encode_episodes", lambda *given: encoded.append(given))
    for command in ("train-head", "train-policy"):
        code, shown = call(command, run, "--longest", "101")
        assert code == 1
        problem, remedy = shown.splitlines()
        assert "--longest is 101" in problem
        assert not encoded
        assert "lewm collect --max-steps" in remedy


@pytest.mark.parametrize("kind", ["gcbc", "gcivl"])
def test_an_option_that_a_kind_does_not_use_is_refused(run, kind):
    code, shown = call("train-policy", run, "--kind", kind, "--longest", "9")
    assert code == 2
    assert "--longest" in shown
    assert f"of no use to the kind {kind}" in shown


def test_a_kind_that_there_is_not(run):
    code, shown = call("train-policy", run, "--kind", "gcivi")
    assert (code, shown) == (1, 'unknown --kind "gcivi"\nDid you mean "gcivl"? Known: gcbc, gcivl, idm.')


@pytest.mark.parametrize(
    ("execute", "blocks"),
    [("1", 1), ("3", 3), ("none", 3)],  # the run's horizon is 3
)
def test_a_policy_that_is_not_told_the_steps_plans_the_blocks_that_it_executes(run, execute, blocks):
    code, shown = call("plan", run, *PLAN, "--agent", "gcbc", "--set", f"execute={execute}")
    assert code == 0, shown
    planner = newest_plan(run)["planner"]
    assert (planner["agent"], planner["horizon"], planner["execute"]) == ("gcbc", blocks, blocks)


def test_a_policy_of_another_kind_is_not_taken_for_one(run):
    shutil.copy(run / "policy-gcbc.safetensors", run / "policy-gcivl.safetensors")
    code, shown = call("plan", run, *PLAN, "--agent", "gcivl")
    assert code == 1
    assert shown.startswith("a policy of the kind gcbc, the settings ask for gcivl\nTrain one")


def test_random_actions_are_the_agent_or_the_floor_and_are_the_same(run):
    for agent in ("random", "expert"):
        code, shown = call("plan", run, *PLAN, "--agent", agent, "--seed", "3")
        assert code == 0, shown
        assert shown.count("random actions") == 1
        assert "s an action" in shown
    drawn, shown = (read_report(path) for path in sorted(run.glob("plan-*.json"), key=lambda one: one.stat().st_mtime))
    assert drawn["planner"].keys() == {"agent", "seed", "batch"}
    assert (drawn["planner"]["agent"], shown["planner"]["agent"]) == ("random", "expert")
    assert drawn["random"] is None
    assert [one["planner"] for one in drawn["tasks"]] == [one["random"] for one in shown["tasks"]]
    assert {one["random"] for one in drawn["tasks"]} == {None}
    assert drawn["tasks_sha256"] == shown["tasks_sha256"]
    assert shown["success_rate"] == 1
    assert drawn["seconds_per_plan"] > 0 < shown["seconds_per_plan"]
