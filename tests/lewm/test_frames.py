"""Frames that are not square: the same sentence from training and from whatever opens a run, once a process."""

import numpy as np
import pytest
import torch

import lewm
from lewm.config import resolve
from lewm.evaluation.from_env import read_goal
from lewm.model.frames import warn_if_stretched
from lewm.training.loop import train
from lewm_data.store.writer import Writer

STRETCHED = ["16 x 24 frames are stretched to the shape 16 x 16."]


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    with Writer.create(tmp_path / "wide.h5", {"env": "two-room"}) as writer:
        for _ in range(8):
            action = rng.normal(size=(30, 2)).astype(np.float32)
            state = rng.random((30, 2)).astype(np.float32)
            pixels = rng.integers(0, 256, (30, 16, 24, 3), dtype=np.uint8)
            writer.write_episode({"pixels": pixels, "action": action, "state": state})
    return tmp_path / "wide.h5"


def test_training_and_a_run_tell_that_frames_are_stretched(tiny, dataset, tmp_path, caplog):
    warn_if_stretched.cache_clear()
    config = resolve(tiny, None, {"training.steps": 1})
    train(config, dataset, tmp_path / "run", torch.device("cpu"))
    stretched = [message for message in caplog.messages if "stretched" in message]
    assert stretched == STRETCHED
    caplog.clear()
    warn_if_stretched.cache_clear()  # as if this were another process
    lewm.load(tmp_path / "run")
    assert caplog.messages == STRETCHED


def test_a_goal_picture_too(tmp_path, caplog):
    image = pytest.importorskip("matplotlib.image")
    warn_if_stretched.cache_clear()
    image.imsave(tmp_path / "goal.png", np.zeros((16, 24, 3), np.uint8))
    read_goal(tmp_path / "goal.png", 16)
    assert caplog.messages == STRETCHED
