"""Gymnasium environments made of a simulator that is known completely."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from lewm_data.envs.env import SimulatorEnv
from lewm_data.envs.simulator import Simulator
from lewm_data.envs.two_room import TwoRoomVectorEnv
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.errors import DataError

SIZE, STEPS = 16, 12


class Point:
    """A point that moves by its action times its speed; a frame's red shows where it is, its blue where it shall be."""

    def __init__(self):
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.factors = {"agent.speed": 0.5, "agent.color": (255, 0, 0)}
        self._state = self._goal = np.full(2, np.nan)
        self.drawn, self.closed = 0, False

    def reset(self, rng, factors):
        self.factors = {"agent.speed": 0.5, "agent.color": (255, 0, 0), **factors}
        self._state, self._goal = rng.uniform(-3, 3, (2, 2))

    def step(self, action):
        self._state = self._state + self.factors["agent.speed"] * np.asarray(action, np.float64)

    @property
    def state(self):
        return self._state.copy()

    @property
    def goal(self):
        return self._goal.copy()

    def set_state(self, state, goal=None):
        self._state = state
        self._goal = self._goal if goal is None else goal

    def columns(self):
        return {"distance": np.linalg.norm(self._state - self._goal), "quadrant": np.int32(2), "near": self.is_solved()}

    def render(self):
        self.drawn += 1
        return self._frame(self._state)

    def render_goal(self):
        return self._frame(self._goal)

    def _frame(self, place):
        frame = np.zeros((SIZE, SIZE, 3), np.uint8)
        frame[..., 0], frame[..., 2] = int(place[0] * 20 + 100), int(self._goal[0] * 20 + 100)
        return frame

    def is_solved(self):
        return bool(np.linalg.norm(self._state - self._goal) < 1)

    def close(self):
        self.closed = True


def make(count, **changes):
    return SimulatorVectorEnv(Point, count, SIZE, STEPS, **changes)


def walk(env, seeds, options=None):
    """Everything observed in 8 steps of each environment, (N, T, ...) by name; actions are the seed's own."""
    rngs = [np.random.default_rng([3, seed]) for seed in seeds]
    seen = [env.reset(seed=list(seeds), options=options)[0]]
    for _ in range(8):
        actions = np.stack([rng.uniform(-1, 1, 2) for rng in rngs]).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(actions)
        np.testing.assert_array_equal(reward, observation["near"].astype(float))
        np.testing.assert_array_equal(terminated, observation["near"])
        assert not truncated.any()
        seen.append(observation)
    return {name: np.stack([one[name] for one in seen], axis=1) for name in seen[0]}


def test_the_simulator_keeps_the_protocol_that_worlds_implement():
    assert isinstance(Point(), Simulator)


def test_observations_are_what_the_simulators_show():
    env = make(3)
    observation, _ = env.reset(seed=5)
    assert list(observation) == ["pixels", "state", "goal", "distance", "quadrant", "near"]
    assert observation in env.observation_space
    expected = [np.random.Generator(np.random.PCG64(5 + i)).uniform(-3, 3, (2, 2)) for i in range(3)]
    np.testing.assert_array_equal(observation["state"], [start for start, _ in expected])
    np.testing.assert_array_equal(observation["goal"], [goal for _, goal in expected])
    np.testing.assert_array_equal(
        observation["pixels"][:, 0, 0, 0], (observation["state"][:, 0] * 20 + 100).astype(int)
    )
    np.testing.assert_array_equal(np.stack(env.render()), observation["pixels"])
    np.testing.assert_array_equal(env.render_goal()[:, 0, 0, 0], observation["pixels"][:, 0, 0, 2])
    distance = np.linalg.norm(observation["state"] - observation["goal"], axis=1)
    np.testing.assert_allclose(observation["distance"], distance)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.close()
    assert all(simulator.closed for simulator in env.simulators)


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize(
    "made", [lambda pixels: make(3, pixels=pixels), lambda pixels: TwoRoomVectorEnv(3, 16, pixels=pixels)]
)
def test_what_is_shown_can_be_asked_for_again(made, pixels):
    env = made(pixels)
    shown, _ = env.reset(seed=5)
    for _ in range(2):
        assert env.observation.keys() == shown.keys()
        for name, values in shown.items():
            np.testing.assert_array_equal(env.observation[name], values)
        shown, *_ = env.step(env.action_space.sample())
    state = env.state[::-1].copy()
    env.set_state(state)
    np.testing.assert_array_equal(env.observation["state"], state)


def test_an_episode_is_a_function_of_its_seed_and_factors_whatever_the_batch():
    seeds = range(20, 26)
    factors = [{"agent.speed": 0.1 * (i + 1)} for i in range(6)]
    together = walk(make(6), seeds, {"factors": factors})
    for i in (0, 3, 5):
        alone = walk(make(1), [seeds[i]], {"factors": factors[i]})
        for name, values in together.items():
            np.testing.assert_array_equal(values[i], alone[name][0])
    steps = np.diff(together["state"], axis=1)
    assert 4 < np.abs(steps[5]).mean() / np.abs(steps[0]).mean() < 9


