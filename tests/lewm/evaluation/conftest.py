"""A small dataset, a run that was trained on it, and a model whose actions matter."""

import pytest
import torch

from lewm.model import build
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.store.dataset import Dataset
from tests.lewm.evaluation.drawing import CPU, WORLD


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(WORLD, path, 20, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=20)
    return path


@pytest.fixture(scope="package")
def dataset(data):
    with Dataset.open(data) as opened:
        yield opened


@pytest.fixture(scope="package")
def trained(tiny, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny, data, out, CPU)
    return out


@pytest.fixture
def awake(tiny):
    torch.manual_seed(0)
    model = build(tiny.model)
    for block in model.predictor.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    model.action_mean.fill_(0.5)
    model.action_std.fill_(0.3)
    return model.eval()
