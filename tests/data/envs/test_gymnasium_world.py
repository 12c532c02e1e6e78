"""Any Gymnasium environment as a world: what it says of itself, its columns, its goals."""

import numpy as np
import pytest

from lewm_data.collection.collect import collect
from lewm_data.envs.gallery import play_strips
from lewm_data.envs.gymnasium.world import TOLERANCE
from lewm_data.envs.judgement import Judgement
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from tests.data.envs.lanes import NONE, SIZE, lane, record

pytestmark = pytest.mark.usefixtures("gymnasium_package")


def test_what_the_world_says_of_itself():
    found = lane()
    assert found is lane()
    assert (found.action_dim, found.state_dim, found.action_groups) == (5, 4, (3, 2))
    assert found.targets == {name: f"observation.{name}" for name in ("in_here.0", "speed", "width")}
    assert (found.restorable, found.judge().known, found.factors) == (False, True, {})
    assert list(found.all_policies) == ["random", "smooth"]
    env = found.make(1, SIZE, True)
    assert env.max_episode_steps == 25
    env.close()
    box = lane("Box")
    assert (box.action_dim, box.action_groups) == (2, None)
    assert all(world(name).restorable and world(name).action_groups is None for name in ("two-room", "push-t"))


def test_columns_are_what_is_observed_and_told(tmp_path):
    episode = record(tmp_path / "a.h5", episodes=1)[0]
    np.testing.assert_array_equal(episode["state"][:, :2], episode["observation.in_here.0"])
    np.testing.assert_array_equal(episode["state"][:, 2], episode["observation.speed"])
    np.testing.assert_array_equal(episode["info.far"], episode["state"][:, 0] > 20)
    assert (episode["info.lane_width"] == 20).all()
    other_shape = np.isnan(episode["info.drift"])
    np.testing.assert_array_equal(other_shape.all(axis=1), (episode["state"][:, 1] > 9) & (episode["step_idx"] > 0))
    assert not {"info.who", "info.view", "info.heat", "observation.name", "observation.pic"} & set(episode)
    assert np.isnan(episode["goal"]).all()
    assert set(np.unique(episode["action"][:-1])) == {0, 1}


def test_solved_is_near_the_goal_in_every_number_and_has_its_choices():
    found = lane()
    env = found.make(1, SIZE, True)
    env.reset(seed=0)
    assert not env.is_solved().any()
    slow = np.array([[0, 1, 0, 1, 0]] * 9, np.float32)
    state = env.replay([3], [NONE], [slow])["state"]
    goal, deviations = env.simulators[0].goal[None], np.zeros(4)
    assert not env.is_solved().any()
    assert found.path_distance(state, goal) > 1
    assert found.path_distance(goal, goal) == 0
    for number in range(4):
        unit = np.eye(4)[[number]]
        deviations[number] = 1 / found.path_distance(goal + unit, goal)[0]
        off = TOLERANCE * deviations[number] * unit
        assert found.solved(goal + 0.99 * off, goal).all() == (number != 2), "a choice is the same or is not"
        assert not found.solved(goal - 1.01 * off, goal).any()
    assert 0.4 < deviations[2] < 0.51  # the speed is 0 or 1
    assert deviations[3] == 1  # the width never changes
    for action in slow:
        env.step(action[None])
    assert env.is_solved().all()
    env.close()


def test_a_world_that_tells_whether_its_task_is_done_is_asked():
    found = lane("Telling")
    env = found.make(1, SIZE, False)
    down = np.array([[0, 0, 1, 1, 0]] * 12, np.float32)
    env.replay([0], [NONE], [down])
    assert env.is_solved() == (env.state[:, 1] < 5)
    env.replay([0], [down], [NONE])
    assert not env.is_solved().any()
    assert (env.state == [one.goal for one in env.simulators]).all()
    env.close()


def test_a_world_of_pictures_has_the_time_as_its_state_and_cannot_be_solved():
    found = lane("Pictures")
    assert (found.state_dim, found.targets) == (1, {})
    assert found.judge() == Judgement(False, "not known, because the environment observes no numbers")
    env = found.make(1, SIZE, False)
    slow = np.array([[0, 1, 0, 1, 0]] * 4, np.float32)
    observation = env.replay([0], [slow], [slow])
    assert (observation["state"].item(), observation["goal"].item()) == (4, 8)
    assert found.path_distance(observation["state"], observation["goal"]) == 4
    assert not found.solved(observation["goal"], observation["goal"]).any()
    env.close()


def test_the_gallery_shows_recorded_episodes_without_a_goal(tmp_path):
    episodes = record(tmp_path / "a.h5", episodes=2)
    for episode, strip in zip(episodes, play_strips(lane(), "random", SIZE, 2, 5, ()), strict=True):
        assert strip.goal is None
        np.testing.assert_array_equal(strip.frames, episode["pixels"][list(strip.steps)])
        assert strip.steps[-1] == len(episode["pixels"]) - 1


def test_cart_pole(tmp_path):
    pytest.importorskip("pygame", reason='needs pip install -e ".[gymnasium]"')
    found = world("CartPole-v1")
    assert (found.action_dim, found.state_dim, found.action_groups) == (2, 4, (2,))
    collect(found, tmp_path / "a.h5", 2, policy="random", noise=0.0, frame_size=32, seed=0)
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert dataset.attributes["env"] == "CartPole-v1"
        episode = dataset.episode(1)
    assert np.abs(episode["observation"][-1, [0, 2]]).max() > 0.2  # the pole has fallen
    assert (np.abs(episode["observation"][:-1, 2]) < 0.21).all()
    assert (episode["reward"][:-1] == 1).all()
    dark = (episode["pixels"].max(axis=3) < 100).any(axis=1)  # the cart's columns
    cart = dark @ np.arange(32) / dark.sum(axis=1)
    assert np.corrcoef(cart, episode["observation"][:, 0])[0, 1] > 0.8
