"""The demonstrator reaches its goals, a policy's actions do not depend on the batch, and users may name any mixture."""

import sys

import gymnasium
import numpy as np
import pytest

from lewm_data.envs.registry import world
from lewm_data.envs.two_room import TwoRoomFactors, TwoRoomVectorEnv
from lewm_data.errors import DataError
from lewm_data.policies import RandomPolicy, SmoothPolicy, TwoRoomExpert
from lewm_data.policies.combine import Mixture

PX = 1 / 224
WORLD = world("two-room")


class BoxEnv:
    """The part of an environment that policies without a purpose need."""

    num_envs = 50
    max_episode_steps = 400
    single_action_space = gymnasium.spaces.Box(np.array([-2.0, 0, 5]), np.array([-1.0, 3, 6]), dtype=np.float64)


def begin(policy, slots, seeds):
    policy.reset(np.array(slots), [np.random.default_rng([11, s]) for s in seeds])


def random_factors(rng):
    half = rng.uniform(8, 30)
    return TwoRoomFactors(
        door_half_extent=half * PX,
        door_position=rng.uniform(14.01 + half, 209.99 - half) * PX,
        wall_axis=int(rng.integers(2)),
        agent_speed=rng.uniform(1.75, 10.5) * PX,
    )


def test_without_noise_every_episode_is_solved_about_as_fast_as_possible():
    rng = np.random.default_rng(0)
    worlds = [TwoRoomFactors()] * 200 + [random_factors(rng) for _ in range(400)]
    env = TwoRoomVectorEnv(len(worlds), 16, max_episode_steps=400)
    expert = TwoRoomExpert(env, noise=0.0)
    observation, _ = env.reset(seed=0, options={"factors": worlds})
    begin(expert, range(len(worlds)), range(len(worlds)))
    solved = np.zeros(len(worlds), np.bool_)
    for t in range(400):
        observation, _, terminated, _, _ = env.step(expert.act(observation))
        solved |= terminated
        if t == 80:
            assert solved[:200].all()
    assert solved.all(), np.flatnonzero(~solved)


def test_the_narrowest_door_is_entered_at_the_highest_speed():
    """Two pixels of freedom, steps of ten: whoever does not shorten a step hops to and fro at the door."""
    narrow = TwoRoomFactors(door_half_extent=8 * PX, door_position=0.5, agent_speed=10.5 * PX)
    rng = np.random.default_rng(2)
    start = np.stack([rng.uniform(93, 100, 300), rng.uniform(60, 160, 300)], axis=1) * PX
    env = TwoRoomVectorEnv(300, 16, max_episode_steps=40, factors=narrow)
    expert = TwoRoomExpert(env, noise=0.0)
    observation, _ = env.reset(seed=0, options={"state": start, "goal": np.array([[0.8, 0.5]] * 300)})
    begin(expert, range(300), range(300))
    solved = np.zeros(300, np.bool_)
    for _ in range(40):
        observation, _, terminated, _, _ = env.step(expert.act(observation))
        solved |= terminated
    assert solved.all()


def test_it_finds_the_goal_from_anywhere_in_the_passage():
    """Starts and goals that the environment itself never draws: in the door, at its frame."""
    rng = np.random.default_rng(1)
    u, v = rng.uniform(100, 124, (2, 200)), rng.uniform(42.1, 55.9, (2, 200))
    far = np.stack([rng.choice([30, 95, 130, 200], 200), rng.uniform(21, 203, 200)], axis=1) * PX
    for start, goal in (
        (np.stack([u[0], v[0]], 1) * PX, far),
        (far, np.stack([u[1], v[1]], 1) * PX),
    ):
        env = TwoRoomVectorEnv(200, 16, max_episode_steps=120)
        expert = TwoRoomExpert(env, noise=0.0)
        observation, _ = env.reset(seed=0, options={"state": start, "goal": goal})
        begin(expert, range(200), range(200))
        solved = env.is_solved()
        for _ in range(120):
            observation, _, terminated, _, _ = env.step(expert.act(observation))
            solved |= terminated
        assert solved.all()


def test_the_paper_s_noise_gives_episodes_of_the_paper_s_length():
    env = TwoRoomVectorEnv(400, 16)
    expert = WORLD.policy("expert", env)
    observation, _ = env.reset(seed=0)
    begin(expert, range(400), range(400))
    length = np.full(400, env.max_episode_steps)
    for t in range(env.max_episode_steps):
        observation, _, terminated, _, _ = env.step(expert.act(observation))
        length = np.where(terminated, np.minimum(length, t + 1), length)
    assert 88 < length.mean() < 97  # the paper's data: about 92


