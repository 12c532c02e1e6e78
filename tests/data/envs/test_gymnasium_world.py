"""Any Gymnasium environment as a world: numbers of its spaces, episodes that are replayed, goals."""

import importlib
import os
import re
import sys
import tomllib
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lewm_data.collection.collect import collect
from lewm_data.envs.gallery import play_strips
from lewm_data.envs.gymnasium import drawing
from lewm_data.envs.gymnasium.drawing import resized, square
from lewm_data.envs.gymnasium.evidence import Moments, judgement
from lewm_data.envs.gymnasium.interface import inspect
from lewm_data.envs.gymnasium.spaces import action_groups, flat_actions, numeric_leaves, to_action
from lewm_data.envs.gymnasium.world import TOLERANCE
from lewm_data.envs.judgement import Judgement
from lewm_data.envs.mujoco import headless
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

PACKAGE = "gymnasium_package"
SIZE = 12
NONE = np.zeros((0, 5), np.float32)


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """The tests' own environments can be imported, here and by workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def lane(kind=""):
    return world(f"{PACKAGE}:Lane{kind}-v0")


def record(path, kind="", episodes=3, **changes):
    settings = {"policy": "random", "noise": 0.0, "frame_size": SIZE, "seed": 5, **changes}
    collect(lane(kind), path, episodes, **settings)
    with Dataset.open(path) as dataset:
        return [dataset.episode(index) for index in range(episodes)]


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


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("Direction", r"[\d,]+ of [\d,]+ pairs of moments with equal states look different"),
        ("Counter", r"[\d,]+ of [\d,]+ pairs of moments with equal states look different"),
        ("Constant", r"[\d,]+ of [\d,]+ pairs of moments with equal states look different"),
        ("Sideways", r"moments that count as the same look different \(0\.\d\d of the usual difference"),
    ],
)
def test_states_that_do_not_show_what_the_picture_shows_tell_no_success(kind, why):
    judged = lane(kind).judge()
    assert not judged.known
    assert re.match("not known, because states do not show all that the picture shows: " + why, judged.said)


@pytest.mark.parametrize("kind", ["", "Box"])
def test_states_that_show_what_the_picture_shows_tell_success(kind):
    judged = lane(kind).judge()
    assert judged.known
    assert re.match(r"judged by states: moments that count as the same look alike \(0\.[0-4]", judged.said)
    told = lane("Telling").judge()
    assert told == Judgement(True, 'judged by the environment, which says "is_success" wherever the goal is')


def test_too_few_pairs_tell_nothing():
    """Two episodes of two moments each, in which everything differs."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8)
    past = np.array(["a", "b", "c", "d"])
    moments = Moments(np.eye(4), frames, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), past)
    judged = judgement([moments], lambda states, goals: np.ones(len(states), np.bool_))
    assert judged.said.endswith("what the picture shows: 4 pairs of moments count as the same in a trial")


def test_moments_with_the_same_past_are_no_evidence():
    """Every moment comes twice, and is near to nothing else."""
    frames = np.random.default_rng(0).integers(0, 256, (150, 2, 2, 3), np.uint8)
    numbers = np.tile(np.arange(150.0), 2)
    states = (numbers + np.linspace(0, 0.01, 300))[:, None]

    def judged(past):
        moments = Moments(states, np.concatenate([frames, frames]), np.arange(300), np.zeros(300, np.int64), past)
        return judgement([moments], lambda states, goals: (np.abs(states - goals) < 0.1).all(axis=1))

    assert judged(np.arange(300)).known
    assert judged(numbers).said.endswith("0 pairs of moments count as the same in a trial")


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


