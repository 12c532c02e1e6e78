"""The work: order, failures, several processes, and what was there before."""

import contextlib
import errno
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from lewm.compare.jobs import Job
from lewm.compare.processes import Share
from lewm.compare.records import Place, Record
from lewm.compare.work import States, forget_failures, work
from lewm.errors import LewmError
from lewm.provenance import versions

CPU = torch.device("cpu")
ALONE = Share()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def make(place, name, needs=(), act=lambda: None):
    """A job that adds a line to a log; its result is there as long as its file is."""
    path = place.root / f"{name}.txt"

    def do(device, on_share):
        act()
        on_share(0.5)
        with (place.root / "log").open("a") as log:
            log.write(f"{name}\n")
        path.write_text(name)
        return {"name": name}

    return Job(name, f"doing {name}", needs, do, lambda result: path.exists() and result["name"] == name)


def chain(place, *more):
    jobs = (make(place, "c", ("b",)), make(place, "b", ("a",)), make(place, "a"), *more)
    return {job.name: job for job in jobs}


def log(place):
    return (place.root / "log").read_text().split()


def fail(error):
    def act():
        raise error

    return act


def test_a_job_waits_for_those_that_it_needs_and_nothing_is_done_twice(place):
    shown = []
    work(place, chain(place), ALONE, CPU, shown.append)
    assert log(place) == ["a", "b", "c"]
    assert [(one.done, one.doing) for one in shown if one.share == 0.0] == [
        (0, ("doing a",)),
        (1, ("doing b",)),
        (2, ("doing c",)),
    ]
    assert (shown[-1].done, shown[-1].total, shown[-1].failed) == (3, 3, 0)
    work(place, chain(place), ALONE, CPU, shown.append)
    assert log(place) == ["a", "b", "c"]


def test_what_is_gone_is_done_again_and_nothing_else(place):
    work(place, chain(place), ALONE, CPU, lambda _: None)
    (place.root / "b.txt").unlink()
    work(place, chain(place), ALONE, CPU, lambda _: None)
    assert log(place) == ["a", "b", "c", "b"]


def test_a_damaged_record_is_as_none(place):
    work(place, chain(place), ALONE, CPU, lambda _: None)
    record = place.root / "jobs" / "a" / "record.json"
    record.write_text(record.read_text().replace('"name"', '"nome"'))
    work(place, chain(place), ALONE, CPU, lambda _: None)
    assert log(place) == ["a", "b", "c", "a"]


def test_a_record_that_says_too_little_is_as_none(place):
    work(place, chain(place), ALONE, CPU, lambda _: None)
    place.write("a", replace(place.read("a"), result={"of another version": 1}))
    work(place, chain(place), ALONE, CPU, lambda _: None)
    assert log(place) == ["a", "b", "c", "a"]


def test_a_failure_is_recorded_and_the_others_go_on(place, caplog):
    bad = make(place, "bad", act=fail(LewmError(f"{place.root}/runs/x: wrong", "Mend it.")))
    jobs = chain(place, bad, make(place, "worse", ("bad",)), make(place, "odd", act=fail(KeyError("k"))))
    shown = []
    work(place, jobs, ALONE, CPU, shown.append)
    assert log(place) == ["a", "b", "c"]
    assert shown[-1].failed == 3
    record = place.read("bad")
    assert (record.result, record.problem, record.remedy) == (None, "runs/x: wrong", "Mend it.")
    assert "KeyError" in place.read("odd").trace
    assert place.read("worse") is None
    states = States(place, jobs)
    states.look_at_all()
    assert states.failed["worse"] == "runs/x: wrong"


def test_a_failure_stays_until_it_is_forgotten(place):
    calls = []

    def act():
        calls.append(1)
        raise LewmError("wrong", "Mend it.")

    jobs = {"bad": make(place, "bad", act=act)}
    work(place, jobs, ALONE, CPU, lambda _: None)
    work(place, jobs, ALONE, CPU, lambda _: None)
    assert len(calls) == 1
    forget_failures(place, jobs)
    work(place, jobs, ALONE, CPU, lambda _: None)
    assert len(calls) == 2


