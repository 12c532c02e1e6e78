"""Training: resumed equals uninterrupted, SIGReg prevents collapse, and bad input loses nothing."""

import itertools
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch

import lewm
from lewm.checkpoints import run
from lewm.config import resolve
from lewm.datasets import identity_of
from lewm.errors import LewmError
from lewm.model import build
from lewm.sealed import sealed_json
from lewm.training import preparation, state, trainer
from lewm.training.loop import train
from lewm.training.metrics import read_metrics
from lewm.training.objectives import OBJECTIVES, Loss
from lewm.training.objectives.lewm import LewmObjective
from lewm.training.plot import plot_training
from lewm.training.schedule import learning_rate
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


def tensors(directory):
    return run.read_tensors(directory / run.TRAINING)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def train_until(step, *arguments, **options):
    def on_progress(progress):
        if progress.step == step:
            raise Killed

    with pytest.raises(Killed):
        train(*arguments, on_progress=on_progress, **options)


@pytest.mark.parametrize("history", [1, 3])
def test_killed_and_resumed_equals_uninterrupted(tiny, dataset, tmp_path, history):
    changes = {"model.predictor.history": history, "model.predictor.dropout": 0.1}
    config = resolve(tiny, None, changes)
    train(config, dataset, tmp_path / "whole", CPU)
    pieces = tmp_path / "pieces"
    train_until(1, config, dataset, pieces, CPU)  # before the first checkpoint
    train_until(3, config, dataset, pieces, CPU, resume=True)
    train_until(5, config, dataset, pieces, CPU, resume=True)
    train(config, dataset, pieces, CPU, resume=True)
    whole, continued = tensors(tmp_path / "whole"), tensors(pieces)
    assert set(whole) == set(continued)
    for name, tensor in whole.items():
        assert torch.equal(tensor, continued[name]), name
    steps = [json.loads(line)["step"] for line in (pieces / run.METRICS).read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_the_seconds_of_the_steps_are_added_up_over_interruptions(tiny, dataset, tmp_path, monkeypatch):
    """The clock goes on by a second whenever it is looked at: once before the steps of a line, and once after them."""
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    train_until(5, tiny, dataset, tmp_path / "run", CPU)  # the last checkpoint is of step 4
    train(tiny, dataset, tmp_path / "run", CPU, resume=True)
    lines = read_metrics(tmp_path / "run" / run.METRICS)
    assert [line["seconds"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_what_is_encoded_before_the_steps_counts(tiny, dataset, tmp_path, monkeypatch):
    train(tiny, dataset, tmp_path / "source", CPU)
    frozen = {"model.encoder": {"kind": "frozen", "weights": str(tmp_path / "source")}}
    alone = frozen | {"model.projector_hidden": None, "objective": {"kind": "prediction"}}
    monkeypatch.setattr(preparation, "time", SimpleNamespace(perf_counter=iter([100.0, 350.0]).__next__))
    train(resolve(tiny, None, alone), dataset, tmp_path / "run", CPU)
    first = read_metrics(tmp_path / "run" / run.METRICS)[0]
    assert 250 < first["seconds"] < 500


def test_every_step_matters(tiny, dataset, tmp_path):
    """The equality above could not fail if weights did not move or batches did not differ."""
    train(tiny, dataset, tmp_path / "a", CPU)
    train(resolve(tiny, None, {"training.seed": 1}), dataset, tmp_path / "b", CPU)
    a, b = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    moved = [name for name in a if name.startswith("model.encoder") and not torch.equal(a[name], b[name])]
    assert moved
    first = json.loads((tmp_path / "a" / run.METRICS).read_text().splitlines()[0])
    assert {"loss", "terms", "gradient_norm", "seconds", "clips_per_second", "waiting_for_data"} <= set(first)
    weight = tiny.objective.lambda_
    assert weight > 0
    assert first["loss"] == pytest.approx(first["terms"]["prediction"] + weight * first["terms"]["sigreg"], rel=1e-5)


def test_a_run_with_a_frozen_encoder_stands_alone(tiny, dataset, tmp_path):
    train(tiny, dataset, tmp_path / "source", CPU)
    section = {"kind": "frozen", "weights": str(tmp_path / "source")}
    train(resolve(tiny, None, {"model.encoder": section}), dataset, tmp_path / "run", CPU)
    before = run.read_tensors(tmp_path / "source" / run.MODEL)
    shutil.rmtree(tmp_path / "source")
    after = lewm.load(tmp_path / "run").state_dict()
    assert run.read_config(tmp_path / "run")[0].model.encoder.encoder == tiny.model.encoder
    for part in ("encoder", "projector"):
        names = [name.removeprefix(part) for name in before if name.startswith(f"{part}.")]
        assert all(torch.equal(after[f"encoder.{part}{name}"], before[f"{part}{name}"]) for name in names)
    assert not torch.equal(after["projector.0.weight"], before["projector.0.weight"])


def test_a_run_loads_and_remembers_its_data(tiny, dataset, tmp_path):
    report = train(tiny, dataset, tmp_path / "run", CPU)
    assert report.steps == 6
    model = lewm.load(tmp_path / "run")
    assert not model.training
    assert model.action_std.isfinite().all()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensors(tmp_path / "run")[f"model.{name}"])
    config, identity = run.read_config(tmp_path / "run")
    assert config == tiny
    with Dataset.open(dataset) as opened:
        assert identity == identity_of(opened, tiny.env)
    assert plot_training(tmp_path / "run").read_bytes().startswith(b"\x89PNG")


def test_without_sigreg_the_latents_collapse_and_with_it_they_do_not(tiny, tmp_path, caplog):
    dataset = tmp_path / "data.h5"
    collect(world("two-room"), dataset, 24, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=24)
    changes = {
        "training.steps": 200,
        "training.learning_rate": 3e-3,
        "training.batch_size": 64,
        "training.held_out": 0.5,
        "training.log_every": 50,
        "training.evaluate_every": 100,
        "training.checkpoint_every": 200,
    }
    config = resolve(tiny, None, changes | {"objective.lambda": 1.0})
    healthy = train(config, dataset, tmp_path / "with", CPU).health
    assert not caplog.records
    bare = train(resolve(config, None, {"objective.lambda": 0}), dataset, tmp_path / "without", CPU).health
    assert healthy.std_mean > 0.5
    assert healthy.effective_rank > 5
    assert bare.std_mean < 0.2 * healthy.std_mean
    assert bare.effective_rank < 0.8 * healthy.effective_rank
    assert bare.sigreg > 5 * healthy.sigreg


def test_collapse_is_said_in_words(tiny, dataset, tmp_path, caplog):
    config = resolve(tiny, None, {"objective.lambda": 0, "training.steps": 60, "training.learning_rate": 1e-2})
    train(config, dataset, tmp_path / "run", CPU)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "the latents are collapsing" in messages[0]
    assert "raise objective.lambda" in messages[0]


@pytest.mark.parametrize("projector", [True, False])
def test_where_the_latents_are_not_trained_no_weight_of_a_loss_is_advised(tiny, dataset, tmp_path, caplog, projector):
    torch.manual_seed(0)
    flat = build(tiny.model).encoder.state_dict()
    torch.save({name: torch.zeros_like(tensor) for name, tensor in flat.items()}, tmp_path / "flat.pt")
    encoder = {"kind": "frozen", "weights": str(tmp_path / "flat.pt"), "encoder": tiny.model.encoder.model_dump()}
    changes = {}
    if not projector:
        changes = {"model.projector_hidden": None, "model.latent": tiny.model.encoder.width}
        changes["objective.kind"] = "prediction"
    train(resolve(tiny, None, {"model.encoder": encoder, **changes}), dataset, tmp_path / "run", CPU)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "the latents are collapsing" in message
    assert ("raise objective.lambda" in message) == projector
    assert ("use other weights, or train a projector" in message) != projector


def test_with_a_frozen_encoder_a_killed_run_goes_on_without_its_source(tiny, dataset, tmp_path):
    source = train(tiny, dataset, tmp_path / "source", CPU).run
    config = resolve(tiny, None, {"model.encoder": {"kind": "frozen", "weights": str(source)}})
    train(config, dataset, tmp_path / "whole", CPU)
    pieces = tmp_path / "pieces"
    train_until(3, config, dataset, pieces, CPU)
    shutil.rmtree(source)
    train(run.read_config(pieces)[0], dataset, pieces, CPU, resume=True)
    whole, continued = tensors(tmp_path / "whole"), tensors(pieces)
    assert set(whole) == set(continued)
    for name, tensor in whole.items():
        assert torch.equal(tensor, continued[name]), name


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tiny, dataset, tmp_path, monkeypatch):
    compute = LewmObjective.forward

    def poisoned(*arguments):
        loss = compute(*arguments)
        calls.append(loss)
        return Loss(loss.total * math.nan if len(calls) == 5 else loss.total, loss.terms)

    calls = []
    monkeypatch.setattr(LewmObjective, "forward", poisoned)
    with pytest.raises(LewmError, match=r"not finite at step 5 of 6; the checkpoint of step 4 is kept\nTrain anew"):
        train(tiny, dataset, tmp_path / "run", CPU)
    assert run.read_with_metadata(tmp_path / "run" / run.TRAINING)[1]["step"] == "4"
    assert all(t.isfinite().all() for t in tensors(tmp_path / "run").values())
    monkeypatch.undo()
    assert train(tiny, dataset, tmp_path / "run", CPU, resume=True).steps == 6


def test_epochs_are_passes_over_the_training_clips(tiny, dataset, tmp_path):
    config = resolve(tiny, None, {"training.epochs": 1, "training.batch_size": 64, "training.held_out": 0.5})
    report = train(config, dataset, tmp_path / "run", CPU)
    assert 2 <= report.steps < 20


def test_existing_runs_are_not_overwritten(tiny, dataset, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("precious")
    with pytest.raises(LewmError, match="not empty"):
        train(tiny, dataset, tmp_path / "run", CPU)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_resume_refuses_another_configuration_and_other_data(tiny, dataset, tmp_path):
    train(tiny, dataset, tmp_path / "run", CPU)
    with pytest.raises(LewmError, match="configuration differs"):
        train(resolve(tiny, None, {"training.seed": 9}), dataset, tmp_path / "run", CPU, resume=True)
    other = tmp_path / "other.h5"
    collect(world("two-room"), other, 12, policy="expert", noise=2.0, frame_size=16, seed=1, num_envs=4)
    with pytest.raises(LewmError, match="other data"):
        train(tiny, other, tmp_path / "run", CPU, resume=True)


@pytest.mark.parametrize(("env", "expects"), [("two-room", "those of two-room have 2"), ("arm", "the configuration")])
def test_data_of_another_action_width_is_refused(tiny, tmp_path, env, expects):
    path = tmp_path / "wide.h5"
    rows = 40
    with Writer.create(path, {"env": "two-room"}) as writer:
        for _ in range(3):
            writer.write_episode(
                {"pixels": np.zeros((rows, 16, 16, 3), np.uint8), "action": np.zeros((rows, 7), np.float32)}
            )
    with pytest.raises(LewmError, match=f"7 dimensions, {expects}"):
        train(resolve(tiny, None, {"env": env}), path, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["another format", "empty", "no weights", "half a config", "half the weights"])
def test_half_written_runs_meet_a_clear_error(tiny, dataset, tmp_path, damage):
    directory = tmp_path / "run"
    if damage == "empty":
        directory.mkdir()
    else:
        train(tiny, dataset, directory, CPU)
    if damage == "no weights":
        (directory / run.MODEL).unlink()
    if damage == "another format":
        content = json.loads((directory / run.CONFIG).read_text()) | {"format": run.FORMAT + 1}
        (directory / run.CONFIG).write_text(sealed_json(content))
    if damage == "half a config":
        (directory / run.CONFIG).write_text((directory / run.CONFIG).read_text()[:100])
    if damage == "half the weights":
        (directory / run.MODEL).write_bytes((directory / run.MODEL).read_bytes()[:1000])
    with pytest.raises(LewmError) as caught:
        lewm.load(directory)
    assert len(str(caught.value).splitlines()) == 2
    assert str(directory) in str(caught.value)


def test_a_checkpoint_is_whole_or_not_there(tiny, tmp_path, monkeypatch):
    model = build(tiny.model)
    objective = OBJECTIVES[tiny.objective.kind](tiny.objective, tiny.model, seed=0)
    optimizer = state.make_optimizer(model, objective, tiny.training)
    state.save(tmp_path, model, objective, optimizer, 1)
    before = (tmp_path / run.TRAINING).read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        state.save(tmp_path, model, objective, optimizer, 2)
    assert (tmp_path / run.TRAINING).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [run.MODEL, run.PREVIOUS, run.TRAINING]


def test_the_learning_rate_warms_up_and_ends_at_zero(tiny):
    config = resolve(tiny, None, {"training.warmup": 0.1, "training.learning_rate": 1.0}).training
    rates = [learning_rate(config, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(b < a for a, b in itertools.pairwise(rates[10:]))
