"""CLEAR-LeWM's rules of success: equal to ours where they say the same, and right at their limits where they do not."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from lewm.evaluation.clear.protocol import MODERATE, RELEASED, STRICT, TASKS, Protocol
from lewm.evaluation.clear.rules import cube_turn, fingertip, reached, succeeded
from lewm_data.envs.registry import world

STEP = {"push-t": 60.0, "cube": 0.05, "reacher": 0.1, "two-room": 0.1}
NO_WALL = np.zeros(1, np.int64)


def near_goals(name, count=400):
    """Goals of a world, and states about as far from them as its limits are."""
    rng = np.random.default_rng(0)
    with_goals = world(name).make(20, 16, False)
    goals = np.repeat(with_goals.reset(seed=0)[0]["goal"], count // 20, axis=0)
    with_goals.close()
    away = rng.normal(size=goals.shape) * rng.uniform(0, STEP[name], (count, 1))
    return goals + (away if name != "push-t" else away * [1, 1, 1, 1, 0.01, 1, 1]), goals


@pytest.mark.parametrize("name", TASKS)
def test_the_moderate_rule_is_our_own(name):
    states, goals = near_goals(name)
    ours = world(name).solved(states, goals)
    assert 20 < ours.sum() < len(ours) - 20
    np.testing.assert_array_equal(reached(TASKS[name], MODERATE, states, goals, np.zeros(len(goals), np.int64)), ours)


def push_t(*path, rule=STRICT):
    """Whether a path of (block x, block angle in degrees, agent x) reaches the goal (100, 0, 0)."""
    states, goal = np.zeros((1, len(path), 7)), np.zeros((1, 7))
    goal[0, 2] = 100
    for state, (block, angle, agent) in zip(states[0], path, strict=True):
        state[[0, 2, 4]] = agent, block, np.radians(angle)
    return bool(succeeded("pusht", rule, states, goal, NO_WALL)[0])


def test_strict_push_t_holds_the_block_three_steps():
    at, off = (109.9, -9.9, 400), (110.1, 0, 0)
    assert push_t(off, at, at, at, off)
    assert not push_t(at, at, off, at, at)
    assert not push_t(*[off] * 50)
    assert not push_t(*[(100, 10.1, 0)] * 50)
    assert push_t(*[(100, 369, 0)] * 3)  # whole turns do not count


def test_moderate_push_t_is_hit_once_by_agent_and_block():
    assert push_t((119, 19, 0), rule=MODERATE)
    assert not push_t((119, 19, 7), rule=MODERATE)  # 19² + 7² > 20²
    assert not push_t((100, 21, 0), rule=MODERATE)


def test_strict_reacher_asks_for_the_fingertip_twice():
    """The same place with another elbow is far in angles, and there for the finger."""
    goal = np.array([[0.3, 0.8, 0.0, 0.0]])
    elbow = np.array([[1.1, -0.8, 5.0, 5.0]])  # shoulder + wrist angle of the mirrored arm
    np.testing.assert_allclose(fingertip(elbow), fingertip(goal), atol=1e-12)
    for states, strict in ((np.stack([elbow] * 2, axis=1), True), (elbow[:, None], False)):
        assert succeeded("reacher", STRICT, states, goal, NO_WALL).tolist() == [strict]
        assert not succeeded("reacher", MODERATE, states, goal, NO_WALL).any()


def test_released_reacher_does_not_wrap_the_shoulder():
    goal, turned = np.zeros((1, 4)), np.array([[2 * np.pi, 0.0, 0.0, 0.0]])
    verdicts = [bool(reached("reacher", rule, turned, goal, NO_WALL)[0]) for rule in (RELEASED, MODERATE, STRICT)]
    assert verdicts == [False, True, True]


def test_fingertips_are_where_the_simulator_has_them():
    env = world("reacher").make(3, 16, False)
    env.reset(seed=1)
    seen, *_ = env.step(np.full((3, 2), 0.7, np.float32))
    np.testing.assert_allclose(fingertip(env.state), seen["finger_pos"], atol=1e-12)
    env.close()


def matrix(w, x, y, z):
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_the_turn_of_a_cube_is_the_least_over_its_24_symmetries():
    every = [np.eye(3)[:, order] * signs for order in permutations(range(3)) for signs in product((-1, 1), repeat=3)]
    symmetries = [one for one in every if np.linalg.det(one) > 0]
    assert len(symmetries) == 24
    pairs = np.random.default_rng(0).normal(size=(100, 2, 4))
    for first, second in pairs / np.linalg.norm(pairs, axis=-1, keepdims=True):
        turn = matrix(*first).T @ matrix(*second)
        angles = [np.degrees(np.arccos(np.clip((np.trace(turn @ one) - 1) / 2, -1, 1))) for one in symmetries]
        np.testing.assert_allclose(cube_turn(first, second, symmetric=True), min(angles), atol=1e-5)
        np.testing.assert_allclose(cube_turn(first, second, symmetric=False), angles[symmetries_index(symmetries)])


def symmetries_index(symmetries):
    return next(number for number, one in enumerate(symmetries) if (one == np.eye(3)).all())


def test_strict_cube_asks_for_the_turn_too():
    goal = np.zeros((1, 48))
    goal[0, 17] = 1
    for angle, strict in ((90, True), (14, True), (16, False)):
        states = np.repeat(goal[:, None], 3, axis=1)
        states[..., 14] = 0.029
        states[..., 17], states[..., 20] = np.cos(np.radians(angle / 2)), np.sin(np.radians(angle / 2))
        assert bool(succeeded("cube", STRICT, states, goal, NO_WALL)[0]) == strict
        assert succeeded("cube", MODERATE, states, goal, NO_WALL).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_strict_two_room_asks_for_the_goals_side_of_the_wall(axis):
    """In the door both sides are within 8 pixels."""
    goal, state = np.full((1, 2), 49 / 224), np.full((1, 2), 49 / 224)
    goal[0, axis], state[0, axis] = 115 / 224, 109 / 224
    walls = np.full(1, axis)
    assert reached("tworoom", MODERATE, state, goal, walls).all()
    assert not reached("tworoom", STRICT, state, goal, walls).any()
    state[0, axis] = 113 / 224
    assert reached("tworoom", STRICT, state, goal, walls).all()


def test_old_manifests_are_judged_as_their_own_protocol_says():
    """That of v0.2 holds the block for five steps; one without a mode is judged as released."""
    stated = {"name": "moderate", "sampling": "episode-balanced", "split": "all", "heldout_fraction": 0.0}
    stated |= {"exclude_initial_success": True, "sustained_steps": 5}
    five, upstream = Protocol(**stated, success_mode="task-sustained"), Protocol(**stated)
    hit = [(100, 0, 0)] * 4
    assert not push_t(*hit, rule=five)
    assert push_t(*hit, (100, 0, 0), rule=five)
    assert push_t(hit[0], rule=upstream)


def test_the_page_states_the_thresholds():
    page = (Path(__file__).parents[3] / "docs" / "clear.md").read_text()
    for rule, push_t_angle in ((MODERATE, "block < {:g}°"), (STRICT, "and < {:g}°, for 3 steps")):
        assert f"< {rule.pusht_position_threshold:g} px" in page
        assert push_t_angle.format(rule.pusht_angle_threshold_deg) in page
        assert f"cube ≤ {100 * rule.cube_position_threshold_m:g} cm" in page
        assert f"< {rule.tworoom_distance_threshold:g} px" in page
    assert f"≤ {STRICT.cube_orientation_threshold_deg:g}° but for" in page
    assert f"joints < {MODERATE.reacher_joint_threshold_rad:g} rad" in page
    assert f"fingertip ≤ {100 * STRICT.reacher_endpoint_threshold_m:g} cm, for {STRICT.hold('reacher')} steps" in page
    assert STRICT.hold("pusht") == STRICT.hold("cube") == 3
    assert STRICT.hold("tworoom") == MODERATE.hold("pusht") == 1
