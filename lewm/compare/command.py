"""The work of `lewm compare`: does what is missing, and writes the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm.compare.expansion import Work, expand
from lewm.compare.found import Found
from lewm.compare.gather import gather
from lewm.compare.jobs import Job
from lewm.compare.page import write_comparison
from lewm.compare.processes import Share
from lewm.compare.records import Place
from lewm.compare.result import JSON, Comparison
from lewm.compare.spec import Spec
from lewm.compare.timing import SHARED
from lewm.compare.work import POLL, OnProgress, States, forget_failures, work
from lewm.files import check_writable
from lewm.report_files import write_report

log = logging.getLogger(__name__)

ALONE = Share()
FINISH = "finish-"  # with the name of a specification: who holds its lock writes the result


@dataclass(frozen=True)
class CompareRequest:
    """What `lewm compare` asks for.

    Attributes:
        name: Name of the specification.
        spec: The specification, with the options that were given.
        worlds: The worlds; all that are not optional when empty.
        only: Title of the group that is asked for; all when None.
        out: Folder of the result; $LEWM_HOME/compare/NAME when None.
        share: This process among those that do the work.
        retry: Whether what failed before is tried again.
        single_file: Whether the page is one file with everything inside.
    """

    name: str
    spec: Spec
    worlds: Collection[str] = ()
    only: str | None = None
    out: Path | None = None
    share: Share = ALONE
    retry: bool = False
    single_file: bool = False

    def work(self, place: Place) -> Work:
        """The tables and the jobs."""
        return expand(self.spec, place, self.worlds, self.only)

    def folder(self, place: Place) -> Path:
        """Where the result is written."""
        return self.out or place.root / self.name


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
        LewmError: The specification has a fault, nothing can be written, or processes cannot share the work.
        DataError: A dataset that is to be there cannot be read.
    """
    place = Place.default()
    todo = request.work(place)
    check_writable(request.folder(place), "Give --out a folder that you can write to.")
    if request.retry:
        forget_failures(place, todo.jobs)
    alone = request.share.of == 1 and others is None
    finish = f"{FINISH}{request.name}"
    with ExitStack() as stack:
        writes = others is not None and stack.enter_context(place.locked(finish, alone))
        if others is not None:
            others(States(place, todo.jobs))
        work(place, todo.jobs, request.share, device, on_progress)
        if not (writes or stack.enter_context(place.locked(finish, alone))):
            return None
        jobs = {job.name: job for tables in todo.worlds for job in Found(place, todo).timing(tables)}
        _time(place, jobs, device, lambda progress: on_progress(progress.after(len(todo.jobs))))
        return show(request, place)


def show(request: CompareRequest, place: Place) -> Comparison:
    """Writes the result of what is there: compare.json, and the page."""
    comparison = gather(Found(place, request.work(place)), request.name)
    folder = request.folder(place)
    folder.mkdir(parents=True, exist_ok=True)
    write_report(folder / JSON, comparison)
    write_comparison(comparison, folder, request.single_file)
    return comparison


def listed(request: CompareRequest, place: Place) -> list[tuple[str, str]]:
    """Every job with what has become of it: "done", "failed" or "to do"."""
    states = States(place, request.work(place).jobs)
    states.look_at_all()
    return [
        (job.title, "done" if name in states.done else "failed" if name in states.failed else "to do")
        for name, job in states.jobs.items()
    ]


def _time(place: Place, jobs: Mapping[str, Job], device: torch.device, on_progress: OnProgress) -> None:
    """Times the methods when no process is at work on any comparison."""
    states = States(place, jobs)
    states.look_at_all()
    while any(states.is_open(name) for name in jobs):
        with place.locked(SHARED, alone=True) as free:
            busy = [name for name in place.at_work() if name != SHARED and not name.startswith(FINISH)]
            if free and not busy:
                work(place, jobs, ALONE, device, on_progress)
                return
        on_progress(states.progress(["waiting until nobody else is at work, to time the plans"]))
        time.sleep(POLL)
