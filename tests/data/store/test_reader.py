import inspect
import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.clips import ClipBatch, Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.reader import READ_AHEAD, THREAD, BatchReader, ClipOrder
from lewm_data.store.writer import Writer


@pytest.fixture
def clips(tmp_path):
    """23 clips of one frame, which says which it is."""
    pixels = np.zeros((23, 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(23)
    with Writer.create(tmp_path / "a.h5") as writer:
        writer.write_episode({"pixels": pixels, "action": np.zeros((23, 1), np.float32)})
    with Dataset.open(tmp_path / "a.h5") as dataset:
        yield Clips(dataset, 1, 1)


def numbers(batch):
    return batch.frames[:, 0, 0, 0, 0].tolist()


def take(clips, count, **arguments):
    with BatchReader(clips, **{"batch_size": 5, "seed": 3, "prepare": numbers, **arguments}) as reader:
        return [next(reader) for _ in range(count)]


def test_an_epoch_visits_every_clip_once_but_the_odd_rest(clips):
    batches = take(clips, 12)
    for epoch in range(3):
        visited = [number for batch in batches[4 * epoch : 4 * epoch + 4] for number in batch]
        assert len(visited) == len(set(visited)) == 20
    assert batches[:4] != batches[4:8]
    assert {number for batch in take(clips, 80) for number in batch} == set(range(23))


def test_resuming_at_any_step_continues_the_same_sequence(clips):
    batches = take(clips, 14)
    for step in (1, 4, 6, 13):
        assert take(clips, 14 - step, start_step=step) == batches[step:]
    assert take(clips, 4, seed=4) != batches[:4]


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_parts_of_all_ranks_are_the_batches_of_one_process(clips, ranks):
    parts = [take(clips, 9, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert [list(itertools.chain(*step)) for step in zip(*parts, strict=True)] == take(clips, 9)
    assert max(len(part[0]) for part in parts) - min(len(part[0]) for part in parts) <= 1


def test_more_ranks_than_clips_of_a_batch(clips):
    with pytest.raises(DataError, match=r"a batch of 5 clips cannot be read in 6 parts\n"):
        take(clips, 1, ranks=6)


def test_order_stays_the_same_over_releases():
    order = ClipOrder(7, 3, seed=0)
    assert [order(step).tolist() for step in (0, 1, 2)] == [[5, 3, 2], [4, 1, 0], [6, 2, 1]]
    assert order(0).tolist() == [5, 3, 2]  # and backwards


def test_batches_too_large_for_the_data(clips):
    with pytest.raises(DataError, match=r"23 clips are not enough for a batch of 24\n"):
        BatchReader(clips, 24, 0, numbers)


class SlowClips:
    """Counts what is read; waits for leave before every batch."""

    def __init__(self, fail_at=None):
        self.count, self.leave = 0, threading.Semaphore(0)
        self.bad = None if fail_at is None else ClipOrder(100, 2, seed=0)(fail_at).tolist()

    def __len__(self):
        return 100

    def read(self, indices):
        self.leave.acquire()
        if indices.tolist() == self.bad:
            raise OSError("the disk is gone")
        self.count += 1
        frames = np.zeros((len(indices), 1, 1, 1, 3), np.uint8)
        return ClipBatch(frames, np.zeros((len(indices), 1, 1), np.float32))


def reader_of(monkeypatch, source, prepare=numbers):
    clips = Clips.__new__(Clips)  # the annotations accept nothing else
    monkeypatch.setattr(Clips, "__len__", lambda _: len(source))
    clips.read = source.read
    return BatchReader(clips, 2, 0, prepare)


def reached(count, of):
    """Whether `of()` gets to `count`, and no further in a while."""
    deadline = time.monotonic() + 5
    while of() < count and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    return of() == count


def test_reads_ahead_but_not_without_bound(monkeypatch):
    source = SlowClips()
    source.leave.release(1000)
    with reader_of(monkeypatch, source) as reader:
        assert reached(READ_AHEAD, lambda: source.count)
        next(reader)
        assert reached(READ_AHEAD + 1, lambda: source.count)


def test_prepares_one_batch_ahead_in_the_background(monkeypatch):
    source, threads = SlowClips(), []
    source.leave.release(1000)

    def prepare(batch):
        threads.append(threading.current_thread())
        return len(threads), batch.frames.shape

    with reader_of(monkeypatch, source, prepare) as reader:
        assert reached(1, lambda: len(threads))
        assert next(reader) == (1, (2, 1, 1, 1, 3))
        assert reached(2, lambda: len(threads))
        assert next(reader)[0] == 2
    assert threading.current_thread() not in threads


def test_counts_the_time_spent_waiting(monkeypatch):
    """The clock goes on by 2.5 s while the first batch is prepared, once `next` has looked at the clock."""
    source, now, looked = SlowClips(), [5.0], threading.Event()
    source.leave.release(1000)

    def prepare(batch):
        looked.wait()
        now[0] = 7.5
        return batch

    def clock():
        shown = now[0]
        looked.set()
        return shown

    monkeypatch.setattr(inspect.getmodule(BatchReader), "time", SimpleNamespace(perf_counter=clock))
    with reader_of(monkeypatch, source, prepare) as reader:
        next(reader)
    assert reader.wait_seconds == 2.5


def test_two_batches_are_read_at_once_and_arrive_in_their_order(monkeypatch):
    """The second is read first: the first waits for it."""
    source, order = SlowClips(), ClipOrder(100, 2, seed=0)
    source.leave.release(1000)
    read, later = source.read, threading.Event()

    def read_out_of_order(indices):
        if indices.tolist() == order(0).tolist():
            assert later.wait(60)
        batch = read(indices)
        if indices.tolist() == order(1).tolist():
            later.set()
        return ClipBatch(batch.frames, np.broadcast_to(indices[:, None, None], (2, 1, 1)).astype(np.float32))

    source.read = read_out_of_order
    with reader_of(monkeypatch, source, lambda batch: batch.actions[:, 0, 0].tolist()) as reader:
        assert [next(reader) for _ in range(6)] == [order(step).tolist() for step in range(6)]


def fails_at_the_third(reader, message):
    next(reader)
    next(reader)
    with pytest.raises(OSError, match=message):
        next(reader)
    assert list(reader) == []  # closed
    reader.close()


def test_errors_of_the_thread_reach_the_caller_after_the_batches_before(monkeypatch):
    source = SlowClips(fail_at=2)
    source.leave.release(1000)
    fails_at_the_third(reader_of(monkeypatch, source), "the disk is gone")


def test_errors_of_preparation_reach_the_caller_too(monkeypatch):
    def prepare(_):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("no memory is left")

    source, calls = SlowClips(), []
    source.leave.release(1000)
    fails_at_the_third(reader_of(monkeypatch, source, prepare), "no memory is left")


def test_close_ends_the_thread_and_the_iteration(clips):
    reader = BatchReader(clips, 5, 0, numbers)
    next(reader)
    assert background()
    reader.close()
    assert not background()
    with pytest.raises(StopIteration):
        next(reader)
    reader.close()


def background():
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)]
