"""Push-T: its physics, states that restore it, where episodes begin, when they are solved."""

import sys

import numpy as np
import pymunk
import pytest

from lewm_data.envs.push_t.definition import PUSH_T
from lewm_data.envs.push_t.factors import FACTORS
from lewm_data.envs.push_t.geometry import AGENT, ANGLE, BLOCK, POSE, corners, distance_to_block
from lewm_data.envs.push_t.simulator import PushTSimulator
from lewm_data.envs.push_t.task import path_distance, solved
from lewm_data.errors import DataError

SIZE = 16
ABOVE = np.array([256.0, 180.0, 256, 200, 0, 0, 0])  # over the middle of the bar, 5 units off it


def simulator(state=None, seed=0, factors=None):
    made = PushTSimulator(SIZE)
    made.reset(np.random.default_rng(seed), factors or {})
    if state is not None:
        made.set_state(np.array(state, float))
    return made


def states(one, actions):
    history = [one.state]
    for action in actions:
        one.step(np.array(action, float))
        history.append(one.state)
    return np.stack(history)


def chase(one, steps, aim=lambda state: state[BLOCK], seed=0):
    """Actions that keep the agent pushing, states, and whether the block moved in each step."""
    rng = np.random.default_rng(seed)
    history, actions = [one.state], []
    for _ in range(steps):
        state = history[-1]
        actions.append(np.clip((aim(state) - state[AGENT]) / 100 + rng.normal(0, 0.15, 2), -1, 1))
        one.step(actions[-1])
        history.append(one.state)
    history = np.stack(history)
    return actions, history, (history[1:, POSE] != history[:-1, POSE]).any(axis=1)


def test_it_moves_as_in_a_space_that_is_kept():
    """The published environment steps one space on and on; so does this one, written from its numbers."""
    space = pymunk.Space()
    space.damping = 0
    agent, block = pymunk.Body(body_type=pymunk.Body.KINEMATIC), pymunk.Body(1, 3000)
    bar = pymunk.Poly(block, [(-60, 0), (60, 0), (60, 30), (-60, 30)])
    stem = pymunk.Poly(block, [(-15, 30), (15, 30), (15, 120), (-15, 120)])
    block.center_of_gravity = (0, 45)
    space.add(agent, pymunk.Circle(agent, 15), block, bar, stem)
    agent.position, block.angle, block.position = (150, 200), 0.5, (256, 200)

    one = simulator([150, 200, 256, 200, 0.5, 0, 0])
    actions, ours, moving = chase(one, 30, lambda state: state[AGENT] + (state[BLOCK] - state[AGENT]) / 3)
    assert moving.sum() > 15
    for action, state in zip(actions, ours[1:], strict=True):
        target = agent.position + tuple(100 * action)
        for _ in range(10):
            agent.velocity += (100 * (target - agent.position) - 20 * agent.velocity) * 0.01
            space.step(0.01)
        assert np.abs(state[AGENT] - agent.position).max() < 1e-9
        assert np.abs(state[5:] - agent.velocity).max() < 1e-9
        still_to_move = 0.01 * block.velocity_at_local_point((0, 0))
        assert np.abs(state[BLOCK] - block.position - still_to_move).max() < 0.2
        assert abs(state[ANGLE] - (block.angle + 0.01 * block.angular_velocity) % (2 * np.pi)) < 0.002


def test_a_push_at_the_middle_goes_straight_and_one_at_the_end_turns():
    down = [(0, 0.3)] * 15
    straight = states(simulator(ABOVE), down)[-1]
    assert abs(straight[ANGLE]) < 1e-9
    assert abs(straight[2] - 256) < 1e-9
    assert straight[3] - 200 > 80
    np.testing.assert_allclose(straight[3] - straight[1], 15, atol=2)  # touching
    aside = states(simulator(ABOVE + np.array([40, 0, 0, 0, 0, 0, 0])), down)[-1]
    assert 0.3 < aside[ANGLE] < np.pi  # from x towards y


