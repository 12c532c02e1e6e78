"""Other projects' recordings from the file to a model: lewm data convert, lewm data verify and lewm train."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lewm_cli import output
from lewm_cli.main import app
from lewm_data.store.dataset import Dataset

for _needed in ("av", "pyarrow", "lance"):
    pytest.importorskip(_needed)

FIXTURES = Path(__file__).parents[1] / "data" / "convert" / "fixtures"
TINY = {
    "model.frame_size": "16",
    "model.frameskip": "2",
    "model.latent": "8",
    "model.projector_hidden": "16",
    "model.predictor.projector_hidden": "16",
    "model.encoder.channels": "[4, 8]",
    "model.predictor.width": "8",
    "model.predictor.depth": "1",
    "objective.sigreg.directions": "32",
    "training.log_every": "1",
}
CAMERAS = {  # of the sources that have several
    "lerobot-v2.1/recording": "front",
    "lerobot-v3/recording": "wrist",
    "aloha/recording": "cam_high",
    "robomimic/image.hdf5": "agentview_image",
}
SOURCES = [
    *CAMERAS,
    "minari/recording",
    "minari/recording-arrow",
    "ogbench/recording.npz",
    "dino-wm/recording",
    "stable-worldmodel/released.h5",
    "stable-worldmodel/current-folder",
    "stable-worldmodel/current-video",
    "stable-worldmodel/current.lance",
]


def call(*arguments):
    """What a command shows, which has to succeed."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError("\n".join(output.explain(result.exception)))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("source", SOURCES)
def test_a_recording_becomes_a_dataset_and_a_model(source, tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    out, run = tmp_path / "mine.h5", tmp_path / "run"
    camera = ("--camera", CAMERAS[source]) if source in CAMERAS else ()
    report = json.loads(call("data", "convert", FIXTURES / source, "--out", out, *camera, "--json"))
    frames = 48 if "released" in source else 51  # the release leaves out the reset of three episodes
    assert (report["episodes"], report["frames"], report["left_out"]) == (3, frames, [])
    assert f"3 episodes, {frames} frames, all as they were written" in call("data", "verify", out)
    settings = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    call("train", "--data", out, "--out", run, "--steps", "3", "--batch-size", "4", *settings)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)


def test_options_say_how_the_pictures_of_a_source_are_stored(tmp_path):
    source, pixels = FIXTURES / "ogbench" / "recording.npz", []
    for number, options in enumerate([(), ("--color-order", "bgr", "--flip", "vertical")]):
        out = tmp_path / f"{number}.h5"
        report = json.loads(call("data", "convert", source, "--out", out, *options, "--json"))
        with Dataset.open(out) as dataset:
            pixels.append(dataset.episode(0)["pixels"])
    np.testing.assert_array_equal(pixels[1], pixels[0][:, ::-1, :, ::-1])
    assert "colours in the order blue, green, red, as you say" in report["plan"]["assumptions"]
    shown = call("data", "info", out)
    assert "bgr" in shown
    assert "vertical" in shown
