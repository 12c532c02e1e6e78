"""Reads of many parts of a file: what is in memory is copied, the disk is asked for the rest at once."""

import errno
import os

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
        self.there, self.events, self.read = set(there), [], os.preadv
        monkeypatch.setattr(os, "preadv", self.preadv)
        monkeypatch.setattr(os, "posix_fadvise", lambda _, start, *rest: self.events.append(("advise", start // SIZE)))
        monkeypatch.setattr(disk_reads, "AT_ONCE", 8)

    def preadv(self, handle, buffers, start, flags=0):
        number = start // SIZE
        if flags and number not in self.there:
            raise BlockingIOError
        if not flags:
            self.events.append(("wait", number))
        return self.read(handle, buffers, start)


def test_the_disk_is_asked_for_everything_before_the_first_wait(stored, monkeypatch):
    path, handle = stored
    memory = Memory(monkeypatch, there=[3, 7])
    disk = DiskReads(path, handle)
    read(disk, path, [9, 3, 1, 7, 9])
    late = [9, 1, 9]
    assert memory.events == [("advise", number) for number in late] + [("wait", number) for number in late]
    assert disk.waited
    memory.events.clear()
    read(disk, path, [7, 3])
    assert memory.events == []
    assert not disk.waited


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
        self.asked, self.expected = [], []

    def read(self, rows):
        self.asked += rows.tolist()
        return np.repeat(rows.astype(np.uint8), 2 * 2 * 3).reshape(-1, 2, 2, 3)

    def expect(self, rows):
        self.expected += rows.tolist()


def test_kept_frames_are_read_once():
    source = Source()
    kept = KeptFrames(source, 30, (2, 2, 3))
    for rows in ([4, 9, 4], [9, 0, 12], [12, 4, 4, 0]):
        kept.expect(np.array(rows))
        frames = kept.read(np.array(rows))
        np.testing.assert_array_equal(frames[:, 1, 1, 2], rows)
        frames[:] = 99  # a copy
    assert source.asked == source.expected == [4, 9, 0, 12]
    assert kept.read(np.array([], int)).shape == (0, 2, 2, 3)
