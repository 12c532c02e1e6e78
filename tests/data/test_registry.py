"""Worlds by name."""

import gymnasium
import numpy as np
import pytest

from lewm_data.envs.registry import WORLDS, world
from lewm_data.errors import DataError


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_world_keeps_its_contract(name):
    found = world(name)
    assert found is world(found.gymnasium_id)
    assert found.gymnasium_id in gymnasium.registry
    env = found.make(3, 32)
    observation, _ = env.reset(seed=0)
    assert observation["pixels"].shape == (3, 32, 32, 3)
    assert env.state.shape == observation["goal"].shape == (3, found.state_dim)
    for policy_name in found.policies:
        policy = found.policy(policy_name, env)
        policy.reset(np.arange(3), [np.random.default_rng(i) for i in range(3)])
        actions = policy.act(observation)
        assert actions.shape == (3, found.action_dim)
        assert actions in gymnasium.vector.utils.batch_space(env.single_action_space, 3)
    goal = observation["goal"]
    assert (found.path_distance(env.state, goal) > 0).all()
    env.set_state(goal)
    assert env.is_solved().all()
    assert np.array_equal(env.reset(seed=0)[0]["pixels"], observation["pixels"])


def test_the_default_policy_and_noise():
    found = world("two-room")
    env = found.make(1, 16)
    observation, _ = env.reset(seed=0)

    def first(*arguments):
        policy = found.policy(found.default_policy, env, *arguments)
        policy.reset(np.arange(1), [np.random.default_rng(0)])
        return policy.act(observation)

    assert np.array_equal(first(), first(2.0))
    assert not np.array_equal(first(), first(0.0))


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(DataError, match='Did you mean "two-room"'):
        world("tworoom")
    with pytest.raises(DataError, match='Did you mean "expert"'):
        world("two-room").policy("exprt", world("two-room").make(1, 16))
