"""Twins are the episode before the onset, and go against physics as promised from there on, and no more."""

import numpy as np
import pytest

from lewm_data.collection.record_episodes import record
from lewm_data.envs.general_perturbations import TOLD_STEPS, Episode
from lewm_data.envs.registry import world
from lewm_data.envs.two_room import TwoRoomFactors, TwoRoomVectorEnv
from lewm_data.envs.two_room.factors import SPEED_RANGE
from lewm_data.envs.two_room.geometry import AGENT_RADIUS, FARTHEST, LEFT_FACE, NEAREST, RIGHT_FACE, Rooms, clearance
from lewm_data.envs.two_room.perturbations import PERTURBATIONS
from lewm_data.envs.two_room.render import background
from lewm_data.errors import DataError

PX = 1 / 224
SIZE = 64
STEPS = 60
ONSET = 20
NEARLY = 0.3 * PX  # the accuracy with which the pixels tell the agent's position
# Only the agent is blue: what is blue in a frame is where the agent is.
BLUE = {"agent_color": (0, 0, 255), "wall_color": (0, 0, 0), "background_color": (255, 255, 0)}
WORLDS = {
    "slow": TwoRoomFactors(door_position=0.6, door_half_extent=30 * PX, agent_speed=SPEED_RANGE[0], **BLUE),
    "usual": TwoRoomFactors(**BLUE),
    "fast": TwoRoomFactors(door_position=0.4, wall_axis=1, agent_speed=SPEED_RANGE[1], **BLUE),
}


def played(start, actions, factors):
    """Frames and states of the environment itself, from `start` on."""
    env = TwoRoomVectorEnv(1, SIZE, factors=factors)
    env.reset(seed=0, options={"state": np.array([start])})
    frames, states = [env.render()[0]], [env.state[0]]
    for action in actions:
        observation, *_ = env.step(action[None])
        frames.append(observation["pixels"][0])
        states.append(observation["state"][0])
    return np.stack(frames), np.stack(states)


def acted(factors, start):
    """An episode that rests at `start` for a step and then moves at random."""
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, 2)).astype(np.float32)
    actions[0] = 0
    return Episode(*played(start, actions, factors), actions, factors)


@pytest.fixture(scope="module", params=sorted(WORLDS))
def episode(request):
    return acted(WORLDS[request.param], (0.3, 0.7))


def perturbed(episode, name, onset=ONSET, seed=0):
    return PERTURBATIONS[name](episode, onset, np.random.default_rng(seed))


def dots(frames):
    """The agent's position in each frame, from the pixels."""
    blue = frames[..., 2].astype(np.float64)
    at = (np.arange(SIZE) + 0.5) / SIZE
    return np.stack([blue.sum(axis=1) @ at, blue.sum(axis=2) @ at], axis=1) / blue.sum(axis=(1, 2))[:, None]


def test_an_untouched_episode_replays_exactly():
    one = record(world("two-room"), [4, 5], SIZE, STEPS)[1]
    assert one.actions.shape == (STEPS, 2)
    frames, states = played(one.states[0], one.actions, one.factors)
    assert np.array_equal(frames, one.frames)
    assert np.array_equal(states, one.states)


def test_a_recorded_episode_is_a_function_of_its_seed():
    (alone,), together = record(world("two-room"), [8], SIZE, 30), record(world("two-room"), [7, 8], SIZE, 30)
    assert np.array_equal(alone.frames, together[1].frames)
    assert np.array_equal(alone.actions, together[1].actions)
    assert not np.array_equal(together[0].states[0], together[1].states[0])


def test_it_goes_on_moving_beyond_its_goal():
    episodes = record(world("two-room"), range(20), 16, 150)
    travelled = np.stack([np.abs(np.diff(one.states, axis=0)).max(axis=1) for one in episodes])
    assert travelled.shape == (20, 150)
    assert (travelled > 0.2 * episodes[0].factors.agent_speed).mean() > 0.95