def test_nothing_moves_the_block_but_the_agent():
    rest = states(simulator([100, 100, 256, 300, 1, 300, 200]), [(0, 0)] * 10)
    assert (rest[1:, POSE] == rest[1, POSE]).all()
    np.testing.assert_allclose(rest[:, POSE], [[256, 300, 1]] * 11, rtol=0, atol=1e-9)
    assert np.abs(rest[-1, 5:]).max() < 5  # the controller brakes
    pushed = states(simulator(ABOVE), [(0, 0.5)] * 3 + [(0, -1)] * 4)
    assert (pushed[-3:, POSE] == pushed[-1, POSE]).all()


@pytest.mark.parametrize("factors", [{}, {"block.friction": 0.7, "block.scale": 1.2, "agent.scale": 0.6}])
def test_states_are_restored_bitwise_with_the_future_that_follows(factors):
    first, second = simulator(seed=3, factors=factors), simulator(seed=4, factors=factors)
    actions, history, moving = chase(first, 60)
    touching = np.flatnonzero(moving)
    assert len(touching) > 20
    chase(second, 10)
    for begin in (0, touching[5], touching[-8]):
        second.set_state(history[begin], first.goal)
        assert np.array_equal(states(second, actions[begin:]), history[begin:])
    assert np.array_equal(second.render(), first.render())
    assert np.array_equal(second.render_goal(), first.render_goal())


@pytest.mark.parametrize("seed", range(4))
def test_walls_hold_the_agent_and_the_block(seed):
    """Even one that is pressed into a corner."""
    one = simulator(seed=seed)
    _, history, moving = chase(one, 150, lambda state: 2 * state[BLOCK] - state[AGENT], seed)
    assert moving.mean() > 0.2
    around = np.stack([corners(state[POSE], 1.0) for state in history])
    assert around.min() < 8 or around.max() > 503  # it got there
    assert around.min() > 7 - 1e-6
    assert around.max() < 504 + 1e-6
    assert history[:, AGENT].min() > 7
    assert history[:, AGENT].max() < 504
    assert min(distance_to_block(state[AGENT], state[POSE], 1.0) for state in history) > 15 - 3


def test_actions_are_clipped_and_must_be_finite():
    ones, more = (states(simulator(ABOVE), [(x, -x)] * 3) for x in (1.0, 5.0))
    assert np.array_equal(ones, more)
    assert np.linalg.norm(ones[-1, AGENT] - ones[0, AGENT]) > 50
    with pytest.raises(DataError, match="not finite"):
        simulator().step(np.array([0.0, np.nan]))


def test_proprio_is_the_agent_s_position_and_velocity():
    one = simulator([1, 2, 256, 300, 3, 4, 5])
    assert one.columns()["proprio"].tolist() == [1, 2, 4, 5]


def test_an_episode_is_a_function_of_its_generator_and_begins_with_room_around_the_block():
    for seed in range(30):
        one, again = simulator(seed=seed), simulator(seed=seed)
        assert np.array_equal(one.state, again.state)
        assert np.array_equal(one.goal, again.goal)
        assert not one.is_solved()
        for state in (one.state, one.goal):
            around = corners(state[POSE], 1.0)
            assert around.min() >= 47
            assert around.max() <= 464
            assert distance_to_block(state[AGENT], state[POSE], 1.0) >= 20
            assert (state[5:] == 0).all()
    drawn = np.stack([simulator(seed=seed).state for seed in range(200)])
    assert np.ptp(drawn[:, ANGLE]) > 6
    assert (np.ptp(drawn[:, :4], axis=0) > 280).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((0, 0, 0, 0, 0, 0, 0), True),
        ((19.9, 0, 0, 0, 0, 900, 0), True),
        ((0, 20.1, 0, 0, 0, 0, 0), False),
        ((0, 14, 14, 0, 0, 0, 0), True),
        ((14.2, 0, 0, 14.2, 0, 0, 0), False),  # together beyond 20
        ((0, 0, 0, 0, np.radians(19.9), 0, 0), True),
        ((0, 0, 0, 0, -np.radians(19.9), 0, 0), True),
        ((0, 0, 0, 0, np.radians(20.1), 0, 0), False),
        ((0, 0, 0, 0, 2 * np.pi, 0, 0), True),
    ],
)
def test_solved(change, expected):
    goal = np.array([[100.0, 200, 300, 250, 0.1, 0, 0]])
    assert solved(goal + change, goal).tolist() == solved(goal, goal + change).tolist() == [expected]
    one = simulator()
    one.set_state(goal[0] + change, goal[0])
    assert one.is_solved() is expected


