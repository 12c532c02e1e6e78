"""The Gymnasium environments: resets, batches, options, states."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import lewm_data.envs  # noqa: F401  # registers lewm/TwoRoom-v0
from lewm_data.envs.two_room import TwoRoomEnv, TwoRoomFactors, TwoRoomVectorEnv, path_distance
from lewm_data.envs.two_room.geometry import LEFT_FACE, RIGHT_FACE, Rooms, clearance
from lewm_data.errors import DataError

PX = 1 / 224
NARROW = TwoRoomFactors(door_position=0.3, door_half_extent=9 * PX, wall_axis=1, agent_color=(0, 0, 255))


def rollout(env, seeds, steps, options=None, action_seeds=None):
    """Frames, states and endings of every environment under actions of its own."""
    rngs = [np.random.default_rng([7, s]) for s in (seeds if action_seeds is None else action_seeds)]
    observation, _ = env.reset(seed=list(seeds), options=options)
    history = [(observation["pixels"], observation["state"], observation["goal"], np.zeros(len(seeds), np.bool_))]
    for _ in range(steps):
        actions = np.stack([rng.uniform(-1.5, 1.5, 2).astype(np.float32) for rng in rngs])
        observation, reward, terminated, truncated, _ = env.step(actions)
        assert np.array_equal(reward, terminated.astype(float))
        history.append((observation["pixels"], observation["state"], observation["goal"], terminated | truncated))
    return [np.stack(column, axis=1) for column in zip(*history, strict=True)]


def test_gymnasium_finds_nothing_to_complain_about():
    env = gymnasium.make("lewm/TwoRoom-v0", frame_size=32)
    check_env(env.unwrapped)
    assert env.spec.max_episode_steps == 100


def test_make_vec_makes_ours():
    env = gymnasium.make_vec("lewm/TwoRoom-v0", 8, vectorization_mode="vector_entry_point", frame_size=32)
    assert isinstance(env, TwoRoomVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert env.max_episode_steps == 100
    observation, _ = env.reset(seed=3)
    assert observation in env.observation_space
    observation, *_ = env.step(env.action_space.sample())
    assert observation in env.observation_space


def test_an_episode_is_a_function_of_its_seed_whatever_the_batch():
    seeds = range(100, 140)  # more than one rendering batch
    options = {"factors": [NARROW if s % 3 == 0 else TwoRoomFactors() for s in seeds]}
    together = rollout(TwoRoomVectorEnv(40, 32), seeds, 30, options)
    for i in (0, 7, 17, 39):
        alone = rollout(TwoRoomVectorEnv(1, 32), [seeds[i]], 30, {"factors": [options["factors"][i]]})
        for many, one in zip(together, alone, strict=True):
            assert np.array_equal(many[i], one[0])


def test_the_single_environment_is_the_vector_one():
    together = rollout(TwoRoomVectorEnv(3, 48), [5, 6, 7], 25)
    env = TwoRoomEnv(48)
    for i, seed in enumerate([5, 6, 7]):
        rng = np.random.default_rng([7, seed])
        observation, _ = env.reset(seed=seed)
        for t in range(26):
            assert np.array_equal(observation["pixels"], together[0][i, t])
            assert np.array_equal(observation["state"], together[1][i, t])
            assert np.array_equal(observation["goal"], together[2][i, t])
            observation, *_ = env.step(rng.uniform(-1.5, 1.5, 2).astype(np.float32))


def test_one_seed_for_all_counts_up_and_a_second_reset_differs():
    env = TwoRoomVectorEnv(3, 16)
    counted = env.reset(seed=10)[0]["state"]
    assert np.array_equal(counted, env.reset(seed=[10, 11, 12])[0]["state"])
    second = env.reset()[0]["state"]
    assert not (second == counted).any()
    env.reset(seed=10)
    assert np.array_equal(env.reset()[0]["state"], second)


def test_reset_mask_touches_only_its_environments():
    env = TwoRoomVectorEnv(4, 16, max_episode_steps=5)
    before, _ = env.reset(seed=0)
    for _ in range(3):
        before, *_ = env.step(np.full((4, 2), 0.5, np.float32))
    mask = np.array([False, True, False, True])
    after, _ = env.reset(seed=[1, 50, 1, 51], options={"reset_mask": mask})
    for name in ("pixels", "state", "goal"):
        assert np.array_equal(after[name][~mask], before[name][~mask])
    fresh, _ = TwoRoomVectorEnv(2, 16).reset(seed=[50, 51])
    for name in ("pixels", "state", "goal"):
        assert np.array_equal(after[name][mask], fresh[name])
    truncated = [env.step(np.zeros((4, 2), np.float32))[3] for _ in range(5)]
    assert [t.tolist() for t in truncated[:2]] == [[False] * 4, (~mask).tolist()]
    assert truncated[4].all()


@pytest.mark.parametrize(
    "factors", [TwoRoomFactors(), NARROW, TwoRoomFactors(agent_speed=10.5 / 224, door_position=0.5)]
)
def test_episodes_begin_in_one_room_and_end_far_away_in_the_other(factors):
    env = TwoRoomVectorEnv(500, 16, factors=factors)
    env.reset(seed=0)
    state, goal = env.state, env.goal
    across = factors.wall_axis
    assert (clearance(np.concatenate([state, goal]), Rooms.of([factors] * 1000)) >= -1e-12).all()
    left = state[:, across] <= LEFT_FACE
    assert 0.4 < left.mean() < 0.6
    assert (state[~left, across] >= RIGHT_FACE).all()
    assert np.array_equal(goal[:, across] >= RIGHT_FACE, left)
    steps = path_distance(state, goal, factors) / factors.agent_speed
    far = steps >= 25
    assert far.all() or factors.agent_speed > 10 / 224  # no two points of that world are 25 such steps apart
    assert steps.min() > 10


def test_states_are_restored_bitwise_with_the_future_that_follows():
    env = TwoRoomVectorEnv(32, 32)
    history = rollout(env, range(32), 40)
    env.reset(seed=[9] * 32)
    env.set_state(history[1][:, 20], history[2][:, 20])
    assert np.array_equal(np.stack(env.render()), history[0][:, 20])
    rngs = [np.random.default_rng([7, s]) for s in range(32)]
    actions = np.stack([np.stack([r.uniform(-1.5, 1.5, 2).astype(np.float32) for _ in range(40)]) for r in rngs], 1)
    for t in range(20, 40):
        observation, *_ = env.step(actions[t])
        assert np.array_equal(observation["state"], history[1][:, t + 1])
        assert np.array_equal(observation["pixels"], history[0][:, t + 1])


def test_states_stored_as_float32_are_free_again():
    """A touch of the wall survives the rounding, and the wall still holds."""
    env = TwoRoomVectorEnv(4, 16)
    env.reset(seed=0)
    corner = np.array([107.0, 63.0]) - 7 / np.sqrt(2)
    touching = np.array([[100.0, 120.0], [124.0, 150.0], [112.0, 56.0], corner]) * PX
    for rounding in (-5e-7, 5e-7):
        env.set_state(touching + rounding)
        rooms = Rooms.of(env.factors)
        assert (clearance(env.state, rooms) >= -1e-9).all()
        assert np.abs(env.state - touching).max() < 2e-6
        env.step(np.array([[1, 0], [-1, 0], [0, 1], [1, 1]], np.float32))
        assert (clearance(env.state, rooms) >= -1e-9).all()


def test_options_state_and_goal():
    env = TwoRoomVectorEnv(2, 16)
    state, goal = np.array([[0.2, 0.3], [0.8, 0.9]]), np.array([[0.21, 0.3], [0.3, 0.3]])
    observation, _ = env.reset(seed=0, options={"state": state, "goal": goal})
    assert np.array_equal(observation["state"], state)
    assert np.array_equal(observation["goal"], goal)
    assert env.is_solved().tolist() == [True, False]
    for name, given in (("state", state), ("goal", goal)):
        other = "goal" if name == "state" else "state"
        observation, _ = env.reset(seed=1, options={name: given})
        assert np.array_equal(observation[name], given)
        assert np.array_equal(observation[other][:, 0] > 0.5, given[:, 0] < 0.5)
    single = TwoRoomEnv(16)
    observation, _ = single.reset(
        seed=0, options={"state": state[0], "goal": goal[0], "factors": {"agent.speed": 3 * PX}}
    )
    assert single.is_solved()
    assert np.array_equal(observation["state"], state[0])
    observation, reward, terminated, _, _ = single.step(np.array([0.0, -1.0], np.float32))
    np.testing.assert_allclose(observation["state"], state[0] - [0, 3 * PX], rtol=0, atol=1e-15)
    assert (reward, terminated) == (1.0, True)


def test_solved_means_within_16_pixels():
    env = TwoRoomVectorEnv(2, 16)
    env.reset(seed=0)
    goal = np.array([[0.3, 0.5]] * 2)
    env.set_state(goal + np.array([[15.999, 0], [0, 16.001]]) * PX, goal)
    assert env.is_solved().tolist() == [True, False]


def test_factors_hold_for_one_episode():
    env = TwoRoomVectorEnv(2, 16, factors={"agent.speed": 2 * PX})
    env.reset(seed=0, options={"factors": [{"door.position": 0.6}, NARROW]})
    assert env.factors == (TwoRoomFactors(agent_speed=2 * PX, door_position=0.6), NARROW)
    env.reset(seed=0)
    assert env.factors == (TwoRoomFactors(agent_speed=2 * PX),) * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"factors": {"door.positon": 0.5}}, '"door.position"'),
        ({"factors": {"door.position": 0.05}}, "door_position is 0.05"),
        ({"factors": {"door.half_extent": 7 * PX}}, "door_half_extent"),
        ({"factors": {"agent.speed": 11 * PX}}, "agent_speed is"),
        ({"factors": {"wall.axis": 2}}, "expected 0 or 1"),
        ({"factors": {"wall.color": (0, 0, 256)}}, "wall_color"),
        ({"factors": [TwoRoomFactors()]}, "expected TwoRoomFactors"),
        ({"gaol": np.zeros((2, 2))}, '"goal"'),
        ({"state": np.full((2, 2), 0.5)}, "lies in a wall"),
        ({"state": np.full((2, 2), np.nan)}, "lies in a wall"),
        ({"goal": np.full((1, 2), 0.3)}, "shape"),
        ({"reset_mask": np.zeros(2, np.bool_)}, "reset_mask"),
        ({"reset_mask": np.ones(3, np.bool_)}, "reset_mask"),
    ],
)
def test_a_wrong_reset_says_what_is_wrong(options, expected):
    env = TwoRoomVectorEnv(2, 16)
    with pytest.raises(DataError, match=expected):
        env.reset(seed=0, options=options)


def test_wrong_actions_seeds_and_sizes_are_refused():
    env = TwoRoomVectorEnv(2, 16)
    env.reset(seed=0)
    with pytest.raises(DataError, match="not finite"):
        env.step(np.array([[0.0, np.nan], [0.0, 0.0]]))
    with pytest.raises(DataError, match="seeds"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(DataError, match="num_envs"):
        TwoRoomVectorEnv(0)
    with pytest.raises(DataError, match="frame_size"):
        TwoRoomVectorEnv(1, 8)
