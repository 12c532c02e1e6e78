"""The command: names of results, processes that fail, and what is put together of attempts and versions."""

import logging
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lewm.compare import command
from lewm.compare.children import run_children
from lewm.compare.command import CompareRequest, name_of
from lewm.compare.gather import _elapsed, _versions
from lewm.compare.processes import Share
from lewm.compare.records import TIMING, Place
from lewm.compare.spec import Spec
from lewm.compare.words import several_versions
from lewm.compare.work import States
from lewm.config import validate
from lewm.errors import LewmError
from tests.lewm.compare.example import comparison
from tests.lewm.compare.test_work import ALONE, CPU, log, make, work

SPEC = {
    "title": "Own",
    "reference": "lewm",
    "worlds": {"two-room": {}, "push-t": {"optional": True}},
    "methods": {"lewm": {}},
}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("changes", "worlds", "only", "name"),
    [
        ({}, (), None, "own"),
        ({"seeds": [0, 1, 2], "tasks": {"count": 200}}, ("two-room",), None, "own"),
        ({}, ("push-t",), None, "own--world-push-t"),
        ({}, ("push-t", "two-room"), None, "own--world-two-room--world-push-t"),
        ({"seeds": [0], "tasks": {"count": 50}}, (), None, "own--seeds-0--tasks-50"),
        ({"seeds": [0, 3]}, (), "Weight / of λ", "own--only-weight-of-λ--seeds-0-3"),
    ],
)
def test_the_result_of_a_part_has_a_name_of_its_own(place, changes, worlds, only, name):
    whole, asked = validate(Spec, SPEC, "here"), validate(Spec, SPEC | changes, "here")
    found = name_of("own", whole, asked, worlds, only)
    assert found == name
    request = CompareRequest(found, asked)
    assert request.folder(place) == place.root / "results" / name
    assert replace(request, out=Path("here")).finish != request.finish


@pytest.mark.parametrize(("index", "times"), [(0, 1), (1, 0)])
def test_one_of_the_processes_forgets_failures(place, monkeypatch, index, times):
    calls = []
    monkeypatch.setattr(command.Place, "default", lambda: place)
    monkeypatch.setattr(command, "forget_failures", lambda *_: calls.append(1))
    monkeypatch.setattr(command, "work", lambda *_: None)
    request = CompareRequest("own", validate(Spec, SPEC, "here"), share=Share(index, 2), retry=True)
    with place.locked(request.finish, alone=True):
        assert command.compare(request, CPU) is None
    assert len(calls) == times


def test_what_is_no_page_of_ours_is_found_before_the_work_and_nothing_beside_it_is_replaced(place, monkeypatch):
    folder = place.root / "mine"
    folder.mkdir()
    for name in ("index.html", "compare.json"):
        (folder / name).write_text("mine")
    monkeypatch.setattr(command.Place, "default", lambda: place)
    monkeypatch.setattr(command, "work", lambda *_: pytest.fail("work was begun"))
    request = CompareRequest("own", validate(Spec, SPEC, "here"), out=folder)
    for call in (lambda: command.compare(request, CPU), lambda: command.show(request, place)):
        with pytest.raises(LewmError, match="is not part of a comparison's page"):
            call()
    assert (folder / "compare.json").read_text() == "mine"


def test_a_process_that_fails_is_told_at_once_and_the_others_go_on(place, caplog):
    """The second process ends only when the failure of the first one has been told."""
    go_on = place.root / "go-on"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)"

    class Told(logging.Handler):
        def emit(self, record):
            assert "process 0 of 2 ended with 3: no such thing" in record.getMessage()
            go_on.touch()

    told, said = Told(), logging.getLogger("lewm.compare.children")
    fail = "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"
    states = States(place, {})
    said.addHandler(told)
    try:
        run_children([[sys.executable, "-c", code] for code in (fail, wait)], place.root / "logs", states, lambda _: 0)
    finally:
        said.removeHandler(told)
    with pytest.raises(LewmError, match="process 0 of 1 ended with 3"):
        run_children([[sys.executable, "-c", fail]], place.root / "logs", states, lambda _: 0)


def test_no_job_is_begun_while_plans_are_timed(place):
    shown = []
    with place.locked(TIMING, alone=True):
        other = threading.Thread(
            target=work, args=(place, {"a": make(place, "a")}, ALONE, CPU, shown.append), daemon=True
        )
        other.start()
        while not any(one.doing == (f"waiting for {TIMING}",) for one in shown):
            time.sleep(0.01)
        assert not (place.root / "log").exists()
    other.join()
    assert log(place) == ["a"]


def test_plans_are_timed_only_when_nobody_is_at_work_and_nobody_begins(place):
    """While a job of another comparison is under way, who times waits, and holds the lock."""
    shown, seen = [], []
    jobs = {"t": make(place, "t", act=lambda: seen.append((place.at_work(), place.is_locked(TIMING))))}
    with place.locked("other", alone=True), place.locked("finish-other", alone=True):
        timer = threading.Thread(target=command._time, args=(place, jobs, torch.device("cpu"), shown.append))
        timer.start()
        while not shown:
            time.sleep(0.01)
        assert place.is_locked(TIMING)
        assert seen == []
    timer.join()
    assert seen == [(["t"], True)]


def test_seconds_in_which_something_was_under_way_count_once():
    assert _elapsed([]) == 0
    assert _elapsed([(10.0, 5.0), (0.0, 2.0), (12.0, 1.0), (14.0, 3.0)]) == 2 + 7


def test_versions_are_those_of_the_records(place):
    one, other = {"lewm": "1", "commit": "ab"}, {"lewm": "1", "commit": "cd"}
    assert _versions([one, other, one]) == {"lewm": ("1",), "commit": ("ab", "cd")}
    assert _versions([one, {}]) == {"lewm": ("1", "not known"), "commit": ("ab", "not known")}
    found = comparison(("two-room",))
    assert several_versions(found) == ""
    assert "commit ab, cd" in several_versions(replace(found, versions=_versions([one, other])))
