"""Lane, an environment of the tests' own, and recordings of it."""

import numpy as np

from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset

PACKAGE = "gymnasium_package"
SIZE = 12
NONE = np.zeros((0, 5), np.float32)


def lane(kind=""):
    """The world of a kind of Lane."""
    return world(f"{PACKAGE}:Lane{kind}-v0")


def record(path, kind="", episodes=3, **changes):
    """Records episodes of a kind of Lane, and returns them."""
    settings = {"policy": "random", "noise": 0.0, "frame_size": SIZE, "seed": 5, **changes}
    collect(lane(kind), path, episodes, **settings)
    with Dataset.open(path) as dataset:
        return [dataset.episode(index) for index in range(episodes)]
