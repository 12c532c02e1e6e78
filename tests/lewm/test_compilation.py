"""Encoder and predictor through torch.compile: when, how often, and with which results."""

import functools
import json
import logging
import shutil

import pytest
import torch

from lewm.checkpoints import run
from lewm.config import resolve
from lewm.model import build
from lewm.training import compilation, trainer
from lewm.training.compilation import Compilation, Compiled, choose_compilation
from lewm.training.loop import train
from lewm.training.trainer import seeded
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

# The compiler's own, which it hides from its users.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Frames that the model resizes."""
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=24, seed=0, num_envs=4)
    return path


@pytest.fixture
def everything_is_there(monkeypatch):
    monkeypatch.setattr(compilation, "triton_obstacle", lambda device: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("CC", raising=False)


@pytest.mark.usefixtures("everything_is_there")
def test_auto_compiles_on_cuda_devices_that_have_a_compiler(monkeypatch):
    assert choose_compilation("auto", CUDA).on
    assert choose_compilation("off", CUDA) == Compilation(False, "training.compile is off")
    assert choose_compilation("auto", CPU) == Compilation(False, "the device is cpu, not cuda")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert choose_compilation("auto", CUDA) == Compilation(False, "Triton finds no C compiler")
    monkeypatch.setenv("CC", "/opt/cc")
    assert choose_compilation("auto", CUDA).on
    monkeypatch.setattr(compilation, "triton_obstacle", lambda device: "triton is not installed")
    assert choose_compilation("auto", CUDA) == Compilation(False, "triton is not installed")


def test_the_choice_is_logged_once(tiny, dataset, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train(resolve(tiny, None, {"training.compile": "auto"}), dataset, tmp_path / "run", CPU)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [one for one in said if "compiled" in one] == [
        "encoder and predictor are not compiled: the device is cpu, not cuda"
    ]


def losses(directory):
    return [json.loads(line)["loss"] for line in (directory / run.METRICS).read_text().splitlines()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.usefixtures("traceable")
def test_two_programs_serve_a_training_and_its_resumption(tiny, dataset, tmp_path, monkeypatch, precision):
    """Health is measured at two of the six steps, in eval mode; dropout has masks in all of them."""

    def count(graph, inputs):
        programs.append(graph)
        return aot_eager(graph, inputs)

    def kill(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    aot_eager, programs = torch._dynamo.lookup_backend("aot_eager"), []
    changes = {"model.predictor.history": 3, "model.predictor.dropout": 0.1, "training.precision": precision}
    config = resolve(tiny, None, changes)
    train(config, dataset, tmp_path / "plain", CPU)
    monkeypatch.setattr(trainer, "choose_compilation", lambda *_: Compilation(True, "the test asks for it"))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count, fullgraph=True))
    train(config, dataset, tmp_path / "whole", CPU)
    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path / "pieces", CPU, on_progress=kill)
    train(config, dataset, tmp_path / "pieces", CPU, resume=True)
    assert len(programs) == 2
    whole, pieces, plain = (run.read_tensors(tmp_path / name / run.TRAINING) for name in ("whole", "pieces", "plain"))
    assert set(whole) == set(pieces) == set(plain)
    for name, tensor in whole.items():
        assert torch.equal(tensor, pieces[name]), name
    got, expected = losses(tmp_path / "whole"), losses(tmp_path / "plain")
    if precision == "fp32":
        assert got == pytest.approx(expected, rel=1e-5)
    else:  # roundings that differ go into the weights, and from there into the next losses
        assert got[0] == pytest.approx(expected[0], rel=2**-7)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
@pytest.mark.usefixtures("traceable")
def test_compiled_dropout_is_a_function_of_seed_and_step(tiny):
    """The compiler has random numbers of its own."""
    changes = {"model.predictor.history": 3, "model.predictor.depth": 1, "model.predictor.dropout": 0.3}
    model = build(resolve(tiny, None, changes).model)
    torch.nn.init.normal_(model.predictor.blocks[0].modulation.weight, std=0.3)
    predict = Compiled.of(model).predict
    latents, actions = torch.randn(8, 3, 8), torch.randn(8, 3, 10)

    def predicted(step):
        torch.manual_seed(step + 1)
        before = torch.get_rng_state()
        with seeded(5, step, CPU):
            result = predict(latents, actions).detach()
        assert torch.equal(torch.get_rng_state(), before)
        return result

    first = predicted(0)
    assert not any(torch.allclose(predicted(step), first) for step in (1, 2))
    assert torch.equal(predicted(0), first)
