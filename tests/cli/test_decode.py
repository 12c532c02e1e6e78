"""`lewm decode` and `lewm plan --imagine` as a user meets them."""

import json

import pytest
from typer.testing import CliRunner

from lewm.report_files import read_report
from lewm_cli import output
from lewm_cli.main import app

COLLECT = ["collect", "--episodes", "12", "--frame-size", "16"]
TINY = ["model.frame_size=16", "model.latent=8", "model.encoder.channels=[4, 8]", "objective.sigreg.directions=32"]
TRAIN = ["train", "--steps", "4", "--batch-size", "8", *(part for pair in TINY for part in ("--set", pair))]
PLAN = ["plan", "--episodes", "2", "--samples", "16", "--elites", "4", "--iterations", "2", "--horizon", "2"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    assert call(*COLLECT)[0] == 0
    assert call(*TRAIN)[0] == 0
    return tmp_path / "runs" / "two-room-small"


def call(*arguments):
    """Exit code, and what is on stdout and stderr; a failure is its two lines."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def test_decode_then_imagine_with_no_path_at_all(run):
    code, shown = call("decode", "--steps", "3")
    assert code == 0, shown
    assert "nothing moves" in shown
    assert "trained before" not in shown
    assert (run / "decoder.safetensors").is_file()
    report = next(run.glob("decode-*.json"))
    assert (report.with_suffix("") / "rollout.mp4").is_file()
    code, shown = call(*PLAN, "--video", "mp4", "--imagine")
    assert code == 0, shown
    assert len(list(run.glob("plan-*/*.mp4"))) == 2


def test_json_is_the_report_and_notes_stay_off_it(run):
    call("decode", "--steps", "3")
    result = CliRunner().invoke(app, ["decode", "--json"])
    printed = json.loads(result.stdout)
    assert printed["trained"] is False
    assert printed["decoder"]["steps"] == 3
    assert printed in [read_report(path) for path in run.glob("decode-*.json")]
    assert "--retrain" in result.stderr


def test_imagining_needs_a_decoder_and_a_film(run):
    code, shown = call(*PLAN, "--video", "mp4", "--imagine")
    assert code == 1
    assert "no decoder.safetensors" in shown
    assert "lewm decode --run" in shown
    assert not list(run.glob("plan-*"))
    assert call(*PLAN, "--imagine")[0] == 2


def test_failures_are_two_lines_that_help(run):
    for arguments, word in ((["--episode", "99"], "episode 99"), (["--run", "missing"], "no such run")):
        code, shown = call("decode", *arguments)
        assert code == 1
        assert len(shown.splitlines()) == 2
        assert word in shown
    assert call("decode", "--steps", "0")[0] == 2
