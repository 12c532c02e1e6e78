"""A world model small enough for every test."""

from __future__ import annotations

import pytest
import torch

from lewm import recipes
from lewm.config import Config, resolve
from lewm.model.world_model import WorldModel

TINY = {
    "model.frame_size": 16,
    "model.latent": 8,
    "model.projector_hidden": 16,
    "model.encoder": {"kind": "conv", "channels": [4, 8], "width": 16},
    "model.predictor.width": 8,
    "model.predictor.depth": 2,
    "model.predictor.heads": 2,
    "model.predictor.head_dim": 4,
    "model.predictor.mlp": 16,
    "model.action_embedder.hidden": 16,
    "objective.directions": 64,
    "training.steps": 6,
    "training.batch_size": 8,
    "training.log_every": 1,
    "training.evaluate_every": 3,
    "training.checkpoint_every": 2,
    "planning.samples": 64,
    "planning.elites": 8,
    "planning.iterations": 3,
}


def awaken(model: WorldModel, seed: int = 0) -> WorldModel:
    """Fill zero-initialised and empty parts with noise, so that every part of the model matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in model.predictor.blocks:
            block.modulation.weight.normal_(0, 0.3, generator=generator)
            block.modulation.bias.normal_(0, 0.3, generator=generator)
    model.action_mean.zero_()
    model.action_std.fill_(1)
    return model.eval()


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The small recipe for Two-Room, shrunk."""
    return resolve(recipes.small("two-room", 2), None, TINY)


@pytest.fixture(params=[1, 3], ids=["history-1", "history-3"])
def model(request: pytest.FixtureRequest, tiny: Config) -> WorldModel:
    """A tiny model with random weights, in eval mode, for both lengths of history."""
    torch.manual_seed(0)
    return awaken(WorldModel(resolve(tiny, None, {"model.predictor.history": request.param}).model))