def test_frames_are_stretched_by_averaging_over_areas():
    frame = np.random.default_rng(0).integers(0, 256, (10, 21, 3), np.uint8)
    fine = frame.repeat(6, axis=0).repeat(6, axis=1)  # whole numbers of these in each pixel
    expected = fine.reshape(6, 10, 6, 21, 3).mean(axis=(1, 3))
    small = resized(frame, 6, 6)
    assert np.abs(small - expected).max() <= 0.502
    np.testing.assert_array_equal(resized(frame[:, :10], 10, 10), frame[:, :10])
    np.testing.assert_array_equal(resized(frame[:4, :4], 8, 8), frame[:4, :4].repeat(2, axis=0).repeat(2, axis=1))
    assert resized(np.array([[[0, 1, 2]], [[1, 2, 3]]], np.uint8), 1, 1).tolist() == [[[1, 2, 3]]]  # halves go up


def test_the_gallery_shows_recorded_episodes_without_a_goal(tmp_path):
    episodes = record(tmp_path / "a.h5", episodes=2)
    for episode, strip in zip(episodes, play_strips(lane(), "random", SIZE, 2, 5, ()), strict=True):
        assert strip.goal is None
        np.testing.assert_array_equal(strip.frames, episode["pixels"][list(strip.steps)])
        assert strip.steps[-1] == len(episode["pixels"]) - 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("CartPole-v7", 'unknown environment "CartPole-v7"\nDid you mean "CartPole-v1"'),
        ("tworoom", 'Did you mean "two-room"'),
        (f"{PACKAGE}:Line-v0", 'unknown environment "Line-v0"\nDid you mean "Lane-v0"'),
        ("no_such_package:Lane-v0", "environment no_such_package:Lane-v0: no_such_package cannot be imported"),
        (f"{PACKAGE}:LaneBoundless-v0", "LaneBoundless-v0: the actions are Box.*expected Discrete"),
        (f"{PACKAGE}:LaneListing-v0", r"LaneListing-v0: draws list, expected uint8 \(Y, X, 3\): it cannot be learnt"),
        (f"{PACKAGE}:LaneModeless-v0", "LaneModeless-v0: takes no render_mode"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_what_cannot_be_used_is_said(name, problem):
    with pytest.raises(DataError, match=problem):
        world(name)


def test_an_installed_package_that_cannot_be_imported_is_said(tmp_path, monkeypatch):
    """In the user's own code, the exception stays as it is: its line is shown."""
    for folder, module in (("site-packages", "spoilt_package"), ("mine", "my_spoilt_module")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{module}.py").write_text("raise RuntimeError('no operator')")
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    problem = (
        r"environment spoilt_package:Lane-v0: spoilt_package cannot be imported: RuntimeError: no operator\nRepair"
    )
    with pytest.raises(DataError, match=problem):
        world("spoilt_package:Lane-v0")
    with pytest.raises(RuntimeError, match="no operator"):
        world("my_spoilt_module:Lane-v0")


def test_an_environment_that_does_not_draw_is_said():
    with (
        pytest.warns(UserWarning, match="render_mode='rgb_array'"),
        pytest.raises(DataError, match="LaneSilent-v0: has the render modes human: it cannot be learnt from pixels"),
    ):
        lane("Silent")


def test_what_drawing_needs_is_said_where_it_is_missing(monkeypatch):
    lane()
    entry = gymnasium.registry["Lane-v0"].entry_point

    def missing(self):
        raise gymnasium.error.DependencyNotInstalled('Run: pip install "a-screen"')

    monkeypatch.setattr(entry, "render", missing)
    world.cache_clear()
    with pytest.raises(DataError, match=r"Lane-v0: cannot be made or drawn: .*a-screen"):
        lane()


@pytest.mark.parametrize("module", list(drawing.EXTRAS))
def test_the_extra_that_brings_what_gymnasium_lacks_is_named(monkeypatch, module):
    """Gymnasium's own advice would install another version than this project is tested with."""
    lane()
    entry = gymnasium.registry["Lane-v0"].entry_point
    monkeypatch.setitem(sys.modules, module, None)

    def missing(self):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise gymnasium.error.DependencyNotInstalled(f"{module} is not installed, run `pip`") from error

    monkeypatch.setattr(entry, "render", missing)
    world.cache_clear()
    with pytest.raises(DataError) as refused:
        lane()
    assert refused.value.problem == f"Lane-v0: needs {module}, which is not installed"
    extra = re.search(r'pip install -e "\.\[(.*)\]"$', refused.value.remedy)
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert extra is not None
    assert extra[1] in project["optional-dependencies"]


def test_cart_pole_needs_pygame(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    world.cache_clear()
    with pytest.raises(DataError, match=r"CartPole-v1: needs pygame, which is not installed\n.*\.\[gymnasium\]"):
        world("CartPole-v1")


def test_mujocos_renderer_is_chosen_before_a_package_is_imported(tmp_path, monkeypatch):
    """A package that does without MuJoCo needs none."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MUJOCO_GL", "none yet")
    source = f"import os\nimport {PACKAGE}\nRENDERER = os.environ['MUJOCO_GL']\n"
    for name in ("lanes_drawn", "lanes_undrawn"):
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(headless, "choose_renderer", lambda: os.environ.update(MUJOCO_GL="osmesa"))
    world("lanes_drawn:Lane-v0")
    assert sys.modules["lanes_drawn"].RENDERER == "osmesa"

    def nothing_there():
        raise DataError("nothing to draw MuJoCo with", "Install something.")

    monkeypatch.setattr(headless, "choose_renderer", nothing_there)
    monkeypatch.setattr(drawing, "choose_renderer", nothing_there)
    world("lanes_undrawn:Lane-v0")
    with pytest.raises(DataError, match="nothing to draw MuJoCo with"):
        lane("DMControl")


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


@pytest.mark.parametrize(
    ("fit", "kept", "bars"),
    [
        ("stretch", np.s_[:, :], (0, 0)),
        ("crop", np.s_[:, 5:15], (0, 0)),
        ("letterbox", np.s_[:, :], (2, 3)),  # 10 x 20 becomes 5 x 10
    ],
)
def test_pictures_that_are_not_square_become_so_as_is_asked(fit, kept, bars):
    picture = np.random.default_rng(0).integers(1, 256, (10, 20, 3), np.uint8)
    frame = square(picture, 10, fit)
    inner = frame[bars[0] : 10 - bars[1]]
    np.testing.assert_array_equal(inner, resized(picture[kept], *inner.shape[:2]))
    assert (frame[: bars[0]] == 0).all()
    assert (frame[10 - bars[1] :] == 0).all()


def test_the_fit_of_collected_frames_is_kept_and_is_that_of_workers(tmp_path):
    cart = world("CartPole-v1")
    assert (cart.fit, cart.picture) == ("stretch", (400, 600))
    assert cart.fitted("stretch") is cart
    frames = {}
    for fit, workers in (("letterbox", 0), ("letterbox", 1), ("crop", 0)):
        path = tmp_path / f"{fit}-{workers}.h5"
        place = cart.fitted(fit)
        collect(place, path, 2, policy="random", noise=0.0, frame_size=32, seed=0, workers=workers)
        with Dataset.open(path) as dataset:
            assert dataset.attributes["fit"] == fit
            frames[path.stem] = dataset.episode(1)["pixels"]
    np.testing.assert_array_equal(frames["letterbox-0"], frames["letterbox-1"])
    assert (frames["letterbox-0"][:, :5] == 0).all()
    assert (frames["crop-0"][:, :5] == 255).all()
    with pytest.raises(DataError, match="asked to append with fit crop"):
        collect(
            cart.fitted("crop"),
            tmp_path / "letterbox-0.h5",
            3,
            policy="random",
            noise=0.0,
            frame_size=32,
            seed=0,
            mode="append",
        )
    with pytest.raises(DataError, match='unknown fit of CartPole-v1 "cut"'):
        cart.fitted("cut")
    with pytest.raises(DataError, match="its frames are drawn square"):
        world("two-room").fitted("crop")
