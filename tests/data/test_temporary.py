"""Temporary files and claims: nobody else's are touched, and what a killed process leaves goes with the next one."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lewm_data.temporary import claimed, clear, replacing, temporary_folder

HOLD = """
import sys, pathlib
from lewm_data.temporary import claimed, replacing
folder = pathlib.Path(sys.argv[1])
with claimed(folder / "plan-20260321-141500.json") as path, replacing(folder / "weights.bin") as temporary:
    path.with_suffix("").mkdir()
    (path.with_suffix("") / "episode-0000.mp4").write_text("film")
    temporary.write_text("half")
    print(path.name, flush=True)
    sys.stdin.read()
"""


def holder(folder):
    """A process that has claimed a report and is writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline()
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    kill(holder(tmp_path))
    assert len(list(tmp_path.iterdir())) == 3
    with replacing(tmp_path / "other.txt") as temporary:
        temporary.write_text("whole")
    assert [one.name for one in tmp_path.iterdir()] == ["other.txt"]


def test_what_a_living_process_holds_stays(tmp_path):
    process = holder(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    clear(tmp_path)
    with claimed(tmp_path / "plan-20260321-141500.json") as path:
        assert path.name == "plan-20260321-141500-2.json"
    assert sorted(tmp_path.rglob("*")) == before
    kill(process)


def test_the_pictures_of_a_report_that_was_written_stay(tmp_path):
    process = holder(tmp_path)
    (tmp_path / "plan-20260321-141500.json").write_text("{}")
    kill(process)
    clear(tmp_path)
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {"plan-20260321-141500.json", "plan-20260321-141500"}


def test_what_is_not_ours_stays(tmp_path):
    kill(holder(tmp_path))
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    for name in (".mine-12345678.lewm.txt", ".mine-1234567g.lewm", "mine-12345678.lewm"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".mine-12345678.lewm").symlink_to(outside)
    os.mkfifo(tmp_path / ".mine-87654321.lewm")
    (tmp_path / "src").mkdir()
    (tmp_path / ".src.json.claim.lewm").touch()  # a claim of ours goes with the folder of a report alone
    clear(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} >= {
        *(".mine-12345678.lewm.txt", ".mine-1234567g.lewm", "mine-12345678.lewm", ".mine-12345678.lewm"),
        "src",
    }
    assert (outside / "mine").read_text() == "mine"


def test_names_are_given_once(tmp_path):
    with claimed(tmp_path / "a.json") as first, claimed(tmp_path / "a.json") as second:
        assert (first.name, second.name) == ("a.json", "a-2.json")
        first.write_text("{}")
        (tmp_path / "a-3").mkdir()
        with claimed(tmp_path / "a.json") as third:
            assert third.name == "a-4.json"
    assert {one.name for one in tmp_path.iterdir()} == {"a.json", "a-3"}


def test_a_name_is_free_again_after_a_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "a.json"):
        raise ZeroDivisionError
    with claimed(tmp_path / "a.json") as path:
        assert path.name == "a.json"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_file_gets_the_mode_of_a_new_one(tmp_path, mask):
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_a_library_puts_beside_its_file_goes_too(tmp_path):
    def fill_the_disk(temporary):
        temporary.with_name("part").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.txt") as temporary:
        fill_the_disk(temporary)
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "named"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_full_disk_is_named_by_the_file_that_did_not_fit(tmp_path, number, named):
    class ForeignError(OSError):  # like PyAV's errors, whose name cannot be set
        filename = None

    with pytest.raises(OSError, match=os.strerror(number)) as caught, replacing(tmp_path / "a.txt"):
        raise ForeignError(number, os.strerror(number))
    assert caught.value.filename == (str(tmp_path / "a.txt") if named else None)


def test_long_names_leave_room_for_the_folder(tmp_path):
    name = "é" * 125 + ".txt"
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_process_that_is_taken_for_dead_before_it_locks_begins_again(tmp_path, monkeypatch):
    opened, taken = os.open, []

    def open_late(path, flags, *mode, dir_fd=None):
        handle = opened(path, flags, *mode, dir_fd=dir_fd)
        if not taken:  # another process finds what is not locked yet
            taken.append(Path(path))
            clear(tmp_path)
        return handle

    monkeypatch.setattr(os, "open", open_late)
    with claimed(tmp_path / "a.json") as path:
        assert path.name == "a.json"
        assert (tmp_path / ".a.json.claim.lewm").exists()
    taken.clear()
    with temporary_folder(tmp_path / "a.txt") as folder:
        assert folder.is_dir()
        assert folder != taken[0]
