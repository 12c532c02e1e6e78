"""What `lewm train` says before it begins."""

import pytest
from typer.testing import CliRunner

from lewm.training import compilation, loop
from lewm_cli.main import app


@pytest.mark.parametrize("on", [True, False])
def test_a_first_step_that_compiles_is_announced(golden, tmp_path, monkeypatch, on):
    assert loop.choose_compilation is compilation.choose_compilation  # the training has its own by now
    monkeypatch.setattr(compilation, "choose_compilation", lambda *_: compilation.Compilation(on, "the test says so"))
    data = ["--data", str(golden / "official_layout.h5"), "--env", "two-room", "--out", str(tmp_path / "run")]
    small = ["--set", "model.frame_size=16", "--set", "model.encoder.channels=[4]", "--set", "training.held_out=0.5"]
    result = CliRunner().invoke(app, ["train", *data, "--steps", "1", "--batch-size", "2", *small])
    assert result.exit_code == 0, result.output
    assert ("the first step compiles encoder and predictor" in result.stderr) is on
