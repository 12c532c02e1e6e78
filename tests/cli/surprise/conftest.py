"""A run that has hardly been trained, and a video of its world."""

import numpy as np
import pytest

from lewm_data.collection.record_episodes import record
from lewm_data.envs.registry import world
from lewm_data.video.video_writer import write_video
from tests.cli.surprise.commands import COLLECT, TRAIN, call


@pytest.fixture(scope="package")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEWM_HOME", str(path))
        assert call(*COLLECT)[0] == 0
        assert call(*TRAIN)[0] == 0
    return path


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(home))


@pytest.fixture(scope="package")
def run(home):
    return home / "runs" / "two-room-small"


@pytest.fixture(scope="package")
def episodes():
    return record(world("two-room"), range(40), 16, 40)


@pytest.fixture
def video(tmp_path, episodes):
    """An episode that jumps into another one at frame 25, enlarged so that compression spares it."""
    frames = np.concatenate([episodes[0].frames[:25], 255 - episodes[1].frames[25:]])
    write_video(tmp_path / "jump.mp4", frames.repeat(8, axis=1).repeat(8, axis=2), 10.0)
    return tmp_path / "jump.mp4"
