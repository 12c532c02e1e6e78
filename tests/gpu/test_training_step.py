"""The training step on a CUDA device: batches arrive intact, no step waits, and compiled it is the same step.

B clips, T frames a clip, A action-block width.
"""

import numpy as np
import pytest
import torch

from lewm import recipes
from lewm.config import resolve
from lewm.model import build
from lewm.training import state
from lewm.training.batches import copier
from lewm.training.compilation import Compiled
from lewm.training.health import HeldOut
from lewm.training.objectives import OBJECTIVES
from lewm.training.trainer import Trainer, seeded
from lewm_data.store.clips import ClipBatch, Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.reader import BatchReader
from lewm_data.store.writer import Writer

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")
B, T, A = 8, 4, 10
SIZES = {
    "model.frame_size": 32,
    "model.latent": 16,
    "model.projector_hidden": 32,
    "model.predictor.projector_hidden": 32,
    "model.encoder": {"kind": "vit", "patch": 8, "width": 48, "depth": 1, "heads": 3, "mlp": 64},
    "model.predictor.history": T - 1,
    "model.predictor.width": 32,
    "model.predictor.depth": 2,
    "model.predictor.heads": 2,
    "model.predictor.mlp": 64,
    "objective.sigreg.directions": 64,
    "training.compile": "off",
}


def config_of(changes):
    return resolve(resolve(recipes.small("two-room", 2), None, SIZES), None, changes)


def model_of(config):
    torch.manual_seed(0)
    model = build(config.model)
    for block in model.predictor.blocks:  # at first zero, and then dropout would not matter
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    model.action_mean.zero_()
    model.action_std.fill_(2)
    return model.to(CUDA)


def trainer_of(changes):
    config = config_of(changes)
    model = model_of(config)
    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    objective = OBJECTIVES[config.objective.kind](config.objective, config.model, seed=0).to(CUDA)
    optimizer = state.make_optimizer(model, objective, config.training)
    return Trainer(config, 100, 0, model, objective, optimizer, HeldOut(frames))


def clips(step, side=32):
    rng = np.random.default_rng([1, step])
    frames = rng.integers(0, 256, (B, T, side, side, 3), dtype=np.uint8)
    return ClipBatch(frames, rng.standard_normal((B, T, A), dtype=np.float32))


def test_batches_arrive_intact_through_a_stream_of_their_own(tmp_path):
    """The computing stream is behind: memory that Python has let go is still needed there."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 64, 64, 3), dtype=np.uint8)
    with Writer.create(tmp_path / "noise.h5") as writer:
        writer.write_episode({"pixels": pixels, "action": rng.standard_normal((200, 2), dtype=np.float32)})
    arrived = []
    with Dataset.open(tmp_path / "noise.h5") as dataset:
        noise = Clips(dataset, T, 5)
        with BatchReader(noise, B, 0, copier(CUDA)) as reader:
            for _ in range(12):
                torch.cuda._sleep(20_000_000)  # cycles
                frames, actions = next(reader).on(CUDA)
                arrived.append((frames.clone(), actions.clone()))
                del frames, actions
        with BatchReader(noise, B, 0, lambda batch: batch) as reader:
            for frames, actions in arrived:
                batch = next(reader)
                assert np.array_equal(frames.cpu().numpy(), batch.frames)
                assert np.array_equal(actions.cpu().numpy(), batch.actions)


OBJECTIVE_CHANGES = {
    "lewm": {},
    "subspaces": {"objective.sigreg": {"kind": "subspaces", "subspaces": 4}},
    "pldm": {"objective.kind": "pldm", "objective.cov_t": 1, "objective.idm": 1},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", OBJECTIVE_CHANGES)
def test_no_step_waits_for_the_device(nothing_waits, precision, objective):
    changes = {"training.precision": precision, "model.predictor.dropout": 0.1}
    trainer = trainer_of(changes | OBJECTIVE_CHANGES[objective])
    copy = copier(CUDA)
    trainer._step(copy(clips(0, side=40)))  # compiles SIGReg's kernels
    with nothing_waits():
        for step in range(1, 4):
            trainer._step(copy(clips(step, side=40)))
    assert trainer.sums.isfinite().all()


@pytest.mark.filterwarnings("default")  # the compiler has some of its own
@pytest.mark.usefixtures("traceable")
def test_compiled_steps_are_the_same_and_do_not_wait(nothing_waits):
    sums, copy = [], copier(CUDA)
    for setting in ("off", "auto"):
        trainer = trainer_of({"training.compile": setting})
        assert isinstance(trainer.network, Compiled) is (setting == "auto")
        trainer._step(copy(clips(0)))
        with torch._dynamo.config.patch(error_on_recompile=True):
            trainer.measure_health(1)
            trainer._step(copy(clips(1)))
            with nothing_waits():
                for step in range(2, 5):
                    trainer._step(copy(clips(step)))
        sums.append(trainer.sums)
    torch.testing.assert_close(*sums, rtol=1e-3, atol=0)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("traceable")
def test_compiled_dropout_is_a_function_of_seed_and_step():
    predict = Compiled.of(model_of(config_of({"model.predictor.dropout": 0.3}))).predict
    latents, actions = torch.randn(B, T - 1, 16, device=CUDA), torch.randn(B, T - 1, A, device=CUDA)

    def predicted(step):
        torch.manual_seed(step + 1)
        before = torch.cuda.get_rng_state()
        with seeded(5, step, CUDA):
            result = predict(latents, actions).detach()
        assert torch.equal(torch.cuda.get_rng_state(), before)
        return result

    first = predicted(0)
    assert not any(torch.allclose(predicted(step), first) for step in (1, 2))
    assert torch.equal(predicted(0), first)
