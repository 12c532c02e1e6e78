"""Reacher: dm_control's arm, states that restore it, goals, factors, its demonstrator."""

import subprocess
import sys

import numpy as np
import pytest

from lewm_data.envs.reacher.definition import REACHER
from lewm_data.envs.reacher.task import path_distance, solved
from lewm_data.errors import DataError
from lewm_data.policies.reacher import ReacherExpert

try:
    from lewm_data.envs.reacher.simulator import ReacherSimulator, mujoco
except DataError as error:  # MuJoCo or what it draws with is missing
    pytest.skip(str(error), allow_module_level=True)

SIZE = 16


def simulator(seed=0, factors=None, size=SIZE):
    made = ReacherSimulator(size)
    made.reset(np.random.default_rng(seed), factors or {})
    return made


def states(one, actions):
    history = [one.state]
    for action in actions:
        one.step(action)
        history.append(one.state)
    return np.stack(history)


def actions(count, seed=7):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 2))


def test_it_is_the_arm_of_dm_control_twenty_five_times_a_second():
    suite = pytest.importorskip("dm_control.suite")
    theirs = suite.load("reacher", "hard")
    theirs.reset()
    physics = theirs.physics
    physics.named.model.mat_rgba["target", 3] = 0
    ours = simulator(3, size=64)
    with physics.reset_context():
        physics.set_state(ours.state)
    for action in np.concatenate([actions(40), np.ones((40, 2))]):  # until the wrist is at its limit
        theirs.step(action)
        observed = theirs.step(action).observation
        ours.step(action)
        theirs_now = np.concatenate([observed["position"], observed["velocity"]])
        np.testing.assert_allclose(ours.state, theirs_now, rtol=0, atol=1e-9)  # at the limit, theirs starts warm
    assert abs(ours.state[1]) > np.radians(159)
    finger = physics.named.data.geom_xpos["finger", :2]
    np.testing.assert_allclose(ours.columns()["finger_pos"], finger, rtol=0, atol=1e-9)
    with mujoco.Renderer(physics.model.ptr, 64, 64) as renderer:
        renderer.update_scene(physics.data.ptr, camera=0)
        frame = renderer.render()
    apart = np.abs(frame.astype(int) - ours.render()).max(axis=-1)
    assert (apart <= 10).mean() > 0.97


def test_to_know_the_worlds_takes_nothing_that_has_to_be_installed():
    known = "from lewm_data.envs.registry import world; world('reacher'), world('cube')"
    imported = "{'mujoco', 'dm_control', 'ogbench'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys; {known}; assert not {imported}"], check=True)


def test_a_state_is_restored_bitwise_with_the_future_that_follows():
    first, second = simulator(0), simulator(1)
    states(first, actions(30))
    here, frame, columns = first.state, first.render(), first.columns()
    future = states(first, actions(60, seed=8))
    states(second, actions(10, seed=9))
    second.set_state(here, first.goal)
    assert np.array_equal(second.render(), frame)
    for name, value in second.columns().items():
        assert np.array_equal(value, columns[name]), name
    assert np.array_equal(states(second, actions(60, seed=8)), future)


def test_the_columns_of_a_published_file_are_the_state():
    one = simulator(2)
    states(one, actions(5))
    columns = one.columns()
    assert np.array_equal(np.concatenate([columns[name] for name in REACHER.state_columns]), one.state)
    position, to_target, velocity = np.split(columns["observation"], 3)
    assert np.array_equal(np.concatenate([position, velocity]), one.state)
    np.testing.assert_allclose(columns["finger_pos"] + to_target, columns["target_pos"], atol=1e-15)


def test_the_goal_is_a_pose_and_its_image_the_arm_in_it():
    one = simulator(4)
    image, target = one.render_goal(), one.columns()["target_pos"]
    before = one.state
    assert not np.array_equal(image, one.render())
    assert np.array_equal(one.state, before)
    one.set_state(one.goal)
    assert one.is_solved()
    assert np.array_equal(one.render(), image)
    assert np.array_equal(one.columns()["finger_pos"], target)


def test_starts_and_goals_are_anywhere_at_rest_and_apart():
    one = ReacherSimulator(SIZE)
    drawn = []
    for seed in range(300):
        one.reset(np.random.default_rng(seed), {})
        drawn.append(np.stack([one.state, one.goal]))
    drawn = np.array(drawn)
    assert not solved(drawn[:, 0], drawn[:, 1]).any()
    assert (drawn[..., 2:] == 0).all()
    assert (np.abs(drawn[..., 0]) <= np.pi).all()
    assert (np.abs(drawn[..., 1]) <= np.radians(160)).all()
    spread = drawn[..., :2].std(axis=0) * np.sqrt(3)  # half the range of a uniform angle
    np.testing.assert_allclose(spread, [[np.pi, np.radians(160)]] * 2, rtol=0.1)


@pytest.mark.parametrize(
    ("off", "expected"),
    [
        ((0.0, 0.0), True),
        ((0.049, -0.049), True),
        ((0.051, 0.0), False),
        ((0.0, -0.051), False),
        ((2 * np.pi, 0.0), True),
        ((-4 * np.pi + 0.04, 0.04), True),
        ((np.pi, 0.0), False),
    ],
)
def test_solved_means_every_joint_within_a_twentieth_of_a_radian_whatever_the_turns(off, expected):
    goal = np.array([[3.1, -2.0, 0.0, 0.0]])
    assert solved(goal + np.array([*off, 5.0, -5.0]), goal).tolist() == [expected]