def test_a_masked_reset_touches_and_draws_only_its_environments():
    env = make(4)
    env.reset(seed=0)
    for _ in range(3):
        before, *_ = env.step(np.full((4, 2), 0.5, np.float32))
    drawn = [simulator.drawn for simulator in env.simulators]
    mask = np.array([False, True, False, True])
    kept = {name: values.copy() for name, values in before.items()}
    after, _ = env.reset(seed=[1, 50, 1, 51], options={"reset_mask": mask, "factors": {"agent.speed": 0.25}})
    fresh, _ = make(2).reset(seed=[50, 51])
    for name, values in after.items():
        np.testing.assert_array_equal(values[~mask], kept[name][~mask])
        np.testing.assert_array_equal(values[mask], fresh[name])
        np.testing.assert_array_equal(before[name], kept[name])  # arrays that were handed out do not change
    assert [simulator.drawn for simulator in env.simulators] == [drawn[0], drawn[1] + 1, drawn[2], drawn[3] + 1]
    assert [one["agent.speed"] for one in env.factors] == [0.5, 0.25, 0.5, 0.25]
    truncated = [env.step(np.zeros((4, 2), np.float32))[3] for _ in range(STEPS)]
    assert [int(np.argmax(flags)) for flags in np.stack(truncated, axis=1)] == [STEPS - 4, STEPS - 1] * 2


def test_the_first_reset_may_have_a_mask_too():
    observation, _ = make(2).reset(seed=[7, 7], options={"reset_mask": np.array([False, True])})
    assert np.isfinite(observation["state"]).all()


def test_without_pixels_only_render_draws():
    env = make(2, pixels=False)
    observation, _ = env.reset(seed=0)
    assert "pixels" not in observation
    assert "pixels" not in env.single_observation_space.spaces
    env.step(np.zeros((2, 2), np.float32))
    assert [simulator.drawn for simulator in env.simulators] == [0, 0]
    assert len(env.render()) == 2
    assert [simulator.drawn for simulator in env.simulators] == [1, 1]


def test_options_place_state_and_goal():
    env = make(2)
    state, goal = np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([[0.5, 1.0], [-2.0, 2.0]])
    observation, _ = env.reset(seed=0, options={"state": state, "goal": goal})
    np.testing.assert_array_equal(observation["state"], state)
    np.testing.assert_array_equal(observation["goal"], goal)
    assert env.is_solved().tolist() == [True, False]
    random_goal = make(2).reset(seed=1)[0]["goal"]
    observation, _ = env.reset(seed=1, options={"state": state})
    np.testing.assert_array_equal(observation["goal"], random_goal)
    env.set_state(goal.astype(np.float32))
    np.testing.assert_array_equal(env.state, goal)
    np.testing.assert_array_equal(env.step(np.zeros((2, 2)))[0]["goal"], random_goal)


def test_a_world_may_go_on_where_its_goal_is_reached():
    for terminates in (True, False):
        env = make(1, terminates=terminates)
        env.reset(seed=0, options={"state": np.zeros((1, 2)), "goal": np.zeros((1, 2))})
        _, reward, terminated, _, _ = env.step(np.zeros((1, 2)))
        assert reward.tolist() == [1.0]
        assert terminated.tolist() == [terminates]
        single = SimulatorEnv(Point(), STEPS, terminates)
        single.reset(seed=0, options={"state": np.zeros(2), "goal": np.zeros(2)})
        assert single.step(np.zeros(2))[1:3] == (1.0, terminates)


@pytest.mark.filterwarnings("ignore:.*infinity")
def test_gymnasium_finds_nothing_to_complain_about():
    env = SimulatorEnv(Point(), STEPS)
    check_env(env, skip_render_check=True)
    env.close()
    assert env.simulator.closed


def test_the_single_environment_is_the_vector_one():
    together = walk(make(2), [8, 9])
    env = SimulatorEnv(Point(), 8)
    for i, seed in enumerate([8, 9]):
        rng = np.random.default_rng([3, seed])
        observation, _ = env.reset(seed=seed)
        for t in range(9):
            for name, values in together.items():
                np.testing.assert_array_equal(observation[name], values[i, t])
            observation, _, _, truncated, _ = env.step(rng.uniform(-1, 1, 2).astype(np.float32))
            assert truncated == (t >= 7)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"factors": {"agent.sped": 0.5}}, '"agent.speed"'),
        ({"factors": [{}]}, "1 factors for 2 environments"),
        ({"gaol": np.zeros((2, 2))}, '"goal"'),
        ({"state": np.zeros((2, 3))}, "state has shape"),
        ({"goal": np.zeros((3, 2))}, "3 goal for 2 environments"),
        ({"reset_mask": np.zeros(2, np.bool_)}, "reset_mask"),
    ],
)
def test_a_wrong_reset_says_what_is_wrong(options, expected):
    with pytest.raises(DataError, match=expected):
        make(2).reset(seed=0, options=options)


def test_wrong_seeds_and_counts_are_refused():
    with pytest.raises(DataError, match="3 seeds for 2 environments"):
        make(2).reset(seed=[1, 2, 3])
    with pytest.raises(DataError, match="num_envs is 0"):
        make(0)
    assert isinstance(make(1), gymnasium.vector.VectorEnv)
