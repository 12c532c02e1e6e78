"""Does the jobs that are left, together with whatever other processes do the same: none of them is done twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from lewm.compare.jobs import Job
from lewm.compare.processes import Share
from lewm.compare.records import TIMING, Place, Record
from lewm.locks import LockedError
from lewm.provenance import commit, versions
from lewm_data.disk import NO_ROOM

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at what other processes have done


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes:
        done: Jobs that are done, or that cannot be done.
        total: All jobs.
        failed: Those among them that failed, or that need one that failed.
        doing: What is done now, in words.
        share: Which part of it is done; None where that is not known.
    """

    done: int
    total: int
    failed: int
    doing: tuple[str, ...]
    share: float | None

    def after(self, others: int) -> Progress:
        """The same where so many other jobs have been done before."""
        return replace(self, done=self.done + others, total=self.total + others)


OnProgress = Callable[[Progress], None]


@dataclass
class States:
    """What has become of the jobs, as far as it was looked at: a job that is done stays done.

    Attributes:
        place: Where the records are.
        jobs: The jobs, each after those that it needs.
    """

    place: Place
    jobs: Mapping[str, Job]

    def __post_init__(self) -> None:
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}  # what is said of each

    def look(self, name: str) -> None:
        """Looks whether a job has been done, or has failed, or needs one that failed."""
        if name in self.done or name in self.failed:
            return
        job = self.jobs[name]
        for needed in job.needs:
            if needed in self.failed:
                self.failed[name] = self.failed[needed]
                return
            if needed not in self.done:
                return
        record = self.place.read(name)
        if record is None:
            return
        if record.result is None:
            self.failed[name] = record.problem
        elif job.is_made(record.result):
            self.done.add(name)

    def look_at_all(self) -> None:
        """Looks at every job."""
        for name in self.jobs:
            self.look(name)

    def is_ready(self, name: str) -> bool:
        """Whether a job can be done now."""
        return self.is_open(name) and all(needed in self.done for needed in self.jobs[name].needs)

    def is_open(self, name: str) -> bool:
        """Whether a job is neither done nor failed."""
        return name not in self.done and name not in self.failed

    def progress(self, doing: Sequence[str] = (), share: float | None = None) -> Progress:
        """How far the work is."""
        failed = len(self.failed)
        return Progress(len(self.done) + failed, len(self.jobs), failed, tuple(doing), share)


def forget_failures(place: Place, jobs: Mapping[str, Job]) -> None:
    """Removes the records of jobs that failed, as a whole or in parts, so that they are tried again."""
    for name in jobs:
        record = place.read(name)
        if record is not None and record.has_failures:
            place.forget(name)


def made_by() -> dict[str, str]:
    """The versions and the commit of this program."""
    revision = commit()
    return versions() | ({"commit": revision} if revision else {})


def work(
    place: Place,
    jobs: Mapping[str, Job],
    share: Share,
    device: torch.device,
    on_progress: OnProgress,
    times: bool = False,
) -> None:
    """Does jobs until none is left that can be done; waits for those that other processes are at.

    A job that fails is recorded with its error, and the others go on. While another process times plans, no job is
    begun.

    Args:
        place: Where everything is kept.
        jobs: The jobs.
        share: This process among those that do them.
        device: Where to train and plan.
        on_progress: Called whenever something has changed.
        times: Whether these jobs time plans, and this process holds the lock for it.

    Raises:
        LewmError: Nothing can be written any more, or the processes cannot share the work.
    """
    states, program = States(place, jobs), made_by()  # now, as files of the program may change while it runs

    def take(name: str) -> bool:
        with place.locked(name, alone=share.of == 1) as free:
            # In this order: who times plans takes the lock first, and then looks whether a job's lock is held.
            if not free or (place.is_locked(TIMING) and not times):
                return False
            return _do(states, name, program, device, on_progress)

    while True:
        states.look_at_all()
        if not any(states.is_open(name) for name in jobs):
            on_progress(states.progress())
            return
        ready = [name for name in jobs if states.is_ready(name)]
        begin = share.index * len(ready) // share.of
        if not any(take(name) for name in [*ready[begin:], *ready[:begin]]):
            waits = [f"waiting for {name}" for name in place.at_work([TIMING, *jobs])]
            on_progress(states.progress(waits[:1]))
            time.sleep(POLL)


def _do(states: States, name: str, program: Mapping[str, str], device: torch.device, on_progress: OnProgress) -> bool:
    """Does a job whose lock is held; returns whether something came of it."""
    job, place = states.jobs[name], states.place
    states.look(name)  # another process may have done it in between
    if not states.is_open(name):
        return True
    on_progress(states.progress([job.title], 0.0))
    begun, clock = time.time(), time.perf_counter()
    try:
        result = job.do(device, lambda done: on_progress(states.progress([job.title], done)))
    except LockedError:  # its run is being written: a policy of another kind, for example
        return False
    except BaseException as error:
        seconds = time.perf_counter() - clock
        place.note_attempt(name, begun, seconds)
        if not isinstance(error, Exception) or _concerns_all(error):
            raise
        record = Record.of_error(error, seconds, place.root, dict(program))
        log.warning("%s: failed: %s", job.title, record.problem)
    else:
        seconds = time.perf_counter() - clock
        place.note_attempt(name, begun, seconds)
        record = Record(result, "", "", "", seconds, dict(program))
    place.write(name, record)
    states.look(name)
    return True


def _concerns_all(error: BaseException) -> bool:
    """Whether no other job would do better: nothing can be written any more."""
    return any(isinstance(one, OSError) and one.errno in NO_ROOM for one in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
