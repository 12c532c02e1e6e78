"""From a folder of phone videos with tables of actions to a run, a probe and a surprise: README's three commands."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from lewm.probing import probes
from lewm_cli.main import app
from lewm_data.video.video_writer import write_video

VIDEOS, ROWS, FPS = 60, 60, 30.0
HEIGHT, WIDTH, RADIUS = 60, 80, 6
JUMP = 40  # the row at which the block of the last video is somewhere else


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def record(folder, name, seed, jump=None):
    """A video of a block that is pushed about on a table, and a log of the pushes."""
    rng = np.random.default_rng(seed)
    push = rng.normal(size=(ROWS, 2))
    for row in range(1, ROWS):
        push[row] = 0.9 * push[row - 1] + 0.45 * push[row]
    push = push.clip(-1, 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    table = np.stack([205 + 20 * np.sin(x / 9), 205 + 0 * x, 190 + 15 * np.cos(y / 7)], axis=-1)
    at = rng.uniform([25, 20], [WIDTH - 25, HEIGHT - 20])
    frames, rows = np.repeat(table[None], ROWS, axis=0).astype(np.uint8), []
    for row in range(ROWS):
        if row == jump:
            at = np.array([WIDTH, HEIGHT]) - at
        frames[row][np.maximum(abs(x - at[0]), abs(y - at[1])) < RADIUS] = (190, 40, 40)
        rows.append([f"{row / FPS:.4f}", *(f"{number:.5f}" for number in (*push[row], *at))])
        at = (at + 1.5 * push[row]).clip([18, 10], [WIDTH - 18, HEIGHT - 10])
    folder.mkdir(exist_ok=True)
    write_video(folder / f"{name}.mp4", frames, FPS)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["time", "push_x", "push_y", "state_x", "state_y"], *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone")
    for number in range(VIDEOS):
        record(folder / "videos", f"IMG_{number:04d}", number)
    record(folder, "new", VIDEOS + 3, JUMP)
    return folder


def test_three_commands_lead_from_videos_to_a_surprise(folder, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(folder / "home"))
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(16,), steps=40, validate_every=20))
    result = call("train", "--data", folder / "videos", "--steps", 80)
    assert result.exit_code == 0, result.output
    for words in (
        "recordings with tables of actions, 60 episodes",
        "actions: push_x, push_y",
        "columns kept: state (state_x, state_y)",
        "column time, in s from the first picture on",
        "25% of each is cut off, left and right",
        "30 steps a second, as recorded",
    ):
        assert words in result.stderr, words
    run = folder / "home" / "runs" / "videos-small"
    trained_on = json.loads((run / "config.json").read_text())["dataset"]
    assert trained_on["recorded"]["fit"] == "crop"
    assert trained_on["recorded"]["fps"] == pytest.approx(FPS, rel=0.001)
    assert trained_on["episodes"] == VIDEOS

    result = call("probe", "--json")
    assert result.exit_code == 0, result.output
    names = {one["property"] for one in json.loads(result.stdout)["probed"]}
    assert names == {"state"}

    result = call("surprise", folder / "new.mp4", "--actions", folder / "new.csv", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["actions"].startswith("known: from ")
    first = min(event["begin_time"] for event in report["events"])
    assert first == pytest.approx(JUMP / FPS, abs=0.1), report["events"]

    again = call("train", "--data", folder / "videos", "--steps", 1, "--out", folder / "again")
    assert again.exit_code == 0, again.output
    assert "was converted before" in again.stderr
