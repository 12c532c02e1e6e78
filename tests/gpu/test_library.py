"""The library gives on a CUDA device what it gives on a CPU."""

import numpy as np
import pytest
import torch

from lewm.config import resolve
from lewm.planning.controller import Controller
from lewm.planning.plan import Context
from lewm.surprise.meter import ActionSearch, Meter
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

CUDA = torch.device("cuda")


@pytest.mark.gpu
@torch.inference_mode()
def test_embeddings_and_rollouts_equal_those_of_the_cpu(model):
    frames = torch.randint(0, 256, (3, 1, 16, 16, 3), dtype=torch.uint8)
    candidates = torch.randn(3, 5, 4, model.config.action_block)
    latents = model.encode(frames)
    reached = model.rollout(latents, candidates)
    model.to(CUDA)
    torch.testing.assert_close(model.encode(frames).cpu(), latents, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        model.rollout(latents.to(CUDA), candidates.to(CUDA)).cpu(), reached, rtol=1e-3, atol=1e-3
    )


@pytest.mark.gpu
def test_plans_from_the_same_keys_are_near(model, tiny):
    frames, goals = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
    plans = []
    for device in ("cpu", "cuda"):
        planning = resolve(tiny, None, {"planning.planner.iterations": 1, "planning.precision": "fp32"}).planning
        controller = Controller(model.to(device), planning, seed=0)
        context = Context(controller.embed(frames)[:, None])
        plan = controller.plan(context, controller.embed(goals), np.arange(4), replan=0)
        plans.append(controller.actions(plan.actions))
    assert np.abs(plans[0] - plans[1]).max() < 0.2


@pytest.mark.gpu
@pytest.mark.parametrize("search", [False, True])
def test_surprise_equals_that_of_the_cpu(model, search):
    latents, bank = torch.randn(40, model.config.latent), torch.randn(300, model.config.action_block)
    scores = []
    for device in ("cpu", "cuda"):
        blocks = bank.to(device)
        meter = Meter(model.to(device), 5, ActionSearch(blocks, seed=0) if search else blocks)
        scores.append(meter.push(latents.to(device)).cpu())
    torch.testing.assert_close(*scores, rtol=1e-2, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_trains_in_bf16(tiny, tmp_path, device):
    collect(world("two-room"), tmp_path / "a.h5", 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=12)
    config = tiny.model_copy(update={"training": tiny.training.model_copy(update={"precision": "bf16"})})
    report = train(config, tmp_path / "a.h5", tmp_path / "run", torch.device(device))
    assert np.isfinite(report.health.std_mean)