def test_none_is_an_episode_of_a_dataset():
    """Collection keys episode e of seed s by SeedSequence([s, e]).spawn(2)."""
    recorded = [one.states[0] for one in record(world("two-room"), range(10), 16, 1)]
    streams = [s for seed in range(10) for e in range(10) for s in np.random.SeedSequence([seed, e]).spawn(2)]
    env = TwoRoomVectorEnv(len(streams), 16)
    collected, _ = env.reset(seed=[int(stream.generate_state(1)[0]) for stream in streams])
    assert not (np.array(recorded)[:, None] == collected["state"]).all(axis=-1).any()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_twin_is_the_episode_before_its_onset(episode, name):
    kept = episode.frames.copy(), episode.actions.copy()
    for onset in (2, 3, ONSET, STEPS):
        twin, again = perturbed(episode, name, onset), perturbed(episode, name, onset)
        assert twin.onset == onset
        assert twin.frames.shape == episode.frames.shape
        assert np.array_equal(twin.frames[:onset], episode.frames[:onset])
        for told in (slice(0, max(onset - TOLD_STEPS, 0)), slice(onset, None)):
            assert np.array_equal(twin.actions[told], episode.actions[told])
        assert np.array_equal(twin.frames, again.frames)
        assert np.array_equal(twin.actions, again.actions)
    assert np.array_equal(episode.frames, kept[0])
    assert np.array_equal(episode.actions, kept[1])


@pytest.mark.parametrize("name", [name for name in PERTURBATIONS if name != "action swapped"])
def test_a_twin_differs_at_its_onset_and_is_told_the_true_actions(episode, name):
    twin = perturbed(episode, name)
    assert (twin.frames[ONSET] != episode.frames[ONSET]).any()
    assert np.array_equal(twin.actions, episode.actions)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_an_onset_outside_of_the_episode_is_refused(episode, name):
    for onset in (-1, 0, 1, STEPS + 1, STEPS + 9):
        with pytest.raises(DataError, match=f"onset is frame {onset} of an episode of 61 frames, expected 2 to 60"):
            perturbed(episode, name, onset)


@pytest.mark.parametrize("name", ["agent teleported", "agent recoloured", "walls recoloured", "floor recoloured"])
def test_what_is_random_follows_the_generator(episode, name):
    assert not np.array_equal(perturbed(episode, name, seed=0).frames, perturbed(episode, name, seed=1).frames)


def test_a_teleport_is_out_of_reach_and_true_physics_goes_on(episode):
    rooms = Rooms.of([episode.factors])
    landed = []
    for seed in range(20):
        frames = perturbed(episode, "agent teleported", seed=seed).frames[ONSET:]
        landed.append(dots(frames[:1])[0])
        # The twin does not say where exactly; it is one of the first draws.
        draws = np.random.default_rng(seed).uniform(NEAREST, FARTHEST, (200, 2))
        place = draws[np.abs(draws - landed[-1]).max(axis=1).argmin()]
        recent = episode.states[ONSET - 5 : ONSET]
        assert np.linalg.norm(recent - place, axis=1).min() > 5 * episode.factors.agent_speed * np.sqrt(2)
        assert clearance(place[None], rooms)[0] >= 0
        assert np.array_equal(frames, played(place, episode.actions[ONSET:], episode.factors)[0])
    assert np.ptp(landed, axis=0).min() > 0.4


@pytest.mark.parametrize(
    ("name", "factor"),
    [("agent recoloured", "agent.color"), ("walls recoloured", "wall.color"), ("floor recoloured", "background.color")],
)
def test_one_colour_changes_clearly_and_nothing_else(episode, name, factor):
    factors = episode.factors
    black = dict.fromkeys(["agent.color", "wall.color", "background.color"], (0, 0, 0))
    share, _ = played(  # the share of each pixel that is drawn in the colour, from 0 to 1
        episode.states[ONSET], episode.actions[ONSET:], factors.varied({**black, factor: (255, 255, 255)})
    )
    rest, _ = played(episode.states[ONSET], episode.actions[ONSET:], factors.varied({factor: (0, 0, 0)}))
    weight = share / 255.0
    for seed in range(8):
        frames = perturbed(episode, name, seed=seed).frames[ONSET:]
        # least squares for the colour c in frame = rest + weight c
        color = np.rint(((frames - rest.astype(float)) * weight).sum(axis=(0, 1, 2)) / (weight**2).sum(axis=(0, 1, 2)))
        expected = factors.varied({factor: tuple(int(c) for c in color)})
        assert np.array_equal(frames, played(episode.states[ONSET], episode.actions[ONSET:], expected)[0])
        for used in BLUE.values():
            assert np.linalg.norm(color - used) >= 120


def test_a_vanished_agent_leaves_no_trace(episode):
    frames = perturbed(episode, "agent vanishes").frames
    assert (frames[:ONSET, ..., 2] > 0).any(axis=(1, 2)).all()
    assert (frames[ONSET:] == background(episode.factors, SIZE)).all()


