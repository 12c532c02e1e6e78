"""Push-T's demonstrator: what it knows of pushing, the ways it goes, and what comes of it."""

import numpy as np
import pytest

from lewm_data.envs.push_t.definition import PUSH_T
from lewm_data.envs.push_t.factors import with_defaults
from lewm_data.envs.push_t.geometry import AGENT, BLOCK, POSE, corners, distance_in_block, distance_to_block, turned
from lewm_data.envs.push_t.paths import CLEAR, Ways
from lewm_data.envs.push_t.physics import step
from lewm_data.envs.push_t.planning import PLACED, planner
from lewm_data.envs.push_t.pushing import action_to, contacts, followed_by, moved, seen_from, size
from lewm_data.errors import DataError
from lewm_data.policies.push_t import PushTExpert

MIDDLE = np.array([256.0, 200.0, 0.7])
ANYWHERE = np.ones(6, np.bool_)


def played(num_envs, steps, noise=0.0, seed=0, factors=None):
    """States of every environment, the first goals, and whether these were reached."""
    env = PUSH_T.make(num_envs, 16, False)
    observation, _ = env.reset(seed=seed, options={"factors": factors or {}})
    policy = PushTExpert(env, noise)
    policy.reset(np.arange(num_envs), [np.random.default_rng([seed + i, 1]) for i in range(num_envs)])
    history, reached = [observation["state"]], np.zeros(num_envs, np.bool_)
    for _ in range(steps):
        observation, reward, *_ = env.step(policy.act(observation))
        history.append(observation["state"])
        reached |= reward > 0
    return np.stack(history, axis=1), observation["goal"], reached


@pytest.mark.parametrize(("agent", "block"), [(1.0, 1.0), (0.5, 1.25)])
def test_a_push_leads_where_the_closed_form_says(agent, block):
    factors = with_defaults({"agent.scale": agent, "block.scale": block})
    known = contacts(15 * agent, block)
    sides = {tuple(np.round(normal).astype(int)) for normal in known.normal}
    assert sides == {(0, 1), (0, -1), (1, 0), (-1, 0)}
    for contact in range(0, len(known.place), 3):
        place, twist = known.place[contact], known.twist[contact]
        state = np.concatenate([MIDDLE[:2] + turned(place, 0.7), MIDDLE, [0, 0]])
        for length in range(5, 45, 5):
            pose = followed_by(MIDDLE, moved(twist, np.array(float(length))))
            wanted = pose[:2] + turned(place, float(pose[2]))
            state = step(state, action_to(wanted - state[AGENT], state[5:]), factors)
            np.testing.assert_allclose(state[AGENT], wanted, atol=1e-9)
        far = size(seen_from(MIDDLE, state[POSE])[None], block)[0]
        off = size(seen_from(pose, state[POSE])[None], block)[0]
        assert off < 1 < 15 < far


def test_the_agent_touches_at_every_contact():
    known = contacts(20.0, 0.8)
    np.testing.assert_allclose(distance_in_block(known.place / 0.8) * 0.8, 20)
    inwards = known.place - 1e-3 * known.normal
    np.testing.assert_allclose(distance_in_block(inwards / 0.8) * 0.8, 20 - 1e-3)


def test_ways_keep_clear_of_the_block():
    ways, rng = Ways(15.0, 1.0), np.random.default_rng(0)
    places = rng.uniform((-200, -150), (200, 250), (100, 2))
    places = places[distance_in_block(places) > 15 + CLEAR]
    for here in places[:6]:
        length, towards = ways.to(here, places, ANYWHERE)
        assert np.isfinite(length).all()
        assert (length >= np.linalg.norm(places - here, axis=1) - 1e-9).all()
        along = here + np.linspace(0, 1, 100)[:, None, None] * (towards - here)
        assert distance_in_block(along).min() > 15
        direct = (towards == places).all(axis=1)
        np.testing.assert_allclose(length[direct], np.linalg.norm(places - here, axis=1)[direct])
        onwards = np.stack(
            [ways.to(turn, place[None], ANYWHERE)[0] for turn, place in zip(towards, places, strict=True)]
        )
        np.testing.assert_allclose(length, np.linalg.norm(towards - here, axis=1) + onwards[:, 0], atol=1e-6)
    assert 0.2 < direct.mean() < 0.9


