"""Spaces of Gymnasium environments as vectors of numbers: actions, and what is observed."""

import numpy as np
import pytest
from gymnasium import spaces

from lewm_data.envs.gymnasium.spaces import action_groups, flat_actions, numeric_leaves, to_action
from lewm_data.errors import DataError
from tests.data.envs.lanes import SIZE, lane

pytestmark = pytest.mark.usefixtures("gymnasium_package")


def test_actions_are_one_hot_or_within_their_bounds():
    one = np.array([0.1, 0.9, 0.3], np.float32)
    assert to_action(spaces.Discrete(3, start=5), one) == 6
    pairs = spaces.MultiDiscrete(np.array([[2, 3], [2, 2]]), start=np.array([[0, -1], [4, 0]]))
    assert action_groups(pairs) == (2, 3, 2, 2)
    chosen = to_action(pairs, np.array([0, 1, 0, 0, 1, 1, 0, 0, 1], np.float32))
    assert chosen.tolist() == [[1, 1], [4, 1]]
    assert pairs.contains(chosen)
    box = spaces.Box(np.array([[-1, 0.1]]), np.array([[1, 2]]), dtype=np.float64)
    assert action_groups(box) is None
    np.testing.assert_array_equal(flat_actions(box).high, np.array([1, 2], np.float32))
    lowest = to_action(box, np.array([-3, np.float32(0.1)], np.float32))
    assert lowest.tolist() == [[-1, pytest.approx(0.1)]]
    assert box.contains(lowest)
    for wrong in (np.zeros(2), np.array([0, np.nan, 0])):
        with pytest.raises(DataError, match="expected 3 finite numbers"):
            to_action(spaces.Discrete(3), wrong)
    for other in (spaces.MultiBinary(3), spaces.Box(0, 9, (2,), np.int64), spaces.Box(0, np.inf, (2,))):
        with pytest.raises(DataError, match="expected Discrete, MultiDiscrete, or a bounded Box"):
            flat_actions(other)


def test_numbers_of_an_observation_are_in_the_order_of_their_names():
    space = spaces.Dict(
        {
            "z": spaces.Discrete(4),
            "a/b": spaces.Tuple([spaces.MultiBinary(2), spaces.Box(0, 255, (5,), np.uint8)]),
            "frame": spaces.Box(0, 255, (5, 5), np.uint8),
            "word": spaces.Text(3),
        }
    )
    found = dict(numeric_leaves(space, space.sample(), "observation"))
    shapes = {"observation.a_b.0": (2,), "observation.a_b.1": (5,), "observation.z": ()}
    assert {name: values.shape for name, values in found.items()} == shapes
    whole = spaces.Box(-1, 1, (2, 2), np.float32)
    ((name, values),) = numeric_leaves(whole, np.ones((2, 2)), "observation")
    assert (name, values.dtype, values.sum()) == ("observation", np.float32, 4)


@pytest.mark.parametrize("policy", ["random", "smooth"])
def test_choices_are_uniform_kept_for_a_while_and_the_same_in_any_batch(policy):
    found = lane()
    env = found.make(2, SIZE, False)

    def actions(slots):
        acting = found.policy(policy, env)
        acting.reset(np.array(slots), [np.random.default_rng([7, slot]) for slot in slots])
        return np.stack([acting.act({}) for _ in range(25)])

    both = actions([0, 1])
    np.testing.assert_array_equal(both[:, 1], actions([1])[:, 1])
    drawn = []
    for seed in range(200):
        acting = found.policy(policy, env)
        acting.reset(np.array([0]), [np.random.default_rng(seed)])
        drawn.append([acting.act({})[0] for _ in range(25)])
    drawn = np.array(drawn)  # (episodes, steps, 5)
    assert (drawn[..., :3].sum(-1) == 1).all()
    assert (drawn[..., 3:].sum(-1) == 1).all()
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), [1 / 3] * 3 + [1 / 2] * 2, atol=0.04)
    same = (drawn[:, 1:] * drawn[:, :-1])[..., :3].sum(-1).mean()
    kept = {"random": 0, "smooth": np.exp(-1 / 5)}[policy]
    assert same == pytest.approx(kept + (1 - kept) / 3, abs=0.03)
    env.close()
