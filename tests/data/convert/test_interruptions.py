"""A conversion that is killed goes on with the same command, to the same dataset as one that was never interrupted."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lewm_data.convert.convert import CompleteError, convert
from lewm_data.convert.request import Request
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from tests.data.convert import recordings

pytest.importorskip("av")

PROGRAM = """
import sys, time
from pathlib import Path
from lewm_data.convert.request import Request
from lewm_data.convert.convert import convert
convert(Request(Path(sys.argv[1]), Path(sys.argv[2])), on_rows=lambda episodes, share: time.sleep(0.05))
"""
ROOT = Path(__file__).parents[3]
GROWN = 500_000  # bytes: two episodes


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "in"
    for number in range(12):
        recordings.write_recording(folder, f"push-{number}", 40, seed=number)
    return folder


def fingerprint(path):
    with Dataset.open(path) as dataset:
        return dataset.fingerprint()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_conversion_that_is_killed_goes_on(source, tmp_path, number):
    convert(Request(source, tmp_path / "whole.h5"))
    out = tmp_path / "out.h5"
    for _ in range(2):
        running = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, source, out], env={"PYTHONPATH": str(ROOT / "data"), "PATH": ""}
        )
        before = out.stat().st_size if out.exists() else 0
        while not out.exists() or out.stat().st_size < before + GROWN:
            assert running.poll() is None, "it ended before it was stopped"
            time.sleep(0.01)
        running.send_signal(number)
        running.wait()
        with Dataset.open(out) as dataset:
            assert 0 < dataset.num_episodes < 12
    convert(Request(source, out))
    assert fingerprint(out) == fingerprint(tmp_path / "whole.h5")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.h5", "whole.h5"]


def test_another_conversion_does_not_go_on_in_its_file(source, tmp_path):
    convert(Request(source, tmp_path / "a.h5", fps=5.0))
    for other in ({}, {"fps": 5.0, "fit": "stretch"}, {"fps": 5.0, "frame_size": 24}, {"fps": 5.0, "resample": "sum"}):
        with pytest.raises(DataError, match="is not of this conversion"):
            convert(Request(source, tmp_path / "a.h5", **other))
    with pytest.raises(CompleteError):
        convert(Request(source, tmp_path / "a.h5", fps=5.0))
