"""Episodes played by worker processes: when a worker dies, another plays its episodes."""

import contextlib
import logging
import multiprocessing
import os
import secrets
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from lewm_data.collection.episodes import NextEpisode, Seconds, Settings
from lewm_data.collection.recorder import Columns
from lewm_data.collection.worker import Failed, Finished, Task, discard, take, work
from lewm_data.envs import registry
from lewm_data.envs.world import World
from lewm_data.errors import DataError

logger = logging.getLogger(__name__)

TASKS = 2  # the most tasks of a worker: it plays one while its last episode is being written
ATTEMPTS = 3  # the most attempts at an episode in which a worker dies
GRACE = 5.0  # seconds in which a worker without tasks has to end by itself


class WorkerError(Exception):
    """An error in a worker; the text is its traceback."""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    tasks: list[Task] = field(default_factory=list)  # tasks that it has not answered; it works on the first


class Pool:
    """Plays episodes in worker processes, each with one environment: the counterpart of `Player`.

    Args:
        world: A world that `registry.world` knows, because workers find it by name.
        settings: Settings of the episodes.
        workers: Number of processes.

    Raises:
        DataError: `registry.world` does not know the world.
    """

    def __init__(self, world: World, settings: Settings, workers: int) -> None:
        if registry.world(world.name).drawn(world.detail).fitted(world.fit) is not world:
            raise DataError(
                f"{world.name} is not the world that workers know by this name", "Collect in one process: workers=0."
            )
        self.seconds = Seconds()
        self._world, self._settings = world, settings
        self._blocks = f"lewm-{os.getpid()}-{secrets.token_hex(4)}"
        self._deaths: Counter[int] = Counter()
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(_Worker(*self._start()))
        except BaseException:
            self.close()
            raise

    def play(self, next_episode: NextEpisode) -> Iterator[tuple[int, Columns]]:
        """Plays until no worker has an episode and no further episode can begin.

        Yields:
            Each episode when it ends, with its columns.

        Raises:
            DataError: An episode cannot be played; the cause has the traceback of its worker.
        """
        while True:
            self._hand_out(next_episode)
            busy = {worker.connection: worker for worker in self._workers if worker.tasks}
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]  # `wait` returns only what it was given
                try:
                    answer: Finished | Failed = worker.connection.recv()
                except (EOFError, OSError):
                    self._replace(worker)
                    continue
                if isinstance(answer, Failed):
                    raise self._error(answer, worker.tasks[0].episode)
                task = worker.tasks[0]
                columns = take(task.block, answer.layout)
                worker.tasks.pop(0)  # not earlier: a block that was not taken is removed with its task
                self.seconds.stepping += answer.stepping
                self.seconds.acting += answer.acting
                yield task.episode, columns

    def close(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            if worker.tasks:
                worker.process.kill()
            worker.connection.close()
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def _hand_out(self, next_episode: NextEpisode) -> None:
        """Gives the workers their next tasks in turn, one task at a time, so that all of them have some."""
        for count in range(1, TASKS + 1):
            for worker in self._workers:
                if len(worker.tasks) < count:
                    episode = next_episode()
                    if episode is None:
                        return
                    task = Task(episode, f"{self._blocks}-{episode}")
                    worker.tasks.append(task)
                    _tell(worker, task)

    def _replace(self, worker: _Worker) -> None:
        """Starts a worker in the place of one that died, with the same tasks.

        Raises:
            DataError: Too many workers have died in this episode.
        """
        _end(worker)
        episode = worker.tasks[0].episode
        self._deaths[episode] += 1
        how = _ending(worker.process.exitcode)
        if self._deaths[episode] == ATTEMPTS:
            raise DataError(
                f"episode {episode} of seed {self._settings.seed}: its worker {how}, at each of {ATTEMPTS} attempts",
                "Where memory is short, use fewer --workers; with --workers 0 it would be this process that ends.",
            )
        logger.warning("a worker %s in episode %d, which is begun again", how, episode)
        worker.process, worker.connection = self._start()
        for task in worker.tasks:
            _tell(worker, task)

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")  # a fork would share threads, locks and GL contexts
        ours, theirs = context.Pipe()
        place = self._world
        arguments = (theirs, place.name, place.detail, place.fit, self._settings)
        process = context.Process(target=work, args=arguments, daemon=True)
        with _interrupts_blocked():
            process.start()
        theirs.close()
        return process, ours

    def _error(self, answer: Failed, episode: int) -> DataError:
        error = DataError(
            answer.problem if answer.remedy else f"episode {episode} of seed {self._settings.seed}: {answer.problem}",
            answer.remedy or "Set LEWM_DEBUG=1 for the traceback of its worker.",
        )
        error.__cause__ = WorkerError(f"in a worker:\n{answer.traceback}")
        return error


def _tell(worker: _Worker, task: Task) -> None:
    with contextlib.suppress(OSError):  # the worker has died, which is noticed where its answer is awaited
        worker.connection.send(task)


def _end(worker: _Worker) -> None:
    """Waits for the end of a worker that has been killed, has died or has nothing to do."""
    worker.connection.close()
    worker.process.join(GRACE)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    for task in worker.tasks:
        discard(task.block)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started in this block never sees Ctrl-C, which the main process answers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else multiprocessing starts it in the block, and its start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
