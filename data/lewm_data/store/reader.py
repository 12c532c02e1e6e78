"""Batches of clips, which are read ahead in the background. Batch `step` depends on the seed and the step alone.

Several processes that train together, one of each rank, read parts of the same batches.

Shape letters: B clips of a batch, P clips of it that this process reads.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int64

from lewm_data.errors import DataError
from lewm_data.store.clips import ClipBatch, Clips, shuffled

READ_AHEAD = 4  # batches; at 128 clips of 4 frames of 64×64 pixels, 25 MB
READING = 3  # batches that are read at once: a disk has work while the last frames of one are waited for
THREAD = "lewm-batches"

T = TypeVar("T")


class BatchReader(Generic[T]):
    """An endless iterator of batches. An epoch visits each clip once, in a new order, except for an incomplete batch.

    A run that is resumed at step k with `start_step=k` sees the same batches as an uninterrupted one. Close the
    reader after use, or use `with`.

    Args:
        clips: The clips of the batches; their dataset stays open.
        batch_size: B.
        seed: Seed of the order, at least 0.
        prepare: Turns a batch into the value that `next` returns. It is called in the background thread, and only one
            batch ahead of `next`, because its results may lie where memory is scarce.
        start_step: The first batch, counted from 0 at the beginning of training.
        rank: Which part of each batch is read, from 0 to `ranks` - 1.
        ranks: In how many parts the batches are read; one after the other they are the batch.

    Attributes:
        wait_seconds: The total time that `next` has waited for batches.

        Raises:
            DataError: There are fewer clips than a batch needs.
    """

    def __init__(
        self,
        clips: Clips,
        batch_size: int,
        seed: int,
        prepare: Callable[[ClipBatch], T],
        start_step: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        check_batch_size(clips, batch_size, ranks)
        self.wait_seconds = 0.0
        self._clips, self._prepare, self._step = clips, prepare, start_step
        self._order = ClipOrder(len(clips), batch_size, seed, rank, ranks)
        self._closed = False
        self._readers = ThreadPoolExecutor(READING, thread_name_prefix=THREAD)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=THREAD)  # which prepares them, in their order
        self._read: deque[Future[ClipBatch]] = deque()
        self._read_next()
        self._prepared = self._prepare_next()
        for _ in range(READ_AHEAD - 1):
            self._read_next()

    def __iter__(self) -> "BatchReader[T]":
        return self

    def __next__(self) -> T:
        if self._closed:
            raise StopIteration
        batch, self._prepared = self._prepared, self._prepare_next()
        self._read_next()
        began = time.perf_counter()
        try:
            return batch.result()
        except BaseException:
            self.close()
            raise
        finally:
            self.wait_seconds += time.perf_counter() - began

    def close(self) -> None:
        """Ends the background threads; iteration stops."""
        self._closed = True
        self._readers.shutdown(cancel_futures=True)
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> "BatchReader[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_next(self) -> None:
        self._read.append(self._readers.submit(self._read_step, self._step))
        self._step += 1

    def _read_step(self, step: int) -> ClipBatch:
        return self._clips.read(self._order(step))

    def _prepare_next(self) -> Future[T]:
        read = self._read.popleft()
        return self._thread.submit(lambda: self._prepare(read.result()))


def check_batch_size(clips: Clips, batch_size: int, ranks: int = 1) -> None:
    """Pass if there are clips for a batch of that size, and one of them for each rank.

    Raises:
        DataError: There are fewer.
    """
    if batch_size < ranks:
        raise DataError(f"a batch of {batch_size} clips cannot be read in {ranks} parts", "Use a larger --batch-size.")
    if not 1 <= batch_size <= len(clips):
        raise DataError(
            f"{clips.dataset.path}: {len(clips)} clips are not enough for a batch of {batch_size}",
            "Use a smaller --batch-size, or collect more episodes.",
        )


class ClipOrder:
    """The clips of batch `step`, or one rank's part of them, from a permutation of all clips in each epoch.

    It is keyed by (seed, epoch), so all ranks see the same one, however many they are.
    """

    def __init__(self, num_clips: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self._num_clips, self._batch_size, self._seed = num_clips, batch_size, seed
        self._part = slice(batch_size * rank // ranks, batch_size * (rank + 1) // ranks)
        self._lock = threading.Lock()
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def __call__(self, step: int) -> Int64[np.ndarray, "P"]:
        """The clips of batch `step` that this rank reads."""
        epoch, batch = divmod(step, self._num_clips // self._batch_size)
        with self._lock:
            if epoch != self._epoch:
                self._epoch, self._permutation = epoch, shuffled(self._num_clips, self._seed, stream=epoch + 1)
            return self._permutation[batch * self._batch_size : (batch + 1) * self._batch_size][self._part]
