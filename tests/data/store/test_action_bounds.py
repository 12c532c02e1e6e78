"""Bounds of actions: what the file says, else what the world allows, else what was recorded; a held dimension stays."""

import dataclasses

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.action_bounds import action_bounds
from lewm_data.store.dataset import Dataset

TWO_ROOM = world("two-room")


@pytest.fixture
def path(tmp_path):
    """Episodes of Two-Room, whose file says the bounds of actions."""
    collect(TWO_ROOM, tmp_path / "rooms.h5", 4, policy="random", noise=0.0, frame_size=16, seed=0)
    return tmp_path / "rooms.h5"


def changed(path, actions=None, **attributes):
    """The bounds after a change of the file; an attribute that is None is deleted."""
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value
        if actions is not None:
            file["action"][...] = actions(file["action"][:])
    return bounds_of(path)


def bounds_of(path, place=TWO_ROOM, episodes=None):
    with Dataset.open(path) as dataset:
        low, high = action_bounds(dataset, place, episodes)
    assert low.dtype == high.dtype == np.float32
    return low.tolist(), high.tolist()


UNSAID = {"action_low": None, "action_high": None}


def test_collected_files_say_the_bounds_of_their_world(path):
    with Dataset.open(path) as dataset:
        assert (dataset.attributes["action_low"], dataset.attributes["action_high"]) == ([-1, -1], [1, 1])
    assert bounds_of(path, None) == ([-1, -1], [1, 1])


def test_the_file_goes_before_the_world_and_the_world_before_the_recorded(path):
    assert changed(path, action_low=[-0.5, -np.inf], action_high=[0.25, np.inf]) == ([-0.5, -np.inf], [0.25, np.inf])
    assert changed(path, **UNSAID) == ([-1, -1], [1, 1])
    wide = dataclasses.replace(TWO_ROOM, action_space=spaces.Box(-2, 3, (2,), np.float32))
    assert bounds_of(path, wide) == ([-2, -2], [3, 3])
    with Dataset.open(path) as dataset:
        recorded = dataset.column("action", np.array([1, 3]))
    expected = np.nanmin(recorded, axis=0).tolist(), np.nanmax(recorded, axis=0).tolist()
    assert bounds_of(path, None, np.array([1, 3])) == expected


def test_bounds_that_float32_does_not_have_are_rounded_inwards(path):
    low, high = changed(path, action_low=[0.1, -1e300], action_high=[0.3, 1e300])
    assert low[0] >= 0.1
    assert high[0] <= 0.3
    np.testing.assert_allclose([low[0], high[0]], [0.1, 0.3], rtol=1e-7)
    assert [low[1], high[1]] == [-np.finfo(np.float32).max, np.finfo(np.float32).max]


@pytest.mark.parametrize("said", [{}, UNSAID], ids=["said", "unsaid"])
@pytest.mark.parametrize("value", [0.3, 0.0, 5.0])
def test_a_dimension_that_never_varies_is_held_at_its_value(path, said, value):
    def hold(actions):
        actions[:, 1] = np.where(np.isnan(actions[:, 1]), np.nan, value)
        return actions

    low, high = changed(path, hold, **said)
    assert low[1] == high[1] == np.float32(value)
    assert (low[0], high[0]) == (-1, 1)


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"action_low": None}, "attribute 'action_low' is None, expected an array of 2, a number for each"),
        ({"action_high": None}, "attribute 'action_high' is None, expected an array of 2"),
        ({"action_low": [-1.0]}, r"attribute 'action_low' is \[-1.0\], expected an array of 2"),
        ({"action_low": -1.0}, "attribute 'action_low' is -1.0, expected an array of 2"),
        ({"action_high": [[1.0, 1.0]]}, "attribute 'action_high' is .*, expected an array of 2"),
        ({"action_high": "wide"}, "attribute 'action_high' is 'wide', expected an array of 2"),
        ({"action_high": [1.0, np.nan]}, "attribute 'action_high' is .*nan.*, expected an array of 2"),
        ({"action_low": [-1.0, 2.0]}, "dimension 1 of 'action' is between action_low 2.0 and action_high 1.0"),
    ],
)
def test_attributes_that_are_no_bounds_are_refused(path, attributes, problem):
    with pytest.raises(DataError, match=rf"rooms\.h5: {problem}.*\n"):
        changed(path, **attributes)
