"""Videos, tables of actions and runs at different rates: surprise reads them as the training's recordings were read."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lewm_cli.main import app
from lewm_data.video.video_writer import write_video

SMALL = [
    *("--steps", "2", "--batch-size", "4", "--set", "model.frame_size=16", "--set", "model.frameskip=1"),
    *("--set", "model.latent=8", "--set", "model.projector_hidden=16", "--set", "model.predictor.projector_hidden=16"),
    *("--set", "model.encoder.channels=[4, 8]", "--set", "model.encoder.width=16", "--set", "model.predictor.width=8"),
    *("--set", "model.predictor.depth=1", "--set", "model.action_embedder.hidden=8"),
    *("--set", "objective.sigreg.directions=32", "--set", "training.held_out=0.5"),
]
SECONDS = 2


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, f"{result.stderr}{result.exception}"


def record(folder, name, video, log, timed):
    """A video of `video` pictures a second, and a log of `log` rows a second."""
    rng = np.random.default_rng(len(name))
    folder.mkdir(exist_ok=True)
    write_video(folder / f"{name}.mp4", rng.integers(0, 256, (video * SECONDS, 16, 24, 3), np.uint8), float(video))
    with (folder / f"{name}.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*(["time"] if timed else []), "dx", "dy"])
        for row in range(log * SECONDS):
            lines.writerow([*([f"{row / log:.5f}"] if timed else []), *rng.normal(size=2).round(4)])


@pytest.mark.parametrize(
    ("video", "log", "timed", "asked", "frames"),
    [
        (30, 30, True, None, 60),
        (30, 90, True, None, 180),  # the data have 90 steps a second, so each picture is seen three times
        (30, 90, True, 30, 60),
        (30, 90, True, 10, 20),
        (30, 30, False, None, 60),
        (30, 30, False, 10, 20),
        (10, 30, True, 10, 20),
    ],
)
def test_every_pair_of_rates(tmp_path, monkeypatch, video, log, timed, asked, frames):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    for number in range(6):
        record(tmp_path / "in", f"push-{number}", video, log, timed)
    record(tmp_path, "new", video, log, timed)
    fps = [] if asked is None else ["--fps", asked]
    code, _, said = call("data", "convert", tmp_path / "in", "--out", tmp_path / "in.h5", *fps)
    assert code == 0, said
    code, _, said = call("train", "--data", tmp_path / "in.h5", "--out", tmp_path / "run", *SMALL)
    assert code == 0, said
    watch = ["surprise", tmp_path / "new.mp4", "--run", tmp_path / "run", "--alpha", "0.3", "--json"]
    for actions in (["--actions", tmp_path / "new.csv"], ["--actions", "none"]):
        code, shown, said = call(*watch, *actions)
        assert code == 0, said
        report = json.loads(shown)
        assert report["frames"] == pytest.approx(frames, abs=1)
        assert report["fps"] == pytest.approx(asked or log, rel=0.01)


def test_data_of_another_rate_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    for number in range(6):
        record(tmp_path / "in", f"push-{number}", 30, 30, True)
    for fps in (10, 30):
        assert call("data", "convert", tmp_path / "in", "--out", tmp_path / f"{fps}.h5", "--fps", fps)[0] == 0
    code, _, said = call("train", "--data", tmp_path / "10.h5", "--out", tmp_path / "run", *SMALL)
    assert code == 0, said
    for command in (
        ["probe", "--data", tmp_path / "30.h5"],
        ["surprise", f"{tmp_path / '30.h5'}#0"],
        ["surprise", f"{tmp_path / '10.h5'}#0", "--calibrate", tmp_path / "30.h5"],
    ):
        code, _, said = call(*command, "--run", tmp_path / "run")
        assert code == 1
        assert "30 steps a second" in said
        assert "10" in said