def test_no_way_leads_through_the_walls_and_one_that_touches_backs_away():
    ways = Ways(15.0, 1.0)
    left, right = np.array([-100.0, 15.0]), np.array([[100.0, 15.0]])
    above = ways.to(left, right, np.array([True, True, False, False, False, False]))
    below = ways.to(left, right, np.array([False, False, True, True, True, True]))
    assert above[0] < below[0] < np.inf
    assert above[1][0, 1] < 0 < below[1][0, 1]
    assert ways.to(left, right, ~ANYWHERE)[0] == [np.inf]
    touching = np.array([0.0, -15.0])
    length, towards = ways.to(touching, np.array([[0.0, -100.0], [0.0, 150.0]]), ANYWHERE)
    np.testing.assert_allclose(towards, [[0, -15 - CLEAR]] * 2, atol=0.01)
    assert length[0] < 86 < 165 < length[1]


def test_a_plan_brings_the_block_to_its_goal_or_nearer():
    rng, plans = np.random.default_rng(0), planner(15.0, 1.0)
    arrived = []
    for _ in range(20):
        block, goal = (np.append(rng.uniform(180, 330, 2), rng.uniform(0, 6)) for _ in range(2))
        pushes = plans.pushes(np.array([0.0, -60.0]), block, goal)
        assert 1 <= len(pushes) <= 2
        before, after = (size(seen_from(pose, goal)[None], 1.0)[0] for pose in (block, pushes[-1].end))
        assert after < before
        arrived.append(after < PLACED)
        length, off = plans.remaining(pushes[0], block)
        assert off < 1e-6
        assert length >= 2
        assert plans.remaining(pushes[0], pushes[0].end) == (0.0, 0.0)
    assert np.mean(arrived) > 0.5


@pytest.mark.parametrize("factors", [{}, {"block.scale": 0.8, "agent.scale": 1.3, "block.friction": 0.5}])
def test_without_noise_it_solves_every_episode_and_touches_only_to_push(factors):
    states, _, reached = played(4, 180, factors=factors)
    assert reached.all()
    moving = (np.abs(np.diff(states[..., POSE], axis=1)) > 0.01).any(axis=-1)
    assert 0.3 < moving.mean() < 0.7
    radius, scale = 15 * factors.get("agent.scale", 1.0), factors.get("block.scale", 1.0)
    for episode in states:
        gaps = [distance_to_block(state[AGENT], state[POSE], scale) - radius for state in episode]
        assert min(gaps) > -3
        around = np.stack([corners(state[POSE], scale) for state in episode])
        assert around.min() > 7
        assert around.max() < 504


def test_with_the_usual_noise_it_solves_most_episodes_from_all_sides():
    states, _, reached = played(5, 200, noise=PUSH_T.default_noise)
    assert reached.mean() >= 0.8
    moving = (np.abs(np.diff(states[..., POSE], axis=1)) > 0.1).any(axis=-1)
    from_where = turned(states[..., AGENT] - states[..., BLOCK], -states[..., 4])[:, :-1][moving]
    x, y = from_where.T
    assert min((y < 0).mean(), (y > 30).mean(), (x < -15).mean(), (x > 15).mean()) > 0.1


def test_it_goes_on_pushing_beyond_its_goal():
    states, goal, reached = played(1, 200)
    assert reached.all()
    assert np.linalg.norm(states[0, -1, BLOCK] - goal[0, BLOCK]) > 20
    assert np.abs(np.diff(states[0, -30:], axis=0)).max(axis=1).min() > 0.1


def test_an_episode_is_the_same_in_any_batch():
    together = played(3, 40, noise=0.1, seed=5)[0]
    alone = played(1, 40, noise=0.1, seed=6)[0]
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])


def test_noise_is_added_and_may_not_be_negative():
    env = PUSH_T.make(60, 16, False)
    observation, _ = env.reset(seed=[3] * 60)
    policy = PushTExpert(env, 0.1)
    policy.reset(np.arange(60), [np.random.default_rng(i) for i in range(60)])
    actions = policy.act(observation)
    np.testing.assert_allclose(actions.std(axis=0), 0.1, rtol=0.2)
    with pytest.raises(DataError, match="at least 0"):
        PushTExpert(env, -0.1)
