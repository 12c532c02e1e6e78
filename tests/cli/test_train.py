"""What `lewm train` says: before it begins, when it goes on, and when it is stopped."""

import errno
import json
import os
import re
import signal

import pytest
from typer.testing import CliRunner

from lewm.checkpoints import run
from lewm.training import plot, trainer
from lewm.training.compilation import Compilation, Compiled
from lewm_cli.main import app

SMALL = [
    *("--set", "model.frame_size=16"),
    *("--set", "model.encoder.channels=[4]"),
    *("--set", "training.held_out=0.5"),
    *("--set", "training.checkpoint_every=2"),
]


@pytest.fixture
def command(golden, tmp_path):
    data = ["--data", str(golden / "official_layout.h5"), "--env", "two-room", "--out", str(tmp_path / "run")]
    return ["train", *data, "--steps", "4", "--batch-size", "2", *SMALL]


def words(text):
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("on", [True, False])
def test_precision_and_compilation_are_said(command, tmp_path, monkeypatch, on):
    monkeypatch.setattr(trainer, "choose_compilation", lambda *_: Compilation(on, "the test says so"))
    monkeypatch.setattr(Compiled, "of", lambda model: model)
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    assert ("the first step compiles encoder and predictor" in result.stderr) is on
    how = "compiled" if on else "not compiled"
    assert f"-> {tmp_path / 'run'} on cpu, in fp32, {how}: the test says so" in words(result.stderr)
    told = json.loads(result.stdout)
    assert (told["precision"], told["compiled"]) == ("fp32", on)


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("auto", ""),
        ("ram", "frames are kept in memory once read: --cache ram"),
        ("device", "frames are all on the device: --cache device"),
    ],
)
def test_where_frames_are_kept_is_said_and_changes_nothing(command, tmp_path, cache, said):
    (tmp_path / "other").mkdir()
    first = CliRunner().invoke(app, command)
    again = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "other"), "--cache", cache])
    assert (first.exit_code, again.exit_code) == (0, 0), again.output
    assert said in words(again.stderr)
    assert ("frames are" in again.stderr) == bool(said)
    one, other = ((tmp_path / name / run.TRAINING).read_bytes() for name in ("run", "other"))
    assert one == other


def test_a_cache_that_there_is_not(command, tmp_path):
    result = CliRunner().invoke(app, [*command, "--cache", "gpu"])
    assert result.exit_code == 1
    assert 'unknown --cache "gpu"' in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_how_to_go_on_and_from_where(command, tmp_path, monkeypatch, number, code):
    take = trainer.Trainer._step

    def interrupted(self, batch):
        if self.done == 2:
            os.kill(os.getpid(), number)
        take(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_step", interrupted)
        stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == code
    problem, remedy = stopped.stderr.splitlines()[-2:]
    assert problem == "error: interrupted: the checkpoint of step 3 is kept"
    assert remedy == f"To go on: lewm train --resume --out {tmp_path / 'run'}"
    went_on = CliRunner().invoke(app, remedy.split()[4:])
    assert went_on.exit_code == 0, went_on.output
    assert "goes on from step 3 of 4" in went_on.stderr


def test_a_picture_that_cannot_be_written_does_not_hide_the_result(command, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(plot, "figure", full)
        result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["steps"] == 4
    problem, remedy = str(result.exception).splitlines()
    assert problem.endswith("cannot be written: No space left on device; the checkpoint of step 4 is kept")
    finish = re.search(r'"lewm (.*)"', remedy)[1].split()
    assert CliRunner().invoke(app, finish).exit_code == 0
    assert (tmp_path / "run" / plot.PICTURE).is_file()


def test_each_term_of_the_loss_is_shown_and_the_weight_of_sigreg_is_lewm_s(command):
    result = CliRunner().invoke(app, [*command, "--set", "objective.kind=pldm"])
    assert result.exit_code == 0, result.output
    assert re.search(
        r"loss [\d.]+ prediction \S+ std \S+ cov \S+ std_t \S+ align \S+ gradient norm", words(result.stderr)
    )
    refused = CliRunner().invoke(app, [*command, "--set", "objective.kind=pldm", "--lambda", "0.1"])
    problem, remedy = str(refused.exception).splitlines()
    assert problem.endswith('where objective.kind is pldm: "objective.lambda"')
    assert "objective.std" in remedy


def test_metrics_are_a_log(command, tmp_path):
    assert CliRunner().invoke(app, command).exit_code == 0
    log = tmp_path / "run" / run.METRICS
    log.write_bytes(b'\xff{"step": 1}\n3\n{"step": ' + b"9" * 6000 + b"}\n" + log.read_bytes())
    result = CliRunner().invoke(app, ["train", "--resume", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps))


STAGE = (
    "{encoder = {kind = 'conv', channels = [4], width = 8}, latent = 8, projector_hidden = 8, steps = 2, "
    "learning_rate = 1e-3, objective = {kind = 'lewm'}, predictor = {kind = 'adaln', history = 1, "
    "projector_hidden = 8, width = 8, depth = 1, heads = 1, head_dim = 8, mlp = 8, dropout = 0, "
    "embedding_dropout = 0}}"
)


def test_each_stage_is_announced_and_has_a_picture(command, tmp_path):
    last = ["model.encoder={kind = 'frozen', weights = 'stage:places'}", "model.projector_hidden=none"]
    last += ["model.latent=8", "objective.kind=prediction", f"stages.places={STAGE}"]
    plain = [*command[: command.index("--set")], "--set", "model.frame_size=16", "--set", "training.held_out=0.5"]
    result = CliRunner().invoke(app, [*plain, "--json", *(word for one in last for word in ("--set", one))])
    assert result.exit_code == 0, (result.output, result.exception)
    told = json.loads(result.stdout)
    assert told["steps"] == 4
    assert list(told["stages"]) == ["places"]
    said = words(result.stderr)
    first, second = said.index("training 1 of 2: the stage places, 2 steps"), said.index("training 2 of 2: the model")
    assert "loss: prediction + 0.09 · sigreg" in said[first:second]
    assert "loss: prediction" in said[second:]
    assert "sigreg" not in said[second:]
    for directory in (tmp_path / "run", tmp_path / "run" / run.STAGES / "places"):
        assert (directory / plot.PICTURE).is_file()