def test_distance_goes_the_shorter_way_round_the_shoulder_and_the_only_way_round_the_wrist():
    start = np.array([[3.0, 2.7, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    goal = np.array([[-3.0, 2.7, 0.0, 0.0], [0.3, -0.4, 9.0, 9.0], [2 * np.pi, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(path_distance(start, goal), [2 * np.pi - 6, 0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(path_distance(np.array([[0, -2.7, 0, 0.0]]), np.array([[0, 2.7, 0, 0.0]])), [5.4])


def test_a_look_changes_the_picture_and_not_the_physics():
    one = simulator(5)
    frame, usual = one.render(), states(one, actions(10))
    looks = {
        "agent.color": (110, 255, 255),
        "floor.color": (90, 0, 0),
        "light.intensity": 0.3,
        "camera.offset": (0.0, 0.03, 0.03),
    }
    for name, value in looks.items():
        one.reset(np.random.default_rng(5), {name: value})
        assert (np.abs(one.render().astype(int) - frame).max(axis=-1) > 15).any(), name
        assert np.array_equal(states(one, actions(10)), usual)
    one.reset(np.random.default_rng(5), {})
    assert np.array_equal(one.render(), frame)


def test_twice_the_density_and_damping_need_twice_the_torque():
    heavy = simulator(6, {"agent.density": 2.0, "agent.damping": 2.0})
    np.testing.assert_allclose(states(heavy, actions(80)), states(simulator(6), actions(80) / 2), atol=1e-9)
    assert np.abs(states(simulator(6, {"agent.density": 2.0}), actions(9))[-1] - heavy.state).max() > 0.01


def test_drawn_factors_are_allowed_and_hold_for_one_episode():
    one = ReacherSimulator(SIZE)
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = {name: factor.draw(rng) for name, factor in REACHER.factors.items()}
        one.reset(rng, drawn)
        assert one.factors == drawn
    one.reset(rng, {"light.intensity": 1})
    assert one.factors == {name: factor.default for name, factor in REACHER.factors.items()} | {"light.intensity": 1.0}


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({"agent.colour": (0, 0, 0)}, 'Did you mean "agent.color"'),
        ({"agent.color": (0, 0, 256)}, "agent.color is"),
        ({"agent.color": (0.5, 0.5, 0.5)}, "agent.color is"),
        ({"agent.density": 3.0}, "agent.density is 3.0, expected a number from 0.5 to 2.0"),
        ({"agent.density": (1.0, 1.0)}, "expected a number"),
        ({"camera.offset": (0.0, 0.0, 0.5)}, "expected 3 numbers"),
    ],
)
def test_a_wrong_factor_says_what_is_wrong(factors, expected):
    with pytest.raises(DataError, match=expected):
        simulator(0, factors)


def test_wrong_sizes_states_and_actions_are_refused():
    with pytest.raises(DataError, match="frame_size is 8"):
        ReacherSimulator(8)
    one = simulator()
    with pytest.raises(DataError, match="not finite"):
        one.step(np.array([0.0, np.nan]))
    with pytest.raises(DataError, match="expected 4 finite numbers"):
        one.set_state(np.zeros(3))
    with pytest.raises(DataError, match="goal has shape"):
        one.set_state(np.zeros(4), np.full(4, np.nan))


def test_episodes_go_on_at_the_goal_and_end_after_two_hundred_steps():
    env = REACHER.make(2, SIZE, False)
    observation, _ = env.reset(seed=0)
    assert "pixels" not in observation
    env.set_state(np.stack([observation["goal"][0], observation["state"][1]]))
    _, reward, terminated, truncated, _ = env.step(np.zeros((2, 2), np.float32))
    assert reward.tolist() == [1.0, 0.0]
    assert not (terminated | truncated).any()
    for _ in range(198):
        assert not env.step(np.zeros((2, 2), np.float32))[3].any()
    assert env.step(np.zeros((2, 2), np.float32))[3].all()
    env.close()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_demonstrator_reaches_its_goal_and_goes_on_to_other_poses(noise):
    count = 8
    env = REACHER.make(count, SIZE, False)
    expert = ReacherExpert(env, noise)
    observation, _ = env.reset(seed=0)
    expert.reset(np.arange(count), [np.random.default_rng([1, i]) for i in range(count)])
    reached, history = np.zeros(count, np.bool_), []
    for _ in range(150):
        observation, *_ = env.step(expert.act(observation))
        reached |= env.is_solved()
        history.append(observation["state"])
    assert reached.all()
    late = np.array(history)[90:]  # (60, N, 4)
    assert (late[..., 1].std(axis=0) > 0.3).all()
    env.close()


def test_the_demonstrator_s_actions_do_not_depend_on_the_batch():
    def run(seeds):
        env = REACHER.make(len(seeds), SIZE, False)
        expert = ReacherExpert(env, REACHER.default_noise)
        observation, _ = env.reset(seed=list(seeds))
        expert.reset(np.arange(len(seeds)), [np.random.default_rng([2, s]) for s in seeds])
        taken = []
        for _ in range(60):
            taken.append(expert.act(observation))
            observation, *_ = env.step(taken[-1])
        return np.stack(taken, axis=1)

    together = run([1, 2, 3])
    for i in range(3):
        assert np.array_equal(run([i + 1])[0], together[i])
    with pytest.raises(DataError, match="noise is -1"):
        ReacherExpert(REACHER.make(1, SIZE, False), -1.0)
