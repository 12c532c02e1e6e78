"""Trainings in stages: killed anywhere they go on, and the finished run needs no stage any more."""

import errno
import os
import shutil
import signal

import pytest
import torch

import lewm
from lewm.checkpoints import run
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.training import latent_batches, metrics, preparation
from lewm.training.interruption import Interrupted
from lewm.training.loop import train
from lewm.training.metrics import read_metrics
from lewm.training.objectives.lewm import LewmObjective
from lewm.training.objectives.loss import Loss
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


@pytest.fixture(scope="session")
def staged(tiny):
    """Two stages, of which the second takes the first one's encoder, and a last training on the second's latents."""
    return with_stages(tiny)


def with_stages(tiny):
    model = tiny.model.model_dump(mode="json")
    first = {name: model[name] for name in ("encoder", "latent", "projector_hidden", "predictor")}
    first |= {
        "objective": {"kind": "lewm", "sigreg": {"kind": "sketch", "directions": 64}},
        "steps": 4,
        "learning_rate": 1e-3,
    }
    second = first | {"encoder": {"kind": "frozen", "weights": "stage:first", "output": "embedding"}, "latent": 6}
    return resolve(
        tiny,
        None,
        {
            "stages": {"first": first, "second": second},
            "model.encoder": {"kind": "frozen", "weights": "stage:second"},
            "model.projector_hidden": None,
            "model.latent": 6,
            "objective": {"kind": "prediction"},
        },
    )


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.suffix == ".safetensors" and path.name != run.PREVIOUS
    }


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="session")
def whole(staged, dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    begun = []
    report = train(staged, dataset, directory, CPU, on_begin=begun.append)
    assert [(one.stage, one.number, one.trainings) for one in begun] == [
        ("first", 1, 3),
        ("second", 2, 3),
        (None, 3, 3),
    ]
    assert list(report.stages) == ["first", "second"]
    assert 0 < sum(report.stages.values()) < report.seconds
    return directory


def test_each_stage_is_a_run_and_its_encoder_is_the_next_ones(staged, whole):
    first, second = (lewm.load(whole / run.STAGES / name) for name in ("first", "second"))
    last = lewm.load(whole)
    frames = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(second.encoder.encoder(torch.ones(3, 3, 16, 16)), first.encoder(torch.ones(3, 3, 16, 16)))
        assert torch.equal(last.embed(frames), second.embed(frames))
    assert [line["step"] for line in read_metrics(whole / run.STAGES / "first" / run.METRICS)] == [1, 2, 3, 4]
    assert len(read_metrics(whole / run.METRICS)) == 6
    assert run.read_config(whole)[0].stages["first"] == staged.stages["first"]


@pytest.mark.parametrize(
    "stops", [[("first", 1), ("first", 3)], [("second", 1), ("second", 3)], [(None, 1), (None, 5)]]
)
def test_killed_in_any_stage_a_run_goes_on_to_the_same_files(staged, dataset, whole, tmp_path, stops):
    directory, begun = tmp_path / "run", []

    def killing(name, step):
        def kill(progress):
            if (begun[-1].stage, progress.step) == (name, step):
                raise Killed

        return kill

    for name, step in stops:
        resume = directory.exists()
        config = run.read_config(directory)[0] if resume else staged
        callbacks = {"on_begin": begun.append, "on_progress": killing(name, step)}
        with pytest.raises(Killed):
            train(config, dataset, directory, CPU, resume, **callbacks)
    train(run.read_config(directory)[0], dataset, directory, CPU, resume=True)
    assert content(directory) == content(whole)


def test_a_finished_run_needs_its_stages_no_more(whole, dataset, tmp_path):
    alone = tmp_path / "run"
    shutil.copytree(whole, alone)
    shutil.rmtree(alone / run.STAGES)
    before, after = lewm.load(whole), lewm.load(alone)
    assert run.weights_sha256(before) == run.weights_sha256(after)
    report = train(run.read_config(alone)[0], dataset, alone, CPU, resume=True)
    assert (report.steps, report.stages) == (6, {})
    assert not (alone / run.STAGES).exists()


def test_on_latents_a_training_is_the_one_on_frames_up_to_rounding(staged, dataset, whole, tmp_path, monkeypatch):
    shares = []
    frozen = resolve(
        staged, None, {"model.encoder.weights": str(whole / run.STAGES / "second"), "training.batch_size": 16}
    )
    train(frozen, dataset, tmp_path / "latents", CPU, on_encoded=shares.append)
    assert shares[-1] == 1
    monkeypatch.setattr(preparation, "latents_fit", lambda *_: False)
    train(frozen, dataset, tmp_path / "frames", CPU, on_encoded=lambda _: pytest.fail("frames are read"))
    latents, frames = (run.read_tensors(tmp_path / name / run.MODEL) for name in ("latents", "frames"))
    begun = run.read_tensors(whole / run.MODEL)
    moved = [name for name in latents if name.startswith("predict") and not torch.equal(latents[name], begun[name])]
    assert moved
    for name, tensor in latents.items():
        torch.testing.assert_close(tensor, frames[name], rtol=1e-4, atol=1e-5)


def test_latents_that_are_too_many_for_the_memory_are_not_kept(staged, dataset, whole, tmp_path, monkeypatch, caplog):
    frozen = resolve(staged, None, {"model.encoder.weights": str(whole / run.STAGES / "second")})
    monkeypatch.setattr(latent_batches, "physical_memory", lambda _: 4 * 1000)
    train(frozen, dataset, tmp_path / "run", CPU, on_encoded=lambda _: pytest.fail("frames are read"))
    assert "the latents of all frames are too large for the memory" in caplog.text


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("first", 1), None),
        (("first", 3), "step 3 of the stage first"),
        (("second", 1), "step 4 of the stage first"),
        ((None, 1), "step 4 of the stage second"),
        ((None, 5), "step 5"),
    ],
)
def test_a_signal_says_what_is_kept_of_which_stage(staged, dataset, whole, tmp_path, place, said):
    directory, begun = tmp_path / "made" / "run", []

    def begin(beginning):
        begun.append(beginning.stage)
        if place == (beginning.stage, 1):
            signal.raise_signal(signal.SIGINT)

    def press(progress):
        if place == (begun[-1], progress.step):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        train(staged, dataset, directory, CPU, on_begin=begin, on_progress=press)
    problem, remedy = str(caught.value).splitlines()
    if said is None:
        assert "nothing is kept" in problem
        assert not directory.parent.exists()
        return
    assert problem == f"interrupted: the checkpoint of {said} is kept"
    assert remedy == f"To go on: lewm train --resume --out {directory}"
    train(run.read_config(directory)[0], dataset, directory, CPU, resume=True)
    assert content(directory) == content(whole)


