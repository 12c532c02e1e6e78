"""Jobs: what counts as there, what is kept of a run that was there before, and what times a plan."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lewm.compare import jobs, timing
from lewm.compare.cells import Cell, Given, Trained
from lewm.compare.records import FAILED, Place, Record
from lewm.compare.spec import Data, Tasks
from lewm.compare.work import forget_failures
from lewm.config import Planning
from lewm.heads.files import policy_file
from lewm.recipes import recipe
from lewm_data.store.dataset import Dataset

CPU = torch.device("cpu")
TASKS = Tasks()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def cell(place):
    """A cell whose run was there before, and whose plans use a policy."""
    run = place.root / "own"
    run.mkdir()
    (run / "model.safetensors").write_text("weights")
    config = recipe("small", "two-room", 2)
    planning = Planning.model_validate({**config.planning.model_dump(by_alias=True), "agent": "idm"})
    return Cell("m", "M", None, "", "M", 0, Given("two-room", run, config), planning, frozenset())


def put(cell, text):
    (cell.run.path / policy_file("idm")).write_text(text)


def learnt(place, cell, monkeypatch, given):
    calls = []

    def learn(run, kind, data, seed, device, on_share, encode):
        calls.append(kind)
        put(cell, "learnt")
        return 2.0

    monkeypatch.setattr(jobs, "learn", learn)
    monkeypatch.setattr(jobs, "is_given", lambda run, kind: given)
    job = jobs.learning(place, cell.run, "idm", Path("data.h5"), ())
    return job, job.do(CPU, lambda share: None), calls


def test_a_policy_that_its_owner_has_trained_is_used_and_stays(place, cell, monkeypatch, caplog):
    put(cell, "the owner's")
    job, result, calls = learnt(place, cell, monkeypatch, given=True)
    assert calls == []
    assert (cell.run.path / policy_file("idm")).read_text() == "the owner's"
    assert result[jobs.SECONDS] is None
    assert "used as it is" in caplog.text
    assert job.is_there(result)


def test_a_run_without_metrics_does_not_tell_how_long_it_took(tmp_path):
    assert jobs.seconds_of_training(tmp_path) is None
    (tmp_path / "metrics.jsonl").touch()
    assert jobs.seconds_of_training(tmp_path) == 0.0


def test_what_is_missing_is_learnt(place, cell, monkeypatch):
    job, result, calls = learnt(place, cell, monkeypatch, given=False)
    assert calls == ["idm"]
    assert result[jobs.SECONDS] == 2.0
    assert job.is_there(result)


def test_a_policy_of_other_weights_is_not_overwritten(cell, monkeypatch):
    from lewm.compare import learnt
    from lewm.errors import LewmError

    put(cell, "of other weights")

    def refuse(run, kind):
        raise LewmError("trained on other weights", "Train one.")

    monkeypatch.setattr(learnt, "open_run", lambda path: None)
    monkeypatch.setattr(learnt, "own_policy", refuse)
    with pytest.raises(LewmError, match="other weights"):
        learnt.is_given(cell.run.path, "idm")
    assert not learnt.is_given(cell.run.path, "gcbc")


def test_a_policy_that_was_replaced_is_noticed_by_what_was_learnt_and_planned(place, cell, monkeypatch):
    learning, result, _ = learnt(place, cell, monkeypatch, given=False)
    planning = jobs.planning(place, cell, TASKS, Path("data.h5"), ())
    (place.root / "plan.json").write_text("{}")
    weights = jobs.weights(cell.run.path)
    planned = {"report": "plan.json", jobs.WEIGHTS: weights, jobs.DIGESTS: jobs.digests(place, cell)}
    assert planning.is_there(planned)
    put(cell, "another one")
    assert not learning.is_there(result)
    assert not planning.is_there(planned)


@pytest.mark.parametrize("given", [True, False])
def test_the_dataset_is_found_where_it_is_now(place, cell, monkeypatch, given):
    """A run that was trained here remembers where its dataset was then: LEWM_HOME may have moved."""
    asked = []

    def stop(request, device, on_progress):
        asked.append(request.tasks.data)
        raise InterruptedError

    monkeypatch.setattr(jobs, "evaluate_run", stop)
    run = cell.run if given else Trained("two-room", "tiny", cell.run.config, "")
    with pytest.raises(InterruptedError):
        jobs.planning(place, replace(cell, run=run), TASKS, Path("data.h5"), ()).do(CPU, lambda share: None)
    assert asked == [None if given else Path("data.h5")]


def test_a_dataset_that_is_damaged_is_collected_again_and_kept(place):
    job = jobs.collecting(place, "two-room", Data(episodes=3, frame_size=16), "tiny")
    path = place.dataset("tiny")
    result = job.do(CPU, lambda share: None)
    assert job.is_there(result)
    assert not job.is_there({"episodes": 4})
    content = path.read_bytes()
    path.write_bytes(b"no dataset")
    assert not job.is_there(result)
    again = job.do(CPU, lambda share: None)
    assert again == result
    assert job.is_there(again)
    assert path.with_name("tiny.h5.damaged").read_bytes() == b"no dataset"
    path.write_bytes(content)
    with Dataset.open(path) as dataset:
        assert dataset.num_episodes == 3


@pytest.fixture
def timed(place, cell, monkeypatch):
    """A job that times two methods, and whether the second one can be timed."""
    can = []
    cells = (cell, replace(cell, method="n", seed=1))
    plans = [jobs.Job(name, name, (), lambda *_: {}, lambda result: True) for name in ("one", "two")]

    def decision(place, cell, tasks, data, device):
        if cell.seed and not can:
            raise ValueError("no such planner")
        return lambda: 0.5

    monkeypatch.setattr(timing, "_decision", decision)
    return timing.timing(place, cells, plans, TASKS, Path("data.h5")), can


def test_a_method_that_cannot_be_timed_takes_no_time_of_another_away(place, timed):
    job, can = timed
    for name in ("one", "two"):
        place.write(name, Record({}, "", "", "", 1.0, {}))
    result = job.do(CPU, lambda share: None)
    assert result[jobs.SECONDS] == {"one": [0.5] * timing.ROUNDS}
    assert result[FAILED] == {"two": "ValueError: no such planner"}
    assert job.is_there(result)
    place.write(job.name, Record(result, "", "", "", 1.0, {}))
    can.append(True)
    forget_failures(place, {job.name: job})
    assert place.read(job.name) is None
    assert set(job.do(CPU, lambda share: None)[jobs.SECONDS]) == {"one", "two"}


def test_times_are_stale_where_weights_plans_threads_or_device_are_others(place, cell, timed):
    job, _ = timed
    place.write("one", Record({}, "", "", "", 1.0, {}))
    result = job.do(CPU, lambda share: None)
    place.write(job.name, Record(result, "", "", "", 1.0, {}))
    assert job.is_there(result)
    assert timing.stale(place, [job.name], CPU) == []
    for change in ({"threads": result["threads"] + 1}, {"device": "cuda"}):
        place.write(job.name, Record(result | change, "", "", "", 1.0, {}))
        assert timing.stale(place, [job.name], CPU) == [job.name]
    place.write("two", Record({}, "", "", "", 1.0, {}))
    assert not job.is_there(result), "another method has planned since"
    (place.root / "jobs" / "two" / "record.json").unlink()
    (cell.run.path / "model.safetensors").write_text("trained further")
    assert not job.is_there(result)
