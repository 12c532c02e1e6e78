"""Push-T's twins are the episode before the onset, and go against physics as promised from there on, and no more."""

import numpy as np
import pytest

from lewm_data.envs.general_perturbations import Episode
from lewm_data.envs.push_t.definition import PUSH_T
from lewm_data.envs.push_t.geometry import AGENT, AGENT_RADIUS, BLOCK, POSE, distance_to_block
from lewm_data.envs.push_t.render import draw
from lewm_data.envs.push_t.simulator import PushTSimulator

SIZE, ONSET, STEPS = 64, 30, 50


@pytest.fixture(
    scope="module", params=[{}, {"agent.scale": 1.3, "block.color": (120, 20, 20)}], ids=["usual", "varied"]
)
def episode(request):
    env = PUSH_T.make(1, SIZE, True)
    observation, _ = env.reset(seed=1, options={"factors": request.param})
    policy = PUSH_T.policy("expert", env)
    policy.reset(np.arange(1), [np.random.default_rng(0)])
    frames, states, actions = [observation["pixels"][0]], [observation["state"][0]], []
    for _ in range(STEPS):
        actions.append(policy.act(observation)[0])
        observation, *_ = env.step(actions[-1][None])
        frames.append(observation["pixels"][0])
        states.append(observation["state"][0])
    return Episode(np.stack(frames), np.stack(states), np.stack(actions), env.factors[0])


def perturbed(episode, name, seed=0):
    return PUSH_T.perturbations[name](episode, ONSET, np.random.default_rng(seed))


def difference(frames, others):
    return (frames != others).any(axis=-1)  # (T, Y, X)


@pytest.mark.parametrize("name", PUSH_T.perturbations)
def test_a_twin_is_the_episode_before_its_onset(episode, name):
    twin, again = perturbed(episode, name), perturbed(episode, name)
    assert twin.frames.shape == episode.frames.shape
    assert np.array_equal(twin.frames[:ONSET], episode.frames[:ONSET])
    assert np.array_equal(twin.frames, again.frames)
    if name == "action swapped":
        assert not np.array_equal(twin.actions, episode.actions)
    else:
        assert np.array_equal(twin.actions, episode.actions)
        assert difference(twin.frames[ONSET], episode.frames[ONSET]).any()


@pytest.mark.parametrize(
    ("name", "moved", "least"), [("agent teleported", AGENT, 204), ("block teleported", BLOCK, 130)]
)
def test_what_is_teleported_is_far_away_and_moves_on_as_physics_says(episode, name, moved, least, monkeypatch):
    placed = []
    set_state = PushTSimulator.set_state
    monkeypatch.setattr(PushTSimulator, "set_state", lambda self, state: placed.append(state) or set_state(self, state))
    for seed in range(10):
        twin = perturbed(episode, name, seed)
        state = placed.pop()
        assert np.linalg.norm(episode.states[ONSET - 5 : ONSET, moved] - state[moved], axis=1).min() > least
        kept = np.ones(7, np.bool_)
        kept[AGENT if name == "agent teleported" else POSE] = False
        assert np.array_equal(state[kept], episode.states[ONSET][kept])
        radius = AGENT_RADIUS * episode.factors["agent.scale"]
        assert distance_to_block(state[AGENT], state[POSE], 1.0) >= radius
        world = PushTSimulator(SIZE)
        world.reset(np.random.default_rng(9), episode.factors)
        set_state(world, state)
        for t in range(ONSET, STEPS + 1):
            assert np.array_equal(twin.frames[t], world.render())
            if t < STEPS:
                world.step(episode.actions[t])


@pytest.mark.parametrize("what", ["agent", "block", "background"])
def test_what_is_recoloured_and_nothing_else_has_another_colour(episode, what):
    twin = perturbed(episode, {"background": "floor"}.get(what, what) + " recoloured")
    for t in (ONSET, STEPS):
        changed = difference(twin.frames[t], episode.frames[t])
        black, white = (
            draw(episode.states[t], {**episode.factors, f"{what}.color": color}, SIZE)
            for color in ((0, 0, 0), (255, 255, 255))
        )
        may = difference(black, white)
        assert not changed[~may].any()
        assert changed[may].mean() > 0.9


def test_a_frozen_world_stands_still(episode):
    twin = perturbed(episode, "world frozen")
    assert (twin.frames[ONSET:] == twin.frames[ONSET - 1]).all()
