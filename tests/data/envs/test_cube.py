"""Cube: OGBench's world, states that restore it, goals, factors, its demonstrator, what goes against physics."""

import sys

import numpy as np
import pytest

from lewm_data.envs.cube import perturbations
from lewm_data.envs.cube.definition import CUBE as WORLD
from lewm_data.envs.cube.factors import PADS
from lewm_data.envs.cube.kinematics import effector_position, effector_yaw
from lewm_data.envs.cube.task import (
    ARM,
    CUBE,
    CUBE_BOUNDS,
    CUBE_VELOCITY,
    GRIPPER_BOUNDS,
    STATE_DIM,
    cube_yaw,
    gripper_opening,
    gripper_pose,
    path_distance,
    solved,
)
from lewm_data.envs.general_perturbations import Episode
from lewm_data.envs.simulator_perturbations import played_on
from lewm_data.errors import DataError
from lewm_data.policies.cube import CubeExpert

try:
    from lewm_data.envs.cube.model import cube_model
    from lewm_data.envs.cube.simulator import CubeSimulator
    from lewm_data.envs.mujoco.simulator import mujoco

    CubeSimulator(16, "full")
except DataError as error:  # MuJoCo, what it draws with, or OGBench is missing
    pytest.skip(str(error), allow_module_level=True)

SIZE = 16


def simulator(seed=0, factors=None, size=SIZE):
    made = CubeSimulator(size, "full")
    made.reset(np.random.default_rng(seed), factors or {})
    return made


def states(one, actions):
    history = [one.state]
    for action in actions:
        one.step(action)
        history.append(one.state)
    return np.stack(history)


@pytest.fixture(scope="module")
def theirs():
    """OGBench's own environment, but for the forces that its solver would start from."""
    from ogbench.manipspace.envs.cube_env import CubeEnv

    env = CubeEnv("single", mode="data_collection", visualize_info=False, terminate_at_goal=False)
    env.reset(seed=0)
    env.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    return env


@pytest.fixture(scope="module")
def demonstration():
    """The observations in four episodes of the demonstrator, and its actions, step by step."""
    env = WORLD.make(4, SIZE, False)
    expert = CubeExpert(env, WORLD.default_noise)
    observation, _ = env.reset(seed=0)
    expert.reset(np.arange(4), [np.random.default_rng([1, i]) for i in range(4)])
    seen, actions = [observation], []
    for _ in range(150):
        actions.append(expert.act(observation))
        observation, _, terminated, _, _ = env.step(actions[-1])
        assert not terminated.any()
        seen.append(observation)
    env.close()
    return {name: np.stack([one[name] for one in seen]) for name in seen[0]}, np.stack(actions)


def carrying(demonstration):
    """An episode and a step of it at which the cube is in the air."""
    columns, _ = demonstration
    step, episode = np.argwhere(columns["privileged_block_0_pos"][:-20, :, 2] > 0.08)[0]
    return int(step), int(episode)


def test_a_step_is_ogbench_s_own_from_the_same_state(theirs, demonstration):
    columns, actions = demonstration
    ours = simulator()
    step, episode = carrying(demonstration)
    for at in (0, step - 4, step, step + 15):
        state = columns["state"][at, episode]
        theirs.set_state(state[:21], state[21:41])
        theirs.step(actions[at, episode])
        ours.set_state(state)
        ours.step(actions[at, episode])
        np.testing.assert_allclose(ours.columns()["control"], theirs.data.ctrl, rtol=0, atol=1e-7)
        np.testing.assert_allclose(ours.columns()["qpos"], theirs.data.qpos, rtol=0, atol=1e-7)
        np.testing.assert_allclose(ours.columns()["qvel"], theirs.data.qvel, rtol=0, atol=1e-5)


