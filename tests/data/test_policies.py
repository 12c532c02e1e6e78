"""The demonstrator reaches its goals, and a policy's actions do not depend on the batch."""

import gymnasium
import numpy as np
import pytest

from lewm_data.envs.two_room import TwoRoomFactors, TwoRoomVectorEnv
from lewm_data.errors import DataError
from lewm_data.policies import RandomPolicy, TwoRoomExpert

PX = 1 / 224


def begin(policy, slots, seeds):
    policy.reset(np.array(slots), [np.random.default_rng([11, s]) for s in seeds])


def random_factors(rng):
    half = rng.uniform(8, 30)
    return TwoRoomFactors(
        door_half_extent=half * PX,
        door_position=rng.uniform(14.01 + half, 209.99 - half) * PX,
        wall_axis=str(rng.choice(["vertical", "horizontal"])),
        speed=rng.uniform(1.75, 10.5) * PX,
    )


def test_without_noise_every_episode_is_solved_about_as_fast_as_possible():
    rng = np.random.default_rng(0)
    worlds = [TwoRoomFactors()] * 200 + [random_factors(rng) for _ in range(400)]
    env = TwoRoomVectorEnv(len(worlds), 16, max_episode_steps=400)
    expert = TwoRoomExpert(env, noise=0.0, repeat=0.0)
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
    narrow = TwoRoomFactors(door_half_extent=8 * PX, door_position=0.5, speed=10.5 * PX)
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
    expert = TwoRoomExpert(env)
    observation, _ = env.reset(seed=0)
    begin(expert, range(400), range(400))
    length = np.full(400, env.max_episode_steps)
    for t in range(env.max_episode_steps):
        observation, _, terminated, _, _ = env.step(expert.act(observation))
        length = np.where(terminated, np.minimum(length, t + 1), length)
    assert 88 < length.mean() < 97  # the paper's data: about 92


@pytest.mark.parametrize("kind", [TwoRoomExpert, RandomPolicy])
def test_actions_do_not_depend_on_the_batch_nor_on_when_others_begin(kind):
    def run(seeds, restart=None):
        env = TwoRoomVectorEnv(len(seeds), 16, max_episode_steps=30)
        policy = kind(env)
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

    def actions(**setting):
        policy = TwoRoomExpert(env, **setting)
        begin(policy, range(200), range(200))
        return np.stack([policy.act(fixed) for _ in range(60)], axis=1)

    quiet, noisy = actions(noise=0.0, repeat=0.0), actions(noise=0.1, repeat=0.0)
    np.testing.assert_allclose(np.hypot(*quiet[:, 0].T), 1.0, rtol=1e-6)
    inner = np.abs(quiet) < 0.5  # five standard deviations from being clipped
    assert abs((noisy - quiet)[inner].std() - 0.1) < 0.003
    assert np.abs(actions(noise=2.0)).max() == 1.0
    repeated = actions(noise=0.1, repeat=0.25)
    same = (repeated[:, 1:] == repeated[:, :-1]).all(axis=2)
    assert abs(same.mean() - 0.25) < 0.02


def test_random_is_uniform_in_any_box():
    class Env:
        num_envs = 50
        max_episode_steps = 100
        single_action_space = gymnasium.spaces.Box(np.array([-2.0, 0, 5]), np.array([-1.0, 3, 6]), dtype=np.float64)

    policy = RandomPolicy(Env())
    begin(policy, range(50), range(50))
    actions = np.stack([policy.act({}) for _ in range(100)])
    assert actions.dtype == np.float32
    unit = (actions - [-2, 0, 5]) / [1, 3, 1]
    assert unit.min() >= 0
    assert unit.max() <= 1
    np.testing.assert_allclose(unit.mean(axis=(0, 1)), 0.5, atol=0.02)
    np.testing.assert_allclose(unit.std(axis=(0, 1)), 12**-0.5, atol=0.02)


def test_wrong_settings_are_refused():
    env = TwoRoomVectorEnv(1, 16)
    with pytest.raises(DataError, match="noise"):
        TwoRoomExpert(env, noise=-1.0)
    with pytest.raises(DataError, match="repeat"):
        TwoRoomExpert(env, repeat=1.5)

    class Env:
        num_envs = 1
        max_episode_steps = 10
        single_action_space = gymnasium.spaces.Discrete(3)

    with pytest.raises(DataError, match="bounded Box"):
        RandomPolicy(Env())
