"""Which directory a training gets, and from which checkpoint it goes on."""

import shutil

import numpy as np
import pytest
import torch

import lewm
from lewm import locks
from lewm.checkpoints import run
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.surprise.reference import FILE
from lewm.training.directory import claimed
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.writer import Writer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


@pytest.fixture(scope="module")
def finished(tiny, dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished") / "run"
    train(tiny, dataset, directory, CPU)
    return directory


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)


def assert_same(directory, finished):
    for name in (run.MODEL, run.TRAINING, FILE):
        assert (directory / name).read_bytes() == (finished / name).read_bytes(), name


def test_claims_that_overlap_get_directories_of_their_own(tmp_path):
    wanted = tmp_path / "runs" / "two-room-small"
    with claimed(wanted, numbered=True) as first, claimed(wanted, numbered=True) as second:
        assert (first.name, second.name) == ("two-room-small", "two-room-small-2")
        (second / run.CONFIG).touch()
        with pytest.raises(locks.LockedError, match="is being written by process"), claimed(wanted, numbered=False):
            pytest.fail("claimed twice")
        with claimed(wanted, numbered=True) as third:
            assert third.name == "two-room-small-3"
    assert [path.name for path in wanted.parent.iterdir()] == [second.name]


def test_without_locks_a_directory_is_only_claimed_by_making_it(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    wanted = tmp_path / "run"
    with claimed(wanted, numbered=True) as first, claimed(wanted, numbered=True) as second:
        assert (first.name, second.name) == ("run", "run-2")


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("left", [[], [".lock"], [".config-abcd1234.lewm"], [".config-abcd1234.lewm", ".lock"]])
def test_what_a_killed_claim_left_is_used_again(tmp_path, numbered, left):
    wanted = tmp_path / "run"
    wanted.mkdir()
    for name in left:
        (wanted / name).touch()
    (wanted / ".training-0123abcd.lewm").mkdir()
    with claimed(wanted, numbered) as directory:
        assert directory == wanted
        assert [path.name for path in wanted.iterdir()] == [locks.LOCK]
    assert wanted.exists()  # it was not made here


@pytest.mark.parametrize("name", [".notes", ".config-abcd1234.json"])
def test_what_is_hidden_is_no_obstacle_and_left_alone(tmp_path, name):
    wanted = tmp_path / "run"
    wanted.mkdir()
    (wanted / name).write_text("precious")
    with claimed(wanted, numbered=False) as directory:
        assert directory == wanted
    assert (wanted / name).read_text() == "precious"


def test_what_is_not_of_a_training_is_left_alone(tmp_path):
    wanted, name = tmp_path / "run", "notes.txt"
    wanted.mkdir()
    (wanted / name).write_text("precious")
    with pytest.raises(LewmError, match=r"exists and is not empty\nChoose another --out\.$"), claimed(wanted, False):
        pytest.fail("claimed")
    assert [path.name for path in wanted.iterdir()] == [name]
    with claimed(wanted, numbered=True) as directory:
        assert directory.name == "run-2"
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(LewmError, match="not a directory"), claimed(file, numbered=False):
        pytest.fail("claimed")


def test_two_trainings_of_one_run_and_what_may_be_read_meanwhile(tiny, dataset, copied):
    with locks.writing(copied):
        assert lewm.load(copied)
        with pytest.raises(locks.LockedError):
            train(tiny, dataset, copied, CPU, resume=True)
        with pytest.raises(LewmError, match="configuration differs"):  # needs no lock to be said
            train(resolve(tiny, None, {"training.seed": 9}), dataset, copied, CPU, resume=True)


def test_data_of_another_width_cannot_be_set_right_in_a_resumed_run(tiny, copied, tmp_path):
    path = tmp_path / "other.h5"
    with Writer.create(path, {}) as writer:
        writer.write_episode({"pixels": np.zeros((9, 16, 16, 3), np.uint8), "action": np.zeros((9, 3))})
    with pytest.raises(LewmError, match=r"3 dimensions, .*2\nGive --data the dataset that the run was begun with\.$"):
        train(tiny, path, copied, CPU, resume=True)


def test_a_damaged_model_is_refused_and_resume_repairs_it(tiny, dataset, finished, copied):
    flip(copied / run.MODEL)
    with pytest.raises(LewmError) as caught:
        lewm.load(copied)
    assert str(copied / run.MODEL) in str(caught.value)
    assert f"lewm train --resume --out {copied}" in str(caught.value)
    train(tiny, dataset, copied, CPU, resume=True)
    assert_same(copied, finished)


@pytest.mark.parametrize("stale", [run.MODEL, FILE])
def test_resume_after_the_last_step_makes_the_files_agree(tiny, dataset, finished, copied, stale):
    (copied / stale).unlink()
    train(tiny, dataset, copied, CPU, resume=True)
    assert_same(copied, finished)


@pytest.mark.parametrize("damage", ["flipped", "missing", "not finite", "incomplete"])
def test_the_older_checkpoint_is_used_and_said_aloud(tiny, dataset, finished, copied, caplog, damage):
    newest = copied / run.TRAINING
    tensors, metadata = run.read_with_metadata(newest)
    if damage == "flipped":
        flip(newest)
    elif damage == "missing":
        newest.unlink()
    elif damage == "not finite":
        tensors["model.projector.0.weight"][0, 0] = torch.nan
        run.save_tensors(newest, tensors, metadata)
    else:
        weights = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
        run.save_tensors(newest, weights, metadata)
    flip(copied / run.MODEL)
    begun = []
    train(tiny, dataset, copied, CPU, resume=True, on_begin=begun.append)
    assert begun[0].step == 4
    said = [record.getMessage() for record in caplog.records if run.PREVIOUS in record.getMessage()]
    assert len(said) == 1
    assert str(newest) in said[0]
    assert said[0].endswith("The older checkpoint is used: training-previous.safetensors, of step 4.")
    assert_same(copied, finished)


def test_the_weights_of_a_finished_run_are_not_taken_back(tiny, dataset, copied):
    before = (copied / run.MODEL).read_bytes()
    flip(copied / run.TRAINING)
    with pytest.raises(LewmError, match="the run is finished") as caught:
        train(tiny, dataset, copied, CPU, resume=True)
    assert str(copied / run.TRAINING) in str(caught.value)
    assert (copied / run.MODEL).read_bytes() == before
    (copied / run.MODEL).unlink()  # the remedy
    train(tiny, dataset, copied, CPU, resume=True)
    assert (copied / run.MODEL).read_bytes() == before


def test_without_a_sound_checkpoint_both_are_named(tiny, dataset, finished, copied):
    for name in (run.MODEL, run.TRAINING, run.PREVIOUS):
        flip(copied / name)
    with pytest.raises(LewmError) as caught:
        train(tiny, dataset, copied, CPU, resume=True)
    assert all(str(copied / name) in str(caught.value) for name in (run.TRAINING, run.PREVIOUS))
    for name in (run.TRAINING, run.PREVIOUS):  # the remedy
        (copied / name).unlink()
    train(tiny, dataset, copied, CPU, resume=True)
    assert_same(copied, finished)


def test_without_links_the_checkpoint_before_is_kept_too(tiny, dataset, finished, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    train(tiny, dataset, tmp_path / "run", CPU)
    assert run.read_with_metadata(tmp_path / "run" / run.PREVIOUS)[1]["step"] == "4"
    assert_same(tmp_path / "run", finished)
