"""How a training ends that does not reach its last step: signals, a full disk, numbers that are not finite."""

import contextlib
import errno
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import lewm
from lewm.checkpoints import run
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.sealed import sealed_json
from lewm.surprise import reference
from lewm.training import embeddings, loop, metrics, preparation, trainer
from lewm.training.interruption import Interrupted
from lewm.training.loop import train
from lewm.training.objectives import Loss
from lewm.training.objectives.lewm import LewmObjective
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.writer import Writer

CPU = torch.device("cpu")
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


@pytest.fixture
def rare(tiny):
    """A checkpoint and a log line at the end alone."""
    every = {"training.log_every": 6, "training.evaluate_every": 6, "training.checkpoint_every": 6}
    return resolve(tiny, None, every)


@pytest.fixture(scope="module")
def whole(tiny, dataset, tmp_path_factory):
    """The files of an undisturbed training."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    train(tiny, dataset, directory, CPU)
    files = [*directory.glob("*.safetensors"), directory / embeddings.FILE]
    return {path.name: path.read_bytes() for path in files if path.name != run.PREVIOUS}


def assert_whole(directory, whole):
    for name, content in whole.items():
        assert (directory / name).read_bytes() == content, name
    assert not [path for path in directory.iterdir() if path.name.startswith(".")]


@contextlib.contextmanager
def at_step(monkeypatch, step, act):
    """Do something in the middle of a step."""
    take = trainer.Trainer._step

    def taken(self, batch):
        if self.done + 1 == step:
            act()
        take(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_step", taken)
        yield


@SIGNALS
def test_a_signal_ends_after_the_step_with_a_checkpoint_and_the_run_goes_on(
    rare, dataset, tmp_path, monkeypatch, whole, number
):
    before = signal.getsignal(number)
    directory = tmp_path / "run"
    interrupt = at_step(monkeypatch, 3, lambda: os.kill(os.getpid(), number))
    with interrupt, pytest.raises(Interrupted) as caught:
        train(rare, dataset, directory, CPU)
    assert caught.value.signal == number
    problem, remedy = str(caught.value).splitlines()
    assert problem == "interrupted: the checkpoint of step 3 is kept"
    assert remedy == f"To go on: lewm train --resume --out {directory}"
    assert signal.getsignal(number) == before
    assert [line["step"] for line in metrics.read_metrics(directory / run.METRICS)] == [3]
    begun = []
    train(rare, dataset, directory, CPU, resume=True, on_begin=begun.append)
    assert (begun[0].step, begun[0].steps) == (3, 6)
    assert_whole(directory, whole)
    assert [line["step"] for line in metrics.read_metrics(directory / run.METRICS)] == [3, 6]


@SIGNALS
@pytest.mark.parametrize("place", ["before the first step", "in the first step"])
def test_before_a_first_step_nothing_stays(tiny, dataset, tmp_path, monkeypatch, number, place):
    def press(*_):
        os.kill(os.getpid(), number)

    directory = tmp_path / "made" / "run"
    on_begin = press if place == "before the first step" else lambda _: None
    interrupt = at_step(monkeypatch, 1, press) if place == "in the first step" else contextlib.nullcontext()
    with interrupt, pytest.raises(Interrupted, match="nothing is kept\nGive the same command again") as caught:
        train(tiny, dataset, directory, CPU, on_begin=on_begin)
    assert caught.value.signal == number
    assert not (tmp_path / "made").exists()
    train(tiny, dataset, directory, CPU)


def test_a_second_signal_ends_at_once_and_does_no_harm(tiny, dataset, tmp_path, monkeypatch, whole):
    """It comes while the checkpoint of the first is written."""
    directory, written = tmp_path / "run", []

    def save_file(*arguments, **options):
        write(*arguments, **options)
        written.append(arguments[1])
        if len(written) == 3:  # two files of the checkpoint of step 2
            os.kill(os.getpid(), signal.SIGINT)

    write = run.safetensors.torch.save_file
    interrupt = at_step(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with interrupt, monkeypatch.context() as patch:
        patch.setattr(run.safetensors.torch, "save_file", save_file)
        with pytest.raises(Interrupted, match="of step 2 is kept"):
            train(tiny, dataset, directory, CPU)
    assert not [path for path in directory.iterdir() if path.name.startswith(".")]
    train(tiny, dataset, directory, CPU, resume=True)
    assert_whole(directory, whole)


def test_a_signal_after_the_last_step_leaves_what_resume_finishes(tiny, dataset, tmp_path, monkeypatch, whole):
    directory = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "of_training", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted, match="of step 6 is kept"):
            train(tiny, dataset, directory, CPU)
    assert not (directory / reference.FILE).exists()
    train(tiny, dataset, directory, CPU, resume=True)
    assert_whole(directory, whole)


def test_statistics_of_other_weights_or_damaged_ones_are_made_again(tiny, dataset, tmp_path, whole, caplog):
    directory = tmp_path / "run"
    train(tiny, dataset, directory, CPU)
    path = directory / embeddings.FILE
    kept = path.read_bytes()
    measured = json.loads(kept)
    assert measured["episodes"] == 1
    assert measured["dimensions"] == len(measured["means"]) == 8
    for content in (kept[:-9], sealed_json({**measured, "checkpoint_sha256": "0"}).encode()):
        path.write_bytes(content)
        train(tiny, dataset, directory, CPU, resume=True)
        assert path.read_bytes() == kept
    assert f"{path}: is not JSON" in caplog.text
    path.unlink()
    train(tiny, dataset, directory, CPU, resume=True)
    assert_whole(directory, whole)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        ("metrics", "no checkpoint was written yet"),
        ("checkpoint", "step 2 is kept"),
        ("reference", "step 6 is kept"),
        ("embeddings", "step 6 is kept"),
    ],
)
def test_a_full_disk_is_said_with_what_is_kept_and_the_run_goes_on(
    tiny, dataset, tmp_path, monkeypatch, whole, what, kept
):
    directory = tmp_path / "run"
    calls, save = [], run.save_tensors

    def save_until_full(path, tensors, metadata=None):
        calls.append(path)
        if len(calls) == 3:  # two files of the checkpoint of step 2
            full()
        save(path, tensors, metadata)

    with monkeypatch.context() as patch:
        if what == "metrics":
            patch.setattr(metrics, "append", full)
        elif what == "checkpoint":
            patch.setattr(run, "save_tensors", save_until_full)
        elif what == "embeddings":
            patch.setattr(embeddings, "keep", full)
        else:
            patch.setattr(loop, "keep", full)
        with pytest.raises(LewmError) as caught:
            train(tiny, dataset, directory, CPU)
    problem, remedy = str(caught.value).splitlines()
    assert problem.startswith(f"{directory}: cannot be written: No space left on device; ")
    assert problem.endswith(kept)
    assert f'"lewm train --resume --out {directory}"' in remedy
    train(tiny, dataset, directory, CPU, resume=True)
    assert_whole(directory, whole)


def test_without_links_the_older_checkpoint_is_what_is_kept(tiny, dataset, tmp_path, monkeypatch, whole):
    """A signal comes after the older one has given up its first name."""

    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def save_tensors(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # two files of the checkpoint of step 2
            raise KeyboardInterrupt
        save(*arguments)

    directory = tmp_path / "run"
    calls, save = [], run.save_tensors
    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", no_links)
        patch.setattr(run, "save_tensors", save_tensors)
        with pytest.raises(Interrupted, match="the checkpoint of step 2 is kept"):
            train(tiny, dataset, directory, CPU)
    assert not (directory / run.TRAINING).exists()
    train(tiny, dataset, directory, CPU, resume=True)
    assert_whole(directory, whole)


def test_a_run_that_becomes_read_only_has_another_remedy_than_room(tiny, dataset, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(metrics, "append", refuse)
    with pytest.raises(LewmError, match="Read-only file system; no checkpoint was written yet\nMake it writable"):
        train(tiny, dataset, tmp_path / "run", CPU)


def test_without_room_for_the_configuration_nothing_stays(tiny, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "write_text", full)
    with pytest.raises(LewmError, match="No space left on device\nMake room, then give the same command again"):
        train(tiny, dataset, tmp_path / "made" / "run", CPU)
    assert not (tmp_path / "made").exists()


def test_errors_of_safetensors_are_errors_of_the_system(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise run.safetensors.SafetensorError("Error while serializing: I/O error: File too large (os error 27)")

    monkeypatch.setattr(run.safetensors.torch, "save_file", refuse)
    with pytest.raises(OSError, match="File too large") as caught:
        run.save_tensors(tmp_path / "some.safetensors", {"a": torch.zeros(1)})
    assert caught.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def test_what_is_kept_is_said_only_where_it_is(tiny, dataset, tmp_path, monkeypatch):
    def poisoned(*arguments):
        loss = compute(*arguments)
        return Loss(loss.total * torch.nan, loss.terms)

    compute = LewmObjective.forward
    monkeypatch.setattr(LewmObjective, "forward", poisoned)
    with pytest.raises(LewmError, match="not finite at step 1 of 6; no checkpoint was written yet") as caught:
        train(tiny, dataset, tmp_path / "run", CPU)
    assert "precision" not in str(caught.value)
    assert re.search(r"learning_rate \(now [\d.e-]+\)\.$", str(caught.value))


def test_weights_that_overflow_are_not_written(tiny, dataset, tmp_path, monkeypatch):
    """The loss of a step is computed before its weights change."""
    directory = tmp_path / "run"

    def poison(progress):
        if progress.step == 4:
            with torch.no_grad():
                models[0].projector[0].weight[0, 0] = torch.inf

    models, make = [], preparation.new_learners
    monkeypatch.setattr(preparation, "new_learners", lambda *some: models.extend(make(*some)) or tuple(models))
    message = r"weights are not finite after step 4 \(model\.projector\.0\.weight\); the checkpoint of step 2 is kept"
    with pytest.raises(LewmError, match=message):
        train(tiny, dataset, directory, CPU, on_progress=poison)
    assert lewm.load(directory)


@pytest.mark.parametrize(("value", "row", "place"), [(1e300, 45, "episode 1, step 5"), (-1e25, 3, "episode 0, step 3")])
def test_absurd_actions_are_named_before_training(tiny, tmp_path, value, row, place):
    path, rows = tmp_path / "data.h5", 40
    actions = np.random.default_rng(0).normal(size=(3 * rows, 2))
    actions[row, 1] = value
    with Writer.create(path, {"env": "two-room"}) as writer:
        for episode in range(3):
            part = actions[episode * rows : (episode + 1) * rows]
            writer.write_episode({"pixels": np.zeros((rows, 16, 16, 3), np.uint8), "action": part})
    with pytest.raises(LewmError) as caught:
        train(tiny, path, tmp_path / "run", CPU)
    assert f"{path}: {place}: an action of" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_log_names_each_step_once_after_all_this(tiny, dataset, tmp_path, monkeypatch):
    directory = tmp_path / "run"
    interrupt = at_step(monkeypatch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with interrupt, pytest.raises(Interrupted):
        train(tiny, dataset, directory, CPU)
    with (directory / run.METRICS).open("a") as file:
        file.write(json.dumps({"step": "x"}) + "\n" + '{"step": 6, "lo')
    train(tiny, dataset, directory, CPU, resume=True)
    steps = [json.loads(line)["step"] for line in (directory / run.METRICS).read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]
