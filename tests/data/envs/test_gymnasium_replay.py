"""Episodes of Gymnasium environments are functions of their seeds and actions, and are played again from these."""

import numpy as np
import pytest

from lewm_data.envs.gymnasium.interface import inspect
from lewm_data.errors import DataError
from tests.data.envs.lanes import SIZE, lane, record

pytestmark = pytest.mark.usefixtures("gymnasium_package")


@pytest.mark.parametrize("kind", ["", "Box", "Pictures"])
def test_an_episode_that_was_recorded_can_be_replayed_to_any_moment(tmp_path, kind):
    episodes = record(tmp_path / "a.h5", kind)
    env = lane(kind).make(3, SIZE, True)
    starts, goals = (2, 0, 5), (6, 5, 5)
    actions = [episode["action"][:start] for episode, start in zip(episodes, starts, strict=True)]
    onwards = [episode["action"][start:goal] for episode, start, goal in zip(episodes, starts, goals, strict=True)]
    seeds = [int(episode["episode_seed"][0]) for episode in episodes]
    assert len(set(seeds)) == 3
    observation = env.replay(seeds, actions, onwards)
    for slot, (episode, start, goal) in enumerate(zip(episodes, starts, goals, strict=True)):
        assert (episode["episode_seed"] == seeds[slot]).all()
        for name in set(observation) - {"goal"}:
            np.testing.assert_array_equal(observation[name][slot], episode[name][start], name)
        np.testing.assert_array_equal(observation["goal"][slot], episode["state"][goal])
        np.testing.assert_array_equal(env.render_goal()[slot], episode["pixels"][goal])
    step = np.stack([episode["action"][start] for episode, start in zip(episodes, starts, strict=True)])
    observation, rewards, *_ = env.step(step)
    for slot, (episode, start) in enumerate(zip(episodes, starts, strict=True)):
        np.testing.assert_array_equal(observation["pixels"][slot], episode["pixels"][start + 1])
        assert rewards[slot] == episode["reward"][start] == -1
    env.close()


def test_the_file_does_not_depend_on_workers_or_environments(tmp_path):
    record(tmp_path / "one.h5", policy="smooth,random")
    record(tmp_path / "workers.h5", policy="smooth,random", workers=2)
    record(tmp_path / "together.h5", policy="smooth,random", num_envs=3)
    files = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 3
    assert len(files) == 1


def test_an_episode_that_has_ended_stays_as_it_is():
    env = lane().make(2, SIZE, True)
    env.reset(seed=0)
    fast, slow = [0, 1, 0, 0, 1], [0, 1, 0, 1, 0]
    ended = np.zeros(2, np.bool_)
    while not ended[0]:
        observation, _, ended, late, _ = env.step(np.array([fast, slow], np.float32))
        assert not late.any()
    assert not ended[1]
    assert observation["state"][0, 0] > 30
    again, rewards, ended, _, _ = env.step(np.array([fast, slow], np.float32))
    assert ended.tolist() == [True, False]
    assert rewards.tolist() == [0, -1]
    for name, values in again.items():
        np.testing.assert_array_equal(values[0], observation[name][0])
    assert (again["state"][1] != observation["state"][1]).any()
    env.reset(seed=1, options={"reset_mask": np.array([True, False])})
    assert not env.step(np.array([fast, slow], np.float32))[2].any()
    env.close()


def test_an_environment_that_does_not_replay_is_found_out(tmp_path):
    with pytest.raises(DataError, match=r"LaneDrifting-v0: the same seed .* in new instances of it too\n.*np_random"):
        lane("Drifting")
    with pytest.raises(DataError, match=r"LaneDriftingLate-v0: the same seed .* at step 1?\d\n.*np_random"):
        record(tmp_path / "a.h5", "DriftingLate")


def test_an_instance_that_gives_other_episodes_when_used_again_is_not_used_again(tmp_path):
    """Every episode of the file is one of the first two that new instances give."""
    assert not inspect("Lane-v0").fresh
    assert inspect("LaneWorn-v0").fresh
    episodes = record(tmp_path / "a.h5", "Worn", episodes=5)
    env = lane("Worn").make(1, SIZE, True)
    for episode in episodes:
        observation = env.replay(episode["episode_seed"][:1], [episode["action"][:6]], [episode["action"][6:9]])
        np.testing.assert_array_equal(observation["state"][0], episode["state"][6])
        np.testing.assert_array_equal(env.simulators[0].goal, episode["state"][9])
        start = np.random.default_rng(int(episode["episode_seed"][0])).uniform(2, 10, 2)
        np.testing.assert_array_equal(episode["state"][0, :2], start.astype(np.float32))
    env.close()


def test_pictures_that_depend_on_earlier_ones_are_the_same_when_replayed(tmp_path):
    """A picture that is drawn twice, or was not drawn before, would have other sparks."""
    assert not inspect("Lane-v0").drawing_counts
    assert inspect("LaneSparkling-v0").drawing_counts
    (episode,) = record(tmp_path / "a.h5", "Sparkling", episodes=1)
    corner = episode["pixels"][:, 0, 0, 0].astype(int)
    assert (np.diff(corner[:10]) == -20).all()
    env = lane("Sparkling").make(1, SIZE, False)
    env.replay(episode["episode_seed"][:1], [episode["action"][:4]], [episode["action"][4:7]])
    for _ in range(2):
        np.testing.assert_array_equal(env.render()[0], episode["pixels"][4])
    np.testing.assert_array_equal(env.render_goal()[0], episode["pixels"][7])
    env.close()


def test_states_cannot_be_set_and_goals_are_not_there_at_once():
    env = lane().make(1, SIZE, False)
    env.reset(seed=0)
    with pytest.raises(DataError, match="Lane-v0: its state cannot be set\nReplay"):
        env.set_state(env.state)
    with pytest.raises(DataError, match="its state cannot be set"):
        env.reset(seed=0, options={"goal": env.state})
    with pytest.raises(DataError, match="Lane-v0: has no goal"):
        env.render_goal()
    env.close()