def test_the_columns_are_ogbench_s_own(theirs, demonstration):
    columns, _ = demonstration
    step, episode = carrying(demonstration)
    for at in (0, step):
        ours = {name: values[at, episode] for name, values in columns.items()}
        theirs.set_state(ours["qpos"], ours["qvel"])
        theirs.data.ctrl[:] = ours["control"]
        mujoco.mj_forward(theirs.model, theirs.data)
        mujoco.mj_rnePostConstraint(theirs.model, theirs.data)
        named = {name.replace("/", "_"): value for name, value in theirs.compute_ob_info().items()}
        assert np.array_equal(np.concatenate([ours[name] for name in WORLD.state_columns]), ours["state"])
        for name in ours.keys() - {"state", "goal", "observation"}:
            np.testing.assert_allclose(ours[name], named[name], rtol=0, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(ours["observation"], theirs.compute_observation(), rtol=0, atol=1e-9)
    assert columns["proprio_gripper_contact"][step, episode] > 0.5


def test_a_state_is_restored_bitwise_with_the_future_that_follows(demonstration):
    columns, actions = demonstration
    step, episode = carrying(demonstration)
    one = simulator(5)
    states(one, np.full((3, 5), 0.5))
    one.set_state(columns["state"][step, episode])
    for name, value in one.columns().items():
        assert np.array_equal(value, columns[name][step, episode]), name
    future = states(one, actions[step : step + 12, episode])
    assert np.array_equal(future, columns["state"][step : step + 13, episode])


def test_where_the_gripper_is_follows_from_the_joints_as_in_mujoco():
    one = simulator()
    site = one.data.site("ur5e/robotiq/pinch")
    for angles in np.random.default_rng(0).uniform(-3, 3, (20, 6)):
        one.data.qpos[ARM] = angles
        mujoco.mj_kinematics(one.model, one.data)
        np.testing.assert_allclose(effector_position(angles), site.xpos, rtol=0, atol=1e-12)
        turned = effector_yaw(angles) - np.arctan2(site.xmat[3], site.xmat[0])
        assert abs((turned + np.pi) % (2 * np.pi) - np.pi) < 1e-9


def test_starts_and_goals_are_anywhere_at_rest_and_apart():
    one = CubeSimulator(SIZE, "full")
    drawn = []
    for seed in range(100):
        one.reset(np.random.default_rng(seed), {})
        drawn.append(np.stack([one.state, one.goal]))
    drawn = np.array(drawn).reshape(-1, STATE_DIM)
    assert not solved(drawn[::2], drawn[1::2]).any()
    for values, bounds in ((drawn[:, CUBE][:, :2], CUBE_BOUNDS), (gripper_pose(drawn)[0], GRIPPER_BOUNDS)):
        assert (values >= bounds[0] - 1e-3).all()
        assert (values <= bounds[1] + 1e-3).all()
        np.testing.assert_allclose(values.std(axis=0), (bounds[1] - bounds[0]) / np.sqrt(12), rtol=0.15)
    assert (gripper_opening(drawn) == 0).all()
    assert np.ptp(states(one, np.zeros((10, 5)))[:, CUBE], axis=0).max() < 1e-3


def test_the_goal_is_a_state_and_its_image_the_world_in_it():
    one = simulator(4)
    image, before = one.render_goal(), one.state
    assert not np.array_equal(image, one.render())
    assert np.array_equal(one.state, before)
    one.set_state(one.goal)
    assert one.is_solved()
    assert np.array_equal(one.render(), image)


def test_solved_means_the_cube_within_four_centimetres():
    state, goal = simulator(0).state, simulator(1).state
    goal[CUBE] = state[CUBE] + [0.0, -0.0399, 0.0]
    assert solved(state[None], goal[None]).tolist() == [True]
    goal[CUBE] = state[CUBE] + [0.03, 0.0, 0.03]
    assert solved(state[None], goal[None]).tolist() == [False]


def test_distance_adds_the_cube_s_way_and_the_gripper_s():
    states = np.stack([simulator(seed).state for seed in range(3)])
    assert (path_distance(states, states) == 0).all()
    moved = states.copy()
    moved[:, CUBE] += [0.03, 0.04, 0.0]
    np.testing.assert_allclose(path_distance(states, moved), 0.05, atol=1e-12)
    moved[:, ARM] = np.roll(states[:, ARM], 1, axis=0)
    gripper = effector_position(moved[:, ARM]) - effector_position(states[:, ARM])
    np.testing.assert_allclose(path_distance(states, moved), 0.05 + np.linalg.norm(gripper, axis=1), atol=1e-12)


def test_a_look_changes_the_picture_and_not_the_state():
    one = simulator(5, size=32)
    frame, state = one.render(), one.state
    looks = {
        "agent.color": (90, 255, 90),
        "cube.color": (90, 255, 90),
        "floor.color": (70, 0, 0),
        "light.intensity": 0.3,
        "camera.offset": (0.0, 0.03, 0.03),
    }
    for name, value in looks.items():
        one.reset(np.random.default_rng(5), {name: value})
        assert (np.abs(one.render().astype(int) - frame).max(axis=-1) > 15).any(), name
        assert np.array_equal(one.state, state)
    one.reset(np.random.default_rng(5), {})
    assert np.array_equal(one.render(), frame)


def test_a_larger_and_heavier_cube_rests_on_its_own_faces():
    for scale, density in ((1.25, 2.0), (0.75, 0.5)):
        one = simulator(6, {"cube.scale": scale, "cube.density": density})
        np.testing.assert_allclose(one.model.body("object_0").mass, 1240 * density * (0.04 * scale) ** 3)
        heights = states(one, np.zeros((10, 5)))[:, CUBE][:, 2]
        np.testing.assert_allclose(heights, 0.02 * scale, rtol=0, atol=5e-4)
    assert simulator(6).model.body("object_0").mass == pytest.approx(1240 * 0.04**3)


def test_slippery_fingertips_rub_less_at_the_cube_they_hold(demonstration):
    columns, _ = demonstration
    step, episode = carrying(demonstration)

    def rubbing(one):
        one.set_state(columns["state"][step, episode])
        fingertips = {one.model.geom(name).id for name in PADS}
        return sorted(
            contact.friction[0] for contact in one.data.contact if fingertips & {contact.geom1, contact.geom2}
        )

    usual, slippery = rubbing(simulator()), rubbing(simulator(0, {"agent.friction": 0.7}))
    assert len(usual) >= 2
    np.testing.assert_allclose(slippery, 0.7 * np.array(usual))


def test_the_demonstrator_reaches_its_goal_lets_go_and_goes_on(demonstration):
    columns, _ = demonstration
    at_goal = np.stack([solved(columns["state"][:, i], columns["goal"][:, i]) for i in range(4)], axis=1)  # (T, 4)
    contact = columns["proprio_gripper_contact"][..., 0]
    assert at_goal.any(axis=0).all()
    assert (at_goal & (contact == 0)).any(axis=0).all()
    assert (contact > 0.5).any(axis=0).all()
    moved_again = [not at_goal[at_goal[:, i].argmax() :, i].all() for i in range(4)]
    assert sum(moved_again) >= 2


def test_the_demonstrator_s_actions_do_not_depend_on_the_batch(demonstration):
    columns, actions = demonstration
    env = WORLD.make(1, SIZE, False)
    expert = CubeExpert(env, WORLD.default_noise)
    observation, _ = env.reset(seed=2)
    expert.reset(np.arange(1), [np.random.default_rng([1, 2])])
    for t in range(60):
        assert np.array_equal(observation["state"][0], columns["state"][t, 2])
        action = expert.act(observation)
        assert np.array_equal(action[0], actions[t, 2])
        observation, *_ = env.step(action)
    with pytest.raises(DataError, match="noise is -1"):
        CubeExpert(env, -1.0)


def test_a_lack_of_ogbench_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ogbench.manipspace.envs.cube_env", None)
    with pytest.raises(
        DataError, match=r'ogbench, which is not installed\nRun in the checkout of lewm: pip install -e "\.\[mujoco\]"'
    ):
        cube_model.__wrapped__()


def test_wrong_states_and_actions_are_refused():
    one = simulator()
    with pytest.raises(DataError, match="not finite"):
        one.step(np.full(5, np.inf))
    with pytest.raises(DataError, match="expected 48 finite numbers"):
        one.set_state(np.zeros(41))


@pytest.fixture(scope="module")
def episode(demonstration):
    columns, actions = demonstration
    step, slot = carrying(demonstration)
    span = slice(step - 6, step + 4)
    one = simulator()
    frames = []
    for state in columns["state"][step - 6 : step + 5, slot]:
        one.set_state(state)
        frames.append(one.render())
    return Episode(np.stack(frames), columns["state"][step - 6 : step + 5, slot], actions[span, slot], one.factors)


def test_an_episode_replays_from_any_of_its_states(episode):
    assert np.array_equal(
        played_on(lambda size: CubeSimulator(size, "full"), episode, 6, episode.states[6]), episode.frames[6:]
    )


def test_a_teleported_cube_lies_still_far_away_and_the_arm_goes_on(episode, monkeypatch):
    began = []

    def played(make, of, onset, state):
        began.append(state)
        return of.frames[onset:]

    monkeypatch.setattr(perturbations, "played_on", played)
    for seed in range(5):
        WORLD.perturbations["cube teleported"](episode, 6, np.random.default_rng(seed))
    was = episode.states[6]
    for state in began:
        assert np.linalg.norm(state[CUBE] - was[CUBE]) >= 0.15
        assert np.linalg.norm(state[CUBE] - gripper_pose(was)[0]) >= 0.15
        assert np.isclose(cube_yaw(state), cube_yaw(was))
        assert (state[CUBE_VELOCITY] == 0).all()
        assert np.array_equal(state[ARM], was[ARM])
    one = simulator()
    one.set_state(began[0])
    later = states(one, episode.actions[6:])
    assert np.ptp(later[:, CUBE], axis=0).max() < 1e-3
    np.testing.assert_allclose(later[-1, ARM], episode.states[-1, ARM], atol=0.05)


def test_a_recoloured_cube_moves_as_it_did(episode):
    frames = WORLD.perturbations["cube recoloured"](episode, 6, np.random.default_rng(1)).frames
    assert np.array_equal(frames[:6], episode.frames[:6])
    changed = (np.abs(frames.astype(int) - episode.frames).max(axis=-1) > 10)[6:].sum(axis=(1, 2))
    assert (changed >= 1).all()
    assert (changed < 0.1 * SIZE**2).all()
