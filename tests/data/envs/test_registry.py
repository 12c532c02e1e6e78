"""Worlds by name, and that each keeps its contract."""

import importlib.metadata
import sys

import gymnasium
import numpy as np
import pytest

from lewm_data.collection.factors import draw_factors
from lewm_data.envs import registry
from lewm_data.envs.mujoco.headless import choose_renderer
from lewm_data.envs.overview import is_installed, overview
from lewm_data.envs.registry import WORLDS, gymnasium_id, known_world, nearest_world, plain_name, world
from lewm_data.errors import DataError


@pytest.fixture(params=sorted(WORLDS))
def place(request):
    found = world(request.param)
    if found.extra is not None and not is_installed(found.extra):
        pytest.skip(f'needs pip install -e ".[{found.extra}]"')
    if found.extra == "mujoco":
        try:
            choose_renderer()
        except DataError as error:
            pytest.skip(str(error))
    return found


def test_a_world_keeps_its_contract(place):
    assert place is world(place.gymnasium_id)
    assert place.gymnasium_id == gymnasium_id(place.name)
    assert place.default_policy in place.all_policies
    env = place.make(2, 32, True)
    assert place.action_space == env.single_action_space
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert observation["pixels"].shape == (2, 32, 32, 3)
    assert env.state.shape == observation["goal"].shape == (2, place.state_dim)
    assert sum(observation[name].shape[1] for name in place.state_columns) == place.state_dim
    for policy_name in place.all_policies:
        policy = place.policy(policy_name, env)
        policy.reset(np.arange(2), [np.random.default_rng(i) for i in range(2)])
        actions = policy.act(observation)
        assert actions.shape == (2, place.action_dim)
        assert actions in gymnasium.vector.utils.batch_space(env.single_action_space, 2)
    goal = observation["goal"]
    assert (place.path_distance(env.state, goal) > 0).all()
    assert not place.solved(env.state, goal).any()
    assert place.solved(goal, goal).all()
    goals = env.render_goal()
    env.set_state(goal)
    assert env.is_solved().all()
    np.testing.assert_array_equal(np.stack(env.render()), goals)
    np.testing.assert_array_equal(env.reset(seed=0)[0]["pixels"], observation["pixels"])
    env.close()


def test_every_factor_of_a_world_can_vary_and_shows_nothing_when_it_does_not(place):
    env = place.make(1, 32, True)
    usual = env.reset(seed=[0])[0]
    defaults = {name: factor.default for name, factor in place.factors.items()}
    same = env.reset(seed=[0], options={"factors": defaults})[0]
    for name, values in usual.items():
        np.testing.assert_array_equal(same[name], values)
    for seed in range(3):
        drawn = draw_factors(place, tuple(place.factors), np.random.default_rng(seed))
        for name, value in drawn.items():
            assert np.shape(value) == np.shape(place.factors[name].default)
            assert name.count(".") == 1
            varied = env.reset(seed=[0], options={"factors": {name: value}})[0]
            assert varied in env.observation_space
            if name.endswith(".color"):
                assert not np.array_equal(varied["pixels"], usual["pixels"])
        env.reset(seed=[0], options={"factors": drawn})
        env.step(np.zeros((1, place.action_dim), np.float32))
    again = env.reset(seed=[0])[0]
    for name, values in usual.items():
        np.testing.assert_array_equal(again[name], values)
    env.close()


def test_gymnasium_makes_every_world(place):
    env = gymnasium.make(place.gymnasium_id, frame_size=32, disable_env_checker=True)
    together = place.make(1, 32, True)
    observation, _ = env.reset(seed=3)
    expected, _ = together.reset(seed=3)
    for name, values in expected.items():
        np.testing.assert_array_equal(observation[name], values[0])
    action = env.action_space.sample()
    np.testing.assert_array_equal(env.step(action)[0]["state"], together.step(action[None])[0]["state"][0])
    many = gymnasium.make_vec(place.gymnasium_id, 2, vectorization_mode="vector_entry_point", frame_size=32)
    np.testing.assert_array_equal(many.reset(seed=3)[0]["state"][0], expected["state"][0])
    for one in (env, together, many):
        one.close()


def test_the_default_policy_and_noise():
    found = world("two-room")
    env = found.make(1, 16, True)
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
        world("two-room").policy("exprt", world("two-room").make(1, 16, True))