@pytest.mark.parametrize("spec", ["expert", "random", "smooth", "expert:2,random,smooth"])
def test_actions_do_not_depend_on_the_batch_nor_on_when_others_begin(spec):
    def run(seeds, restart=None):
        env = TwoRoomVectorEnv(len(seeds), 16, max_episode_steps=30)
        policy = WORLD.policy(spec, env)
        observation, _ = env.reset(seed=list(seeds))
        begin(policy, range(len(seeds)), seeds)
        actions = []
        for t in range(25):
            if restart is not None and t == 10:
                mask = np.arange(len(seeds)) == restart
                observation, _ = env.reset(seed=[99] * len(seeds), options={"reset_mask": mask})
                begin(policy, [restart], [99])
            actions.append(policy.act(observation))
            observation, *_ = env.step(actions[-1])
        return np.stack(actions, axis=1)

    together = run([1, 2, 3, 4], restart=2)
    for i in (0, 1, 3):
        assert np.array_equal(run([i + 1])[0], together[i])
    assert np.array_equal(run([99])[0, :15], together[2, 10:])


def test_noise_and_repeats_are_what_they_say():
    env = TwoRoomVectorEnv(200, 16, max_episode_steps=60)
    observation, _ = env.reset(seed=0)
    fixed = {"state": observation["state"], "goal": observation["goal"]}

    def actions(noise, repeat):
        policy = WORLD.policy("expert", env, noise, repeat)
        begin(policy, range(200), range(200))
        return np.stack([policy.act(fixed) for _ in range(60)], axis=1)

    quiet, noisy = actions(noise=0.0, repeat=0.0), actions(noise=0.1, repeat=0.0)
    np.testing.assert_allclose(np.hypot(*quiet[:, 0].T), 1.0, rtol=1e-6)
    inner = np.abs(quiet) < 0.5  # five standard deviations from being clipped
    assert abs((noisy - quiet)[inner].std() - 0.1) < 0.003
    assert np.abs(actions(noise=2.0, repeat=0.05)).max() == 1.0
    repeated = actions(noise=0.1, repeat=0.25)
    same = (repeated[:, 1:] == repeated[:, :-1]).all(axis=2)
    assert abs(same.mean() - 0.25) < 0.02


def played(policy):
    """Actions (T, N, A) of whole episodes, as shares of the box."""
    begin(policy, range(BoxEnv.num_envs), range(BoxEnv.num_envs))
    actions = np.stack([policy.act({}) for _ in range(BoxEnv.max_episode_steps)])
    assert actions.dtype == np.float32
    return (actions - [-2, 0, 5]) / [1, 3, 1]