def test_a_full_disk_in_a_stage_names_the_run_that_goes_on(staged, dataset, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    directory = tmp_path / "run"
    monkeypatch.setattr(metrics, "append", full)
    with pytest.raises(LewmError) as caught:
        train(staged, dataset, directory, CPU)
    problem, remedy = str(caught.value).splitlines()
    assert problem.startswith(f"{directory / run.STAGES / 'first'}: cannot be written: No space left on device")
    assert f'"lewm train --resume --out {directory}"' in remedy


def test_what_helps_a_stage_is_a_key_of_the_stage(staged, dataset, tmp_path, monkeypatch, caplog):
    flat = {"stages.first.objective.lambda": 0, "stages.first.steps": 60, "stages.first.learning_rate": 1e-2}

    def poisoned(*arguments):
        loss = compute(*arguments)
        return Loss(loss.total * torch.nan, loss.terms)

    with pytest.raises(Killed):
        train(resolve(staged, None, flat), dataset, tmp_path / "flat", CPU, on_progress=at_the_end_of_a_stage)
    assert "raise stages.first.objective.lambda (now 0) with --set" in caplog.text
    compute = LewmObjective.forward
    monkeypatch.setattr(LewmObjective, "forward", poisoned)
    with pytest.raises(LewmError, match=r"a lower --set stages\.first\.learning_rate \(now 0\.001\)"):
        train(staged, dataset, tmp_path / "run", CPU)


def at_the_end_of_a_stage(progress):
    if progress.step == progress.steps:
        raise Killed


def test_a_stage_that_no_encoder_takes_is_not_trained(staged, dataset, tmp_path, caplog):
    config = resolve(staged, None, {"model.encoder.weights": "stage:first", "model.latent": 8})
    assert list(train(config, dataset, tmp_path / "run", CPU).stages) == ["first"]
    assert "the stage second is not trained" in caplog.text
    assert list(run.read_config(tmp_path / "run")[0].stages) == ["first"]


def test_a_stage_that_is_not_trained_before_is_told_before_anything_is_trained(staged, dataset, tmp_path):
    for key in ("model.encoder.weights", "stages.first.encoder"):
        value = "stage:third" if key.startswith("model") else {"kind": "frozen", "weights": "stage:second"}
        said = r"\.weights: stage:(third|second): no such stage is trained before\nStages that are"
        with pytest.raises(LewmError, match=f"^{key.removesuffix('.weights')}{said}"):
            train(resolve(staged, None, {key: value}), dataset, tmp_path / "run", CPU)
        assert not (tmp_path / "run").exists()


def test_faults_of_the_last_training_are_found_before_the_first_stage(staged, dataset, tmp_path):
    config = resolve(staged, None, {"model.predictor.history": 40})
    with pytest.raises(DataError, match="no episode has the 205 steps of a clip"):
        train(config, dataset, tmp_path / "run", CPU, on_begin=lambda _: pytest.fail("a stage has begun"))
    assert not (tmp_path / "run").exists()