def test_path_distance_counts_a_degree_as_a_unit():
    goal = np.array([[100.0, 200, 300, 250, 0.1, 0, 0]])
    state = goal + np.array([3, 4, -6, 8, 0, 50, 0])
    state[0, ANGLE] = 0.1 - np.radians(30) + 4 * np.pi
    np.testing.assert_allclose(path_distance(state, goal), [5 + 10 + 30])
    np.testing.assert_allclose(path_distance(goal, state), [5 + 10 + 30])
    assert path_distance(goal, goal).tolist() == [0]


def test_sizes_and_friction_change_what_happens():
    def pushed(**factors):
        slanting = [(0.1, 0.3)] * 12
        return states(simulator(ABOVE, factors={name.replace("_", "."): v for name, v in factors.items()}), slanting)

    usual = pushed()[-1]
    assert np.abs(pushed(block_friction=1.0)[-1] - usual)[POSE].max() > 1
    small, large = pushed(agent_scale=0.5)[-1], pushed(agent_scale=1.5)[-1]
    assert small[3] < usual[3] - 5 < large[3] - 10
    assert abs(pushed(block_scale=0.75)[-1, ANGLE]) > abs(usual[ANGLE]) + 0.01


def test_every_factor_can_be_drawn_and_recorded():
    for name, factor in FACTORS.items():
        for seed in range(20):
            value = factor.draw(np.random.default_rng(seed))
            assert simulator(factors={name: value}).factors[name] == value
            assert simulator(factors={name: np.asarray(value).tolist()}).factors[name] == value
        assert np.asarray(value).dtype.kind == np.asarray(factor.default).dtype.kind
    assert simulator().factors == {name: factor.default for name, factor in FACTORS.items()}


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({"agent.colour": (1, 2, 3)}, '"agent.color"'),
        ({"agent.color": (1, 2, 256)}, "from 0 to 255"),
        ({"agent.color": (0.1, 0.2, 0.3)}, "whole numbers"),
        ({"block.scale": 2.0}, "0.75 to 1.25"),
        ({"block.friction": np.nan}, "0.0 to 1.0"),
        ({"agent.scale": "large"}, "0.5 to 1.5"),
    ],
)
def test_a_wrong_factor_says_what_is_wrong(factors, expected):
    with pytest.raises(DataError, match=expected):
        simulator(factors=factors)


def test_a_wrong_state_or_frame_size_says_what_is_wrong():
    one = simulator()
    before = one.state, one.goal
    for state, goal in ((np.ones(3), None), (np.full(7, np.nan), None), (np.ones(7), np.full(7, np.inf))):
        with pytest.raises(DataError, match="expected 7 finite numbers"):
            one.set_state(state, goal)
    assert np.array_equal(before, (one.state, one.goal))
    with pytest.raises(DataError, match="16 to 4096"):
        PushTSimulator(8)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymunk", None)
    with pytest.raises(DataError, match=r'pip install -e "\.\[push-t\]"'):
        PUSH_T.make(1, SIZE, True)


def test_episodes_go_on_when_they_are_solved():
    env = PUSH_T.make(1, SIZE, False)
    observation, _ = env.reset(seed=0)
    env.set_state(env.state, observation["state"])
    observation, reward, terminated, truncated, _ = env.step(np.zeros((1, 2), np.float32))
    assert (reward.tolist(), terminated.tolist(), truncated.tolist()) == ([1.0], [False], [False])
    assert env.max_episode_steps == 200
    assert observation["state"].shape == (1, PUSH_T.state_dim)
    assert "proprio" in observation
