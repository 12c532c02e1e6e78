"""`lewm data verify` as a person and as a program sees it."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from lewm_cli.main import app
from lewm_data.store.writer import Writer

OFFICIAL = Path(__file__).parents[1] / "golden" / "official_layout.h5"


def lewm(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with Writer.create(path) as writer:
        for number in range(3):
            pixels = np.full((10, 4, 4, 3), number, np.uint8)
            writer.write_episode({"pixels": pixels, "action": np.zeros((10, 1), np.float32)})
    return path


def test_a_whole_dataset(path):
    result = lewm("data", "verify", path)
    assert result.exit_code == 0
    assert "3 episodes, 30 frames, all as they were written" in result.stdout
    found = json.loads(lewm("data", "verify", path, "--json").stdout)
    assert found["hashes"]
    assert found["differing"] == []
    assert f"fingerprint {found['fingerprint']}" in result.stdout


def test_episodes_that_differ_are_named(path):
    with h5py.File(path, "r+") as file:
        file["pixels"][4] = 9
        file["action"][25] = 9
    result = lewm("data", "verify", path)
    assert result.exit_code == 1
    assert "episodes that are not what was written: 0, 2" in result.stdout
    assert "the frame at step 4 of episode 0" in result.stdout
    assert "fingerprint" not in result.stdout
    result = lewm("data", "verify", path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["differing"] == [0, 2]


def test_a_file_without_hashes():
    result = lewm("data", "verify", OFFICIAL)
    assert result.exit_code == 0
    assert "the file has no hashes to compare them with" in result.stdout
    assert "fingerprint " in result.stdout