def test_a_full_disk_ends_the_work_and_is_no_failure_of_a_job(place):
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = LewmError("cannot be written", "Make room.")
    wrapped.__cause__ = full
    with pytest.raises(LewmError, match="cannot be written"):
        work(place, {"a": make(place, "a", act=fail(wrapped))}, ALONE, CPU, lambda _: None)
    assert place.read("a") is None


def test_an_interruption_leaves_no_record_and_no_lock(place):
    with pytest.raises(KeyboardInterrupt):
        work(place, {"a": make(place, "a", act=fail(KeyboardInterrupt()))}, ALONE, CPU, lambda _: None)
    assert place.read("a") is None
    assert place.at_work() == []
    work(place, {"a": make(place, "a")}, ALONE, CPU, lambda _: None)
    assert log(place) == ["a"]


def many(place):
    slow = [make(place, f"job-{number}", act=lambda: time.sleep(0.01)) for number in range(30)]
    last = make(place, "last", tuple(job.name for job in slow))
    return {job.name: job for job in (*slow, last)}


def share_the_work(root, index):
    work(Place(root), many(Place(root)), Share(index, 3), CPU, lambda _: None)


def test_processes_share_the_work_and_each_job_is_done_once(place):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=share_the_work, args=(place.root, index)) for index in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    done = log(place)
    assert sorted(done) == sorted(many(place))
    assert done[-1] == "last"


def hold(root, ready):
    with Place(root).locked("a", alone=False) as free:
        assert free
        ready.set()
        signal.pause()


def test_a_job_of_a_process_that_is_killed_is_done_by_another(place):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(place.root, ready))
    holder.start()
    ready.wait()
    assert place.at_work() == ["a"]
    with place.locked("a", alone=True) as free:
        assert not free
    shown = []

    def kill_when_waited_for(progress):
        shown.append(progress)
        if progress.doing == ("waiting for a",):
            os.kill(holder.pid, 9)
            holder.join()

    work(place, {"a": make(place, "a")}, ALONE, CPU, kill_when_waited_for)
    assert log(place) == ["a"]
    assert shown[0].doing == ("waiting for a",)


def test_records_keep_what_they_are_given(place):
    record = Record({"report": "runs/x/plan.json"}, "", "", "", 1.5, {"lewm": "0.1.0"})
    place.write("a", record)
    assert place.read("a") == record
    assert place.relative(place.root / "runs" / "x") == "runs/x"
    assert place.relative(place.root.parent / "elsewhere") == str(place.root.parent / "elsewhere")


def test_attempts_are_noted_whatever_comes_of_them_and_the_record_says_which_program(place):
    for error in (KeyboardInterrupt(), LewmError("wrong", "Mend it.")):
        jobs = {"a": make(place, "a", act=fail(error))}
        with contextlib.suppress(KeyboardInterrupt):
            work(place, jobs, ALONE, CPU, lambda _: None)
    forget_failures(place, jobs)
    work(place, {"a": make(place, "a")}, ALONE, CPU, lambda _: None)
    begun = [begin for begin, _ in place.attempts("a")]
    assert len(begun) == 3
    assert begun == sorted(begun)
    assert place.read("a").made_by.items() >= versions().items()


def test_who_looks_who_is_at_work_takes_and_removes_no_lock(place, monkeypatch):
    monkeypatch.setattr(Place, "locked", None)
    for name in ("a", "finish-own", "timing"):
        folder = place.root / "jobs" / name
        folder.mkdir(parents=True)
        (folder / ".lock").write_text("left behind")
    assert place.at_work() == []
    assert all((place.root / "jobs" / name / ".lock").exists() for name in ("a", "finish-own", "timing"))
