"""Batches of clips, read ahead in the background; batch `step` depends on the seed and the step alone.

Shape letters: B clips of a batch.
"""

import queue
import threading
import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Int64

from lewm_data.clips import ClipBatch, Clips, shuffled
from lewm_data.errors import DataError

READ_AHEAD = 4  # batches; at 128 clips of 4 frames of 64×64 pixels, 25 MB


class BatchReader:
    """An endless iterator of `ClipBatch`: an epoch visits the clips once, in a new order, less the odd rest.

    A run that is resumed at step k sees what an uninterrupted one saw: start with `start_step=k`. Close it
    after use, or use `with`.

    Args:
        clips: Where the batches come from; its dataset stays open.
        batch_size: B.
        seed: Of the order, at least 0.
        start_step: The first batch, counted from 0 at the beginning of training.

    Attributes:
        wait_seconds: How long `next` has waited for a batch, altogether.

    Raises:
        DataError: Fewer clips than a batch.
    """

    def __init__(self, clips: Clips, batch_size: int, seed: int, start_step: int = 0) -> None:
        if not 1 <= batch_size <= len(clips):
            raise DataError(
                f"{clips.dataset.path}: {len(clips)} clips are not enough for a batch of {batch_size}",
                "Use a smaller batch, or collect more episodes.",
            )
        self.wait_seconds = 0.0
        self._order = ClipOrder(len(clips), batch_size, seed)
        self._batches: queue.SimpleQueue[ClipBatch | BaseException] = queue.SimpleQueue()
        self._room = threading.Semaphore(READ_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_read_ahead,
            args=(clips.read, self._order, start_step, self._batches, self._room, self._stop),
            name="lewm-batches",
            daemon=True,
        )
        self._thread.start()

    def __iter__(self) -> "BatchReader":
        return self

    def __next__(self) -> ClipBatch:
        if self._stop.is_set():
            raise StopIteration
        began = time.perf_counter()
        batch = self._batches.get()
        self.wait_seconds += time.perf_counter() - began
        self._room.release()
        if isinstance(batch, BaseException):
            self.close()
            raise batch
        return batch

    def close(self) -> None:
        """Ends the background thread; iteration stops."""
        self._stop.set()
        self._room.release()
        self._thread.join()

    def __enter__(self) -> "BatchReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClipOrder:
    """Which clips make up batch `step`: a permutation of all clips per epoch, keyed by (seed, epoch)."""

    def __init__(self, num_clips: int, batch_size: int, seed: int) -> None:
        self._num_clips, self._batch_size, self._seed = num_clips, batch_size, seed
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def __call__(self, step: int) -> Int64[np.ndarray, "B"]:
        """The clips of batch `step`."""
        epoch, batch = divmod(step, self._num_clips // self._batch_size)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, shuffled(self._num_clips, self._seed, stream=epoch + 1)
        return self._permutation[batch * self._batch_size : (batch + 1) * self._batch_size]


def _read_ahead(
    read: Callable[[np.ndarray], ClipBatch],
    order: ClipOrder,
    step: int,
    batches: "queue.SimpleQueue[ClipBatch | BaseException]",
    room: threading.Semaphore,
    stop: threading.Event,
) -> None:
    """The background thread: whatever goes wrong in it is raised by `next`."""
    try:
        while True:
            room.acquire()
            if stop.is_set():
                return
            batches.put(read(order(step)))
            step += 1
    except BaseException as error:  # handed to the reader's own thread, which raises it
        batches.put(error)