def test_a_frozen_agent_stays_where_it_was(episode):
    assert (perturbed(episode, "agent frozen").frames[ONSET:] == episode.frames[ONSET - 1]).all()


def test_reversed_time_turns_at_the_onset_and_again_at_the_beginning(episode):
    frames = perturbed(episode, "time reversed").frames
    assert np.array_equal(frames[ONSET : 2 * ONSET - 1], episode.frames[ONSET - 2 :: -1])
    assert np.array_equal(frames[2 * ONSET - 1 :], episode.frames[1 : STEPS + 3 - 2 * ONSET])


@pytest.mark.parametrize("onset", [2, 4, ONSET, STEPS])
def test_swapped_actions_are_those_of_another_time_with_another_effect(episode, onset):
    begin = max(onset - TOLD_STEPS, 0)
    width = onset - begin
    windows = np.stack([episode.actions[i : i + width] for i in range(STEPS - width + 1)])
    apart = np.linalg.norm(windows.mean(axis=1) - windows[begin].mean(axis=0), axis=1)
    chosen = set()
    for seed in range(10):
        twin = perturbed(episode, "action swapped", onset, seed)
        assert np.array_equal(twin.frames, episode.frames)
        (found,) = np.flatnonzero((windows == twin.actions[begin:onset]).all(axis=(1, 2)))
        assert abs(found - begin) >= width
        assert apart[found] > np.median(apart)
        chosen.add(int(found))
    assert len(chosen) > 2


def test_too_few_actions_to_swap_are_refused(episode):
    short = Episode(episode.frames[:9], episode.states[:9], episode.actions[:8], episode.factors)
    with pytest.raises(DataError, match="an episode of 8 actions has no 5 in a row besides those before frame 6"):
        perturbed(short, "action swapped", 6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("across", [25, 60, 94, 130, 199])
@pytest.mark.parametrize("along", [25, 110, 116, 195])
def test_the_wall_is_crossed_where_there_is_no_door(along, across, axis):
    """It starts in both rooms, in front of the door and in front of the wall."""
    factors = TwoRoomFactors(door_position=0.5, wall_axis=axis, **BLUE)
    turn = slice(None, None, 1 if axis == 0 else -1)  # (x, y) to (u, v) and back
    start = np.array([across, along])[turn] * PX
    episode = acted(factors, start)
    frames = perturbed(episode, "agent through the wall", 2).frames
    path = dots(frames[1:])[:, turn]
    side = 1 if across < 112 else -1
    face, opposite = (LEFT_FACE, RIGHT_FACE)[::side]
    arrived = int(np.argmax((path[:, 0] - opposite) * side > -NEARLY))

    assert 0 < arrived < STEPS // 2
    glide = path[: arrived + 1]
    assert np.linalg.norm(np.diff(glide, axis=0), axis=1).max() < factors.agent_speed + NEARLY
    inside = ((glide[:, 0] - face) * side > NEARLY) & ((opposite - glide[:, 0]) * side > NEARLY)
    assert inside.sum() >= 4  # 24/224 at 5/224 a step
    assert (np.abs(glide[inside, 1] - 0.5) > factors.door_half_extent + AGENT_RADIUS - NEARLY).all()

    there = np.array([opposite, glide[-1, 1]])
    if along in (25, 195):  # clear of the door
        assert np.ptp(glide[:, 1]) < NEARLY
        there[1] = along * PX
        afterwards, _ = played(there[turn], episode.actions[arrived + 1 :], factors)
        assert np.array_equal(frames[arrived + 1 :], afterwards)
    else:
        _, afterwards = played(there[turn], episode.actions[arrived + 1 :], factors)
        np.testing.assert_allclose(path[arrived:], afterwards[:, turn], atol=2 * NEARLY)


def test_from_the_passage_it_takes_the_wall_too():
    episode = acted(TwoRoomFactors(door_position=0.5, **BLUE), (0.5, 0.51))
    path = dots(perturbed(episode, "agent through the wall", 2).frames[1:])
    middle = np.abs(path[:, 0] - 0.5).argsort()
    assert np.abs(path[middle, 1] - 0.5)[1:3].max() > episode.factors.door_half_extent


def test_a_door_without_a_wall_beside_it_is_refused():
    episode = acted(TwoRoomFactors(door_position=0.5, door_half_extent=95 * PX), (0.3, 0.5))
    with pytest.raises(DataError, match="leaves no wall to go through"):
        perturbed(episode, "agent through the wall")
