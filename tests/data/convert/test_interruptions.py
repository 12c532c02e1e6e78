"""A conversion that is killed goes on with the same command, to the same dataset as one that was never interrupted."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.convert.begun import CompleteError
from lewm_data.convert.convert import convert
from lewm_data.convert.request import Request
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.left_out import CONVERSION, LEFT_OUT, LeftOut
from lewm_data.store.merge import unconverted
from lewm_data.store.repair import repair
from lewm_data.store.writer import Writer
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


DAMAGED = ("a", "c", "f")  # the first, one within, and the last


@pytest.fixture
def damaged(tmp_path):
    """A source of which some recordings cannot be read."""
    for name in "abcdef":
        recordings.write_recording(tmp_path / "in", name, 6)
    for name in DAMAGED:
        (tmp_path / "in" / f"{name}.csv").write_text("dx,dy\n1,up\n")
    return tmp_path / "in"


def stopped_at(place):
    """A function for `on_rows` that presses Ctrl-C when an episode is begun."""

    def stop(episodes, share):
        if episodes == place:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("place", [1, 3, 4])
def test_what_was_left_out_is_known_after_an_interruption(damaged, tmp_path, place):
    whole = convert(Request(damaged, tmp_path / "whole.h5", skip_damaged=True))
    assert [name for name, _ in whole.left_out] == [f"{name}.mp4" for name in DAMAGED]
    request = Request(damaged, tmp_path / "out.h5", skip_damaged=True)
    with pytest.raises(KeyboardInterrupt):
        convert(request, on_rows=stopped_at(place))
    report = convert(request)
    assert report.left_out == whole.left_out
    assert (report.episodes, report.frames) == (whole.episodes, whole.frames) == (3, 18)
    assert fingerprint(request.out) == fingerprint(tmp_path / "whole.h5")
    for again in (request, replace(request, skip_damaged=False)):
        with pytest.raises(
            CompleteError, match=r"out\.h5: is complete already, without 3 episodes that could not be read"
        ):
            convert(again)
    with Dataset.open(request.out) as dataset:
        assert unconverted(dataset) == 0
        assert [one.number for one in dataset.left_out] == [0, 2, 5]


def test_nothing_is_made_where_no_recording_can_be_read(damaged, tmp_path):
    for name in "bde":
        (damaged / f"{name}.csv").write_text("dx,dy\n1,up\n")
    with pytest.raises(DataError, match="has 1 rows, expected 6 or 5"):
        convert(Request(damaged, tmp_path / "out.h5", skip_damaged=True))
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_what_was_left_out_is_known_after_a_kill_and_a_repair(damaged, tmp_path):
    out = tmp_path / "out.h5"
    program = PROGRAM.replace("sys.argv[2])", "sys.argv[2]), skip_damaged=True").replace(
        "sleep(0.05)", "sleep(0.5 * (episodes == 3))"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, damaged, out], env={"PYTHONPATH": str(ROOT / "data"), "PATH": ""}
    )
    while not out.exists() or len(left_out(out)) < 2:
        assert running.poll() is None, "it ended before it was stopped"
        time.sleep(0.01)
    running.kill()
    running.wait()
    shutil.copy(out, tmp_path / "repaired.h5")
    repair(tmp_path / "repaired.h5")
    assert left_out(tmp_path / "repaired.h5") == left_out(out)
    report = convert(Request(damaged, out, skip_damaged=True))
    assert [name for name, _ in report.left_out] == [f"{name}.mp4" for name in DAMAGED]


def left_out(path):
    with Dataset.open(path) as dataset:
        return dataset.left_out


@pytest.mark.parametrize("text", ["x" * 5000, "\ud800\0" * 900, '"\\' * 900, ""])
def test_what_was_left_out_fits_its_row_whatever_it_says(tmp_path, text):
    with Writer.create(tmp_path / "a.h5", {CONVERSION: "{}"}) as writer:
        writer.leave_out(LeftOut(7, text, text))
        writer.write_episode({"pixels": np.zeros((2, 4, 4, 3), np.uint8), "action": np.zeros((2, 1), np.float32)})
        writer.leave_out(LeftOut(3, "b", text))
    first, second = left_out(tmp_path / "a.h5")
    assert (first.number, first.name, second.number) == (3, "b", 7)
    for one in (first, second):
        assert one.problem == text[: len(one.problem)]
        assert len(one.problem) > 60 or one.problem == text


@pytest.mark.parametrize(
    "rows",
    [np.array([b"", b"[1]", b"{}", b"[1, 2, 3]", b'["1", "a", "b"]', b"\xff", b"[" * 1000]), np.zeros(3), "text"],
)
def test_rows_of_others_say_nothing(tmp_path, rows):
    with Writer.create(tmp_path / "a.h5") as writer:
        writer.write_episode({"pixels": np.zeros((3, 4, 4, 3), np.uint8), "action": np.zeros((3, 1), np.float32)})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[LEFT_OUT] = rows
    assert left_out(tmp_path / "a.h5") == ()


def test_a_conversion_that_replaces_a_file_goes_on_and_the_file_stays_until_it_is_complete(source, tmp_path):
    convert(Request(source, tmp_path / "whole.h5", fps=5.0))
    old = fingerprint(convert_to(source, tmp_path / "out.h5"))
    request = Request(source, tmp_path / "out.h5", fps=5.0, overwrite=True)
    done = []
    for place in (4, 9, None):
        with contextlib.suppress(KeyboardInterrupt):
            convert(request, lambda plan: done.append((plan.done, plan.replaces)), stopped_at(place))
        assert place is None or fingerprint(request.out) == old
    assert done == [(0, True), (4, True), (9, True)]
    assert fingerprint(request.out) == fingerprint(tmp_path / "whole.h5")
    convert(request, lambda plan: done.append((plan.done, plan.replaces)))  # what is complete is done anew
    assert done[-1] == (0, True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.h5", "whole.h5"]


def test_a_new_file_that_was_not_finished_is_named_where_nothing_is_replaced(source, tmp_path):
    out = convert_to(source, tmp_path / "out.h5")
    for fps, words in ((None, "is complete already"), (5.0, "is not of this conversion")):
        with pytest.raises(DataError, match=rf"{words}\n"):
            convert(Request(source, out, fps=fps))
        with contextlib.suppress(KeyboardInterrupt):
            convert(Request(source, out, fps=fps, overwrite=True), on_rows=stopped_at(4))
        with pytest.raises(DataError, match=rf"{words}; an interrupted --overwrite has left .*/\.out\.h5\.new\n"):
            convert(Request(source, out, fps=fps))
        (tmp_path / ".out.h5.new").unlink()


def test_only_the_same_conversion_goes_on_when_it_replaces_a_file(source, tmp_path):
    convert_to(source, tmp_path / "out.h5")
    plans = []
    for fps, place in ((5.0, 4), (2.0, 3), (5.0, None)):
        with contextlib.suppress(KeyboardInterrupt):
            convert(Request(source, tmp_path / "out.h5", fps=fps, overwrite=True), plans.append, stopped_at(place))
    assert [plan.done for plan in plans] == [0, 0, 0]
    assert [one.name for one in tmp_path.iterdir()] == ["out.h5"]


def test_a_new_file_that_is_complete_only_takes_its_place(source, tmp_path):
    convert_to(source, tmp_path / "out.h5")
    convert(Request(source, tmp_path / ".out.h5.new", fps=5.0))  # as if it was killed before the last of all
    new, plans = fingerprint(tmp_path / ".out.h5.new"), []
    report = convert(Request(source, tmp_path / "out.h5", fps=5.0, overwrite=True), plans.append)
    assert (plans[0].done, report.episodes) == (12, 12)
    assert fingerprint(tmp_path / "out.h5") == new
    assert [one.name for one in tmp_path.iterdir()] == ["out.h5"]


def test_an_unfinished_file_of_the_same_conversion_is_gone_on_with_where_it_may_be_replaced(source, tmp_path):
    request = Request(source, tmp_path / "out.h5", overwrite=True)
    plans = []
    for place in (4, None):
        with contextlib.suppress(KeyboardInterrupt):
            convert(request, plans.append, stopped_at(place))
    assert [(plan.done, plan.replaces) for plan in plans] == [(0, False), (4, False)]
    assert [one.name for one in tmp_path.iterdir()] == ["out.h5"]


def convert_to(source, out):
    convert(Request(source, out))
    return out
