"""The work of `lewm compare`: does what is missing, and writes the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm.compare.cells import digest
from lewm.compare.expansion import Work, expand
from lewm.compare.found import Found
from lewm.compare.gather import gather
from lewm.compare.jobs import Job
from lewm.compare.page import check_page, write_comparison
from lewm.compare.processes import Share
from lewm.compare.records import FINISH, TIMING, Place
from lewm.compare.result import JSON, Comparison
from lewm.compare.spec import Spec, slug
from lewm.compare.timing import stale
from lewm.compare.work import POLL, OnProgress, States, forget_failures, work
from lewm.files import check_writable
from lewm.report_files import write_report

log = logging.getLogger(__name__)

ALONE = Share()
LABEL = 60  # characters of a group's title in the name of a result


@dataclass(frozen=True)
class CompareRequest:
    """What `lewm compare` asks for.

    Attributes:
        name: Name of the result: that of the specification, or of a part of it, see `name_of`.
        spec: The specification, with the options that were given.
        worlds: The worlds; all that are not optional when empty.
        only: Title of the group that is asked for; all when None.
        out: Folder of the result; $LEWM_HOME/compare/results/NAME when None.
        share: This process among those that do the work.
        retry: Whether what failed before is tried again.
        single_file: Whether the page is one file with everything inside.
        call: See `Comparison.call`.
    """

    name: str
    spec: Spec
    worlds: Collection[str] = ()
    only: str | None = None
    out: Path | None = None
    share: Share = ALONE
    retry: bool = False
    single_file: bool = False
    call: tuple[str, ...] = ()

    def work(self, place: Place) -> Work:
        """The tables and the jobs."""
        return expand(self.spec, place, self.worlds, self.only)

    def folder(self, place: Place) -> Path:
        """Where the result is written."""
        return self.out or place.root / "results" / self.name

    @property
    def finish(self) -> str:
        """The lock of who writes the result."""
        return f"{FINISH}{self.name}" + (f"-{digest(str(self.out.resolve()))}" if self.out else "")


def name_of(spec: str, whole: Spec, asked: Spec, worlds: Collection[str], only: str | None) -> str:
    """The name of a result: a part of a specification has what was asked for in it, so as not to replace the whole.

    Args:
        spec: Name of the specification.
        whole: The specification.
        asked: The same with the options that were given.
        worlds, only: See `CompareRequest`.
    """
    usual = [name for name, data in whole.worlds.items() if not data.optional]
    parts = [f"world-{name}" for name in whole.worlds if name in worlds and set(worlds) != set(usual)]
    parts += [] if only is None else [f"only-{slug(only)[:LABEL]}"]
    parts += [f"seeds-{'-'.join(map(str, asked.seeds))}"] if asked.seeds != whole.seeds else []
    parts += [f"tasks-{asked.tasks.count}"] if asked.tasks != whole.tasks else []
    return "--".join([spec, *parts])


def compare(
    request: CompareRequest,
    device: torch.device,
    on_progress: OnProgress = lambda progress: None,
    others: Callable[[States], None] | None = None,
) -> Comparison | None:
    """Does the jobs that are left, together with other processes; the last of these times and writes the result.

    Args:
        request: What is asked for.
        device: Where to train and plan.
        on_progress: Called whenever something has changed.
        others: Has other processes do the jobs, and returns when they have ended; this process then does what they
            have left, and writes the result. When None, this process works with those that do the same.

    Returns:
        The result; None where another process writes it.

    Raises:
        LewmError: The specification has a fault, nothing can be written, something else lies where the page is to be,
            or processes cannot share the work.
        DataError: A dataset that is to be there cannot be read.
    """
    place = Place.default()
    todo = request.work(place)
    check_page(request.name, request.folder(place), request.single_file)  # before work of hours
    check_writable(request.folder(place), "Give --out a folder that you can write to.")
    if request.retry and request.share.index == 0:  # once, as another process may have failed since
        forget_failures(place, {**todo.jobs, **todo.timings})
    alone = request.share.of == 1 and others is None
    with ExitStack() as stack:
        writes = others is not None and stack.enter_context(place.locked(request.finish, alone))
        if others is not None:
            others(States(place, todo.jobs))
        work(place, todo.jobs, request.share, device, on_progress)
        if not (writes or stack.enter_context(place.locked(request.finish, alone))):
            return None
        show(request, place)  # before the timing, which has to wait for others
        _time(place, todo.timings, device, lambda progress: on_progress(progress.after(len(todo.jobs))))
        return show(request, place)


def show(request: CompareRequest, place: Place) -> Comparison:
    """Writes the result of what is there: compare.json, and the page."""
    comparison = gather(Found(place, request.work(place)), request.name, request.call)
    folder = request.folder(place)
    write_comparison(comparison, folder, request.single_file)  # first: it refuses a folder that is not ours
    write_report(folder / JSON, comparison)
    return comparison


def listed(request: CompareRequest, place: Place, device: torch.device) -> list[tuple[str, str]]:
    """Every job with what has become of it: "done", "failed" or "to do" by a process that would use this device."""
    work = request.work(place)
    states = States(place, {**work.jobs, **work.timings})
    states.look_at_all()
    again = stale(place, work.timings, device)
    return [
        (
            job.title,
            "failed" if name in states.failed else "done" if name in states.done and name not in again else "to do",
        )
        for name, job in states.jobs.items()
    ]


def _time(place: Place, jobs: Mapping[str, Job], device: torch.device, on_progress: OnProgress) -> None:
    """Times the methods while no other process is at work on any comparison.

    Who holds the lock for it waits for the jobs that are under way, and nobody begins another one.
    """
    for name in stale(place, jobs, device):
        place.forget(name)
    states = States(place, jobs)
    states.look_at_all()
    while any(states.is_open(name) for name in jobs):
        with place.locked(TIMING, alone=True) as free:
            while free and place.at_work():
                _wait(states, on_progress)
            if free:
                work(place, jobs, ALONE, device, on_progress, times=True)
                return
        _wait(states, on_progress)


def _wait(states: States, on_progress: OnProgress) -> None:
    on_progress(states.progress(["waiting until nobody else is at work, to time the plans"]))
    time.sleep(POLL)