@pytest.mark.parametrize("kind", [RandomPolicy, SmoothPolicy])
def test_random_and_smooth_are_uniform_in_any_box(kind):
    unit = played(kind(BoxEnv()))
    assert unit.min() >= 0
    assert unit.max() <= 1
    within = np.quantile(unit.reshape(-1, 3), [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    np.testing.assert_allclose(within, np.repeat([[0.05], [0.25], [0.5], [0.75], [0.95]], 3, axis=1), atol=0.03)


def test_smooth_forgets_with_a_time_constant_of_five_steps_and_random_at_once():
    for kind, correlations in ((RandomPolicy, {1: 0, 5: 0}), (SmoothPolicy, {1: 0.81, 5: 0.36, 20: 0.02})):
        unit = played(kind(BoxEnv()))
        for lag, expected in correlations.items():
            # the ranks of a normal pair with correlation r have the correlation 6/pi asin(r/2), close to r
            found = [np.corrcoef(unit[:-lag, :, i].ravel(), unit[lag:, :, i].ravel())[0, 1] for i in range(3)]
            np.testing.assert_allclose(found, expected, atol=0.05)
        between = np.corrcoef(unit.reshape(-1, 3).T)[np.triu_indices(3, 1)]
        assert np.abs(between).max() < 0.05


def test_the_first_action_is_never_a_repeated_one():
    env = TwoRoomVectorEnv(50, 16)
    observation, _ = env.reset(seed=0)
    always, never = (WORLD.policy("random", env, 0.0, repeat) for repeat in (1.0, 0.0))
    for policy in (always, never):
        begin(policy, range(50), range(50))
    first = never.act(observation)
    for _ in range(3):
        np.testing.assert_array_equal(always.act(observation), first)
    begin(always, [7], [99])
    second = always.act(observation)
    changed = np.flatnonzero((second != first).any(axis=1))
    assert changed.tolist() == [7]


def test_a_mixture_acts_in_each_episode_as_one_of_its_policies():
    env = TwoRoomVectorEnv(600, 16, max_episode_steps=20)
    observation, _ = env.reset(seed=0)
    policy = WORLD.policy("expert:0.6, random:0.2 ,smooth:2e-1", env, noise=0.0, repeat=0.0)
    assert isinstance(policy, Mixture)
    begin(policy, range(600), range(600))
    np.testing.assert_allclose(np.bincount(policy.chosen) / 600, [0.6, 0.2, 0.2], atol=0.05)
    actions = np.stack([policy.act(observation) for _ in range(20)])  # (T, N, 2) of a world that stands still
    moved = np.abs(np.diff(actions, axis=0)).mean(axis=(0, 2))
    assert (moved[policy.chosen == 0] == 0).all()
    assert moved[policy.chosen == 2].mean() < 0.6 * moved[policy.chosen == 1].mean()
    assert moved[policy.chosen == 2].min() > 0


MODULE = """
import numpy
from lewm_data.policies import RandomPolicy

number = 3
called_with = []

def make(env, noise):
    called_with.append((env, noise))
    return RandomPolicy(env)

def alone(env):
    return RandomPolicy(env)

class Three(RandomPolicy):
    def act(self, observation):
        return [[0.0, 0.0, 0.0]]

class Wide(RandomPolicy):
    def act(self, observation):
        return numpy.zeros((1, 3))

class Nowhere(RandomPolicy):
    def act(self, observation):
        return numpy.full((1, 2), numpy.nan)

def nowhere(env, noise):
    return Nowhere(env)

def three(env, noise):
    return Three(env)

def wide(env, noise):
    return Wide(env)

def forgetful(env, noise):
    RandomPolicy(env)
"""


def test_a_policy_of_the_users_is_called_with_the_environment_and_the_noise(tmp_path, monkeypatch):
    (tmp_path / "my_own.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)  # the user's present directory
    monkeypatch.setattr(sys, "path", list(sys.path))
    env = TwoRoomVectorEnv(1, 16)
    WORLD.policy("my_own:make", env, 0.7, 0.0)
    assert sys.modules["my_own"].called_with == [(env, 0.7)]
    assert len(WORLD.policy_parts("my_own:make:0.5,expert:0.5")) == 2
    for spec, problem in (
        ("my_own:maek", 'unknown function of my_own "maek"\nDid you mean "make"'),
        ("my_own:number", "policy my_own:number: is no function"),
        ("my_won:make", "policy my_won:make: my_won cannot be imported: No module named 'my_won'"),
        ("my_own:alone", r"my_own:alone: cannot be called with \(env, noise\): too many positional arguments"),
        ("my_own:forgetful", r"forgetful\(env, noise\) gave NoneType, expected a Policy"),
    ):
        with pytest.raises(DataError, match=problem):
            WORLD.policy(spec, env)
    observation, _ = env.reset(seed=0)
    for spec, problem in (
        (
            "my_own:three",
            r"policy my_own:three: act\(observation\) gave list, expected an array of finite numbers \(1, 2\)",
        ),
        ("my_own:nowhere", r"my_own:nowhere: .* gave float64 \(1, 2\) that are not all finite, expected an array"),
        ("my_own:wide", r"policy my_own:wide: act\(observation\) gave float64 \(1, 3\), expected .* \(1, 2\)"),
    ):
        for repeat in (0.0, 0.5):
            policy = WORLD.policy(spec, env, 0.0, repeat)
            policy.reset(np.array([0]), [np.random.default_rng(0)])
            with pytest.raises(DataError, match=problem):
                policy.act(observation)
    sys.modules.pop("my_own")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("exprt", 'unknown policy of two-room "exprt"\nDid you mean "expert"'),
        ("expert:0.5,randm:0.5", 'Did you mean "random"'),
        ("expert:0", "policy expert:0: the share is 0"),
        ("expert:1.2.3", "the share is 1.2.3"),
        ("expert,", 'unknown policy of two-room ""'),
    ],
)
def test_wrong_specifications_are_refused(spec, problem):
    with pytest.raises(DataError, match=problem):
        WORLD.policy_parts(spec)


def test_wrong_settings_are_refused():
    env = TwoRoomVectorEnv(1, 16)
    with pytest.raises(DataError, match="noise"):
        TwoRoomExpert(env, noise=-1.0)
    with pytest.raises(DataError, match="repeat"):
        WORLD.policy("expert", env, 1.0, 1.5)

    class Env:
        num_envs = 1
        max_episode_steps = 10
        single_action_space = gymnasium.spaces.Discrete(3)

    for kind in (RandomPolicy, SmoothPolicy):
        with pytest.raises(DataError, match="bounded Box"):
            kind(Env())
