"""Whether the states of a Gymnasium environment determine its pictures, as a trial of it says."""

import re

import numpy as np
import pytest

from lewm_data.envs.gymnasium.evidence import Moments, judgement
from lewm_data.envs.judgement import Judgement
from tests.data.envs.lanes import lane

pytestmark = pytest.mark.usefixtures("gymnasium_package")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("Direction", r"[\d,]+ of [\d,]+ pairs of moments with equal states look different"),
        ("Counter", r"[\d,]+ of [\d,]+ pairs of moments with equal states look different"),
        ("Constant", r"[\d,]+ of [\d,]+ pairs of moments with equal states look different"),
        ("Sideways", r"moments that count as the same look different \(0\.\d\d of the usual difference"),
    ],
)
def test_states_that_do_not_show_what_the_picture_shows_tell_no_success(kind, why):
    judged = lane(kind).judge()
    assert not judged.known
    assert re.match("not known, because states do not show all that the picture shows: " + why, judged.said)


@pytest.mark.parametrize("kind", ["", "Box"])
def test_states_that_show_what_the_picture_shows_tell_success(kind):
    judged = lane(kind).judge()
    assert judged.known
    assert re.match(r"judged by states: moments that count as the same look alike \(0\.[0-4]", judged.said)
    told = lane("Telling").judge()
    assert told == Judgement(True, 'judged by the environment, which says "is_success" wherever the goal is')


def test_too_few_pairs_tell_nothing():
    """Two episodes of two moments each, in which everything differs."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8)
    past = np.array(["a", "b", "c", "d"])
    moments = Moments(np.eye(4), frames, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), past)
    judged = judgement([moments], lambda states, goals: np.ones(len(states), np.bool_))
    assert judged.said.endswith("what the picture shows: 4 pairs of moments count as the same in a trial")


def test_moments_with_the_same_past_are_no_evidence():
    """Every moment comes twice, and is near to nothing else."""
    frames = np.random.default_rng(0).integers(0, 256, (150, 2, 2, 3), np.uint8)
    numbers = np.tile(np.arange(150.0), 2)
    states = (numbers + np.linspace(0, 0.01, 300))[:, None]

    def judged(past):
        moments = Moments(states, np.concatenate([frames, frames]), np.arange(300), np.zeros(300, np.int64), past)
        return judgement([moments], lambda states, goals: (np.abs(states - goals) < 0.1).all(axis=1))

    assert judged(np.arange(300)).known
    assert judged(numbers).said.endswith("0 pairs of moments count as the same in a trial")
