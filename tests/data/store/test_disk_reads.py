"""Reads of many parts of a file: what is in memory is copied, the disk is asked for the rest at once."""

import errno
import os
import threading

import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import disk_reads
from lewm_data.store.disk_reads import DiskReads
from lewm_data.store.kept_frames import KeptFrames

SIZE, COUNT = 5000, 40


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE * COUNT))
    with path.open("rb") as stream:
        yield path, stream.fileno()


def read(disk, path, numbers):
    buffers = np.empty((len(numbers), SIZE), np.uint8)
    disk.into(buffers, np.array(numbers, np.int64) * SIZE)
    wanted = np.frombuffer(path.read_bytes(), np.uint8).reshape(COUNT, SIZE)
    np.testing.assert_array_equal(buffers, wanted[numbers])


class Memory:
    """Stands for a system in whose memory some parts of the file are."""

    def __init__(self, monkeypatch, there):
        self.there, self.waited, self.read = set(there), [], os.preadv
        monkeypatch.setattr(os, "preadv", self.preadv)
        monkeypatch.setattr(disk_reads, "AT_ONCE", 8)

    def wait(self):
        """Other parts are read meanwhile."""

    def preadv(self, handle, buffers, start, flags=0):
        number = start // SIZE
        if flags and number not in self.there:
            raise BlockingIOError
        if not flags:
            self.waited.append(number)
            self.wait()
        return self.read(handle, buffers, start)


def test_parts_that_are_not_in_memory_are_waited_for_together(stored, monkeypatch):
    path, handle = stored
    memory = Memory(monkeypatch, there=[3, 7])
    together = threading.Barrier(3, timeout=60)
    monkeypatch.setattr(memory, "wait", together.wait)
    disk = DiskReads(path, handle)
    read(disk, path, [9, 3, 1, 7, 9])
    assert sorted(memory.waited) == [1, 9, 9]
    memory.waited.clear()
    read(disk, path, [7, 3] * 10)
    assert memory.waited == []


def test_the_system_is_asked_for_all_parts_before_one_is_waited_for(stored, monkeypatch):
    path, handle = stored
    memory, asked = Memory(monkeypatch, there=[3]), []
    monkeypatch.setattr(os, "posix_fadvise", lambda *advice: asked.append(advice))
    monkeypatch.setattr(memory, "wait", lambda: asked.append("waiting"))
    read(DiskReads(path, handle), path, [3, 9, 1])
    assert asked[:2] == [(handle, number * SIZE, SIZE, os.POSIX_FADV_WILLNEED) for number in (9, 1)]
    assert asked[2:] == ["waiting"] * 2


def test_a_system_that_takes_no_advice_still_reads(stored, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "no such advice")

    path, handle = stored
    Memory(monkeypatch, there=[])
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    read(DiskReads(path, handle), path, [5, 9])


def test_more_threads_wait_where_the_system_cannot_be_asked(stored, monkeypatch):
    path, handle = stored
    memory = Memory(monkeypatch, there=[])
    monkeypatch.setattr(disk_reads, "AHEAD", None)
    monkeypatch.delattr(os, "posix_fadvise")
    together = threading.Barrier(disk_reads.IN_FLIGHT, timeout=60)
    monkeypatch.setattr(memory, "wait", together.wait)
    read(DiskReads(path, handle), path, list(range(disk_reads.IN_FLIGHT)))


def test_what_follows_parts_that_are_not_in_memory_is_not_tried_alone(stored, monkeypatch):
    path, handle = stored
    memory = Memory(monkeypatch, there=[3, 20, 30])
    read(DiskReads(path, handle), path, [3, 4, *range(20, 34)])
    assert sorted(memory.waited) == [4, *range(21, 34)]


def test_more_parts_than_can_wait_together(stored, monkeypatch):
    path, handle = stored
    memory = Memory(monkeypatch, there=[])
    read(DiskReads(path, handle), path, [*range(COUNT), 5])
    assert sorted(memory.waited) == sorted([*range(COUNT), 5])


def test_a_part_that_is_half_in_memory_is_read_whole(stored, monkeypatch):
    path, handle = stored
    memory = Memory(monkeypatch, there=range(COUNT))
    whole = memory.preadv
    monkeypatch.setattr(os, "preadv", lambda *request: min(whole(*request), 4096 if len(request) == 4 else SIZE))
    read(DiskReads(path, handle), path, [4, 5])


def test_file_systems_that_cannot_say_what_is_in_memory(stored, monkeypatch):
    path, handle = stored
    memory, asked = Memory(monkeypatch, there=range(COUNT)), []
    whole = memory.preadv

    def refuse(*request):
        if len(request) == 4:
            asked.append(request)
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return whole(*request)

    monkeypatch.setattr(os, "preadv", refuse)
    disk = DiskReads(path, handle)
    read(disk, path, [4, 5])
    read(disk, path, [6])
    assert len(asked) == 1


def test_errors_of_the_disk(stored, monkeypatch):
    path, handle = stored

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DataError, match="cannot be read any more: Input/output error"):
        read(DiskReads(path, handle), path, [4])


def test_beyond_the_end(stored):
    path, handle = stored
    with pytest.raises(DataError, match="has become shorter while it was being read"):
        DiskReads(path, handle).into([np.empty(SIZE, np.uint8)], np.array([SIZE * COUNT - 10]))


class Source:
    """A reader that notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def read(self, rows):
        self.asked += rows.tolist()
        return np.repeat(rows.astype(np.uint8), 2 * 2 * 3).reshape(-1, 2, 2, 3)


def test_kept_frames_are_read_once():
    source = Source()
    kept = KeptFrames(source, 30, (2, 2, 3))
    for rows in ([4, 9, 4], [9, 0, 12], [12, 4, 4, 0]):
        frames = kept.read(np.array(rows))
        np.testing.assert_array_equal(frames[:, 1, 1, 2], rows)
        frames[:] = 99  # a copy
    assert source.asked == [4, 9, 0, 12]
    assert kept.read(np.array([], int)).shape == (0, 2, 2, 3)
