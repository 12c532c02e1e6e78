"""The lock of a run: one writer at a time, told who the other is, and nothing left of it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lewm import locks
from lewm.errors import LewmError

HOLD = "import sys; from pathlib import Path; from lewm import locks\nwith locks.writing(Path(sys.argv[1])):\n"
HOLD += "    print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_writer_is_told_who_the_first_is_and_a_dead_one_holds_nothing(tmp_path, holder):
    with pytest.raises(locks.LockedError) as caught, locks.writing(tmp_path, "Wait."):
        pytest.fail("locked twice")
    problem, remedy = str(caught.value).splitlines()
    assert problem.startswith(f"{tmp_path}: is being written by process {holder.pid} on ")
    assert str(tmp_path) in problem.partition(" UTC: ")[2]
    assert remedy == "Wait."
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / locks.LOCK).exists()
    with locks.writing(tmp_path) as held:
        assert held
        assert json.loads((tmp_path / locks.LOCK).read_text())["process"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_before_it_was_taken_is_taken_anew(tmp_path, monkeypatch):
    """Between the opening and the locking of the file, its last holder ends and removes it."""
    lock, calls = locks.fcntl.flock, []

    def flock(handle, operation):
        if not calls:
            (tmp_path / locks.LOCK).unlink()
        calls.append(handle)
        lock(handle, operation)

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.writing(tmp_path) as held:
        assert held
        assert len(calls) == 2
        with pytest.raises(locks.LockedError), locks.writing(tmp_path):
            pytest.fail("locked twice")


def test_without_locks_the_block_runs_and_says_that_nothing_is_held(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.writing(tmp_path) as held:
        assert not held
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_named_and_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "precious"
    elsewhere.write_text("kept")
    run = tmp_path / "run"
    run.mkdir()
    (run / locks.LOCK).symlink_to(elsewhere)
    with pytest.raises(LewmError, match=f"{run}: cannot be written"), locks.writing(run):
        pytest.fail("locked")
    assert elsewhere.read_text() == "kept"