def test_the_overview_says_what_there_is_to_choose_from():
    found = {one.name: one for one in overview()}
    assert list(found) == list(WORLDS)
    rooms = found["two-room"]
    assert (rooms.extra, rooms.installed, rooms.expert) == (None, True, True)
    assert rooms.policies == ("expert", "random", "smooth")
    assert (rooms.action_dim, rooms.state_dim, rooms.default_policy) == (2, 2, "expert")
    assert "RGB" in rooms.factors["agent.color"]


def test_an_extra_is_installed_when_all_of_its_packages_are(monkeypatch):
    wanted = ['sure>=1,<2; extra == "one"', 'numpy>=2; extra == "two"', 'numpy>=2 ; extra == "one"', "numpy>=2"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: wanted)
    assert is_installed("two")
    assert not is_installed("one")
    assert not is_installed("three")


def test_what_an_extra_consists_of_is_also_known_of_a_source_tree_that_is_not_installed(monkeypatch):
    def not_installed(package):
        raise importlib.metadata.PackageNotFoundError(package)

    asked = []
    monkeypatch.setattr("importlib.metadata.requires", not_installed)
    monkeypatch.setattr("importlib.metadata.version", asked.append)
    assert is_installed("mujoco")
    assert asked == ["mujoco", "dm-control", "ogbench"]
    assert not is_installed("three")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package beside the user that has not been imported, and what it leaves where it is."""
    name, mark = f"package_{tmp_path.name}", tmp_path / "imported"
    (tmp_path / f"{name}.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        f"gymnasium.register('{name}-v0', CartPoleEnv)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name, mark
    sys.modules.pop(name, None)
    gymnasium.registry.pop(f"{name}-v0", None)


def test_a_world_that_a_file_names_is_known_only_where_nothing_is_imported(package):
    name, mark = package
    for known in ("two-room", "lewm/TwoRoom-v0", "CartPole-v1"):
        assert known_world(known).name == world(known).name
    for other in (
        None,
        "",
        "my-robot",
        "CartPole-v9",
        name,
        f"{name}:{name}-v0",
        f"{name}:CartPole-v1",
        ":CartPole-v1",
    ):
        assert known_world(other) is None
    assert not mark.exists()
    typed = world(f"{name}:{name}-v0")
    assert mark.exists()
    assert known_world(f"{name}:{name}-v0") is typed
    assert known_world(f"{name}-v0").name == f"{name}-v0"


def test_an_entry_point_that_is_not_imported_yet_is_not_imported_for_a_file(package):
    name, _ = package
    gymnasium.register(f"{name}-v0", f"{name}:CartPoleEnv")
    assert known_world(f"{name}-v0") is None
    assert name not in sys.modules


def test_a_known_world_that_cannot_be_made_here_is_gone_without(monkeypatch, caplog):
    monkeypatch.setattr(registry, "gymnasium_world", lambda name: world("no-such-world"))
    monkeypatch.setattr(registry, "world", registry.world.__wrapped__)
    assert known_world("MountainCar-v0") is None
    assert 'unknown environment "no-such-world"' in caplog.text


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (None, "recording"),
        ("", "recording"),
        ("..", "recording"),
        (" my robot ", "my-robot"),
        ("\x1b[31mred\x1b[0m\n", "31mred-0m"),
        ("arm\u202e\udcff", "arm"),
        ("рука", "рука"),
        ("ALE/Pong-v5", "ALE/Pong-v5"),
        ("my_package.worlds:Ice-v0", "my_package.worlds:Ice-v0"),
        ("lewm/PushT-v0", "push-t"),
        ("long" * 500, "long" * 30),
        ("é" * 500, "é" * 60),
    ],
)
def test_whatever_a_file_says_becomes_a_plain_short_name(said, name):
    assert plain_name(said) == name
    assert plain_name(name) == name


def test_a_slip_of_the_pen_is_met_with_what_may_be_meant():
    assert nearest_world("two-rom") == "two-room"
    assert nearest_world("cartpole-v1") == "CartPole-v1"
    assert nearest_world("my-robot") is None


@pytest.mark.parametrize("name", [".Ice", "a/b", "a b", "1x", "a..b", "a:b"])
def test_what_is_no_name_of_a_module_is_refused(name):
    with pytest.raises(DataError, match="is no name of a module\nWrite it as package:Id-v0"):
        world(f"{name}:CartPole-v1")
