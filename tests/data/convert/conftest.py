"""What the tests of conversions share: the scene that the fixtures hold, and a conversion of them."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FIXTURES = Path(__file__).with_name("fixtures")


@pytest.fixture(scope="session")
def scene():
    """The module that says what the fixtures hold."""
    spec = importlib.util.spec_from_file_location("scene", FIXTURES / "scene.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fixtures():
    """The folder of fixtures."""
    return FIXTURES


@pytest.fixture
def converted(tmp_path):
    """A function that converts a source, and returns what it said, the episodes and the attributes."""
    from lewm_data.convert.convert import convert
    from lewm_data.convert.request import Request
    from lewm_data.store.dataset import Dataset
    from lewm_data.store.verify import verify

    def run(source, **settings):
        plans, out = [], tmp_path / "converted.h5"
        report = convert(Request(source, out, **{"fit": "stretch", "overwrite": True, **settings}), plans.append)
        with Dataset.open(out) as dataset:
            assert verify(dataset).differing == ()
            episodes = [dataset.episode(number) for number in range(dataset.num_episodes)]
            said = plans[0].assumptions
            return SimpleNamespace(
                report=report, format=plans[0].format, said=said, episodes=episodes, attributes=dataset.attributes
            )

    return run


@pytest.fixture(scope="session")
def aligned(scene):
    """A function that fails unless each frame is the scene's, and each action the one taken from its frame."""

    def check(episodes, camera="front", first=0, numbers=(0, 1, 2)):
        assert len(episodes) == len(numbers)
        for number, episode in zip(numbers, episodes, strict=True):
            steps = range(first, scene.LENGTHS[number])
            assert [scene.read(frame) for frame in episode["pixels"]] == [(number, step) for step in steps]
            assert {scene.camera(frame) for frame in episode["pixels"]} == {camera}
            expected = [scene.action(number, step) for step in steps[:-1]]
            np.testing.assert_allclose(episode["action"][:-1], expected, atol=1e-6)
            assert np.isnan(episode["action"][-1]).all()

    return check
