"""What the frames show."""

import numpy as np
import pytest

from lewm_data.envs.two_room import TwoRoomFactors, TwoRoomVectorEnv

PX = 1 / 224


def frame(size, state, **factors):
    env = TwoRoomVectorEnv(1, size)
    env.reset(seed=0, options={"factors": TwoRoomFactors(**factors), "state": np.array([state]) * PX})
    return env.render()[0]


def test_the_paper_s_frame_pixel_by_pixel():
    """At 224 pixels all walls end on pixel edges: the frame is the definition, evaluated at pixel centres."""
    got = frame(224, (60, 150.3)).astype(float)
    y, x = np.mgrid[:224, :224] + 0.5
    wall = (np.minimum(x, y) < 14) | (np.maximum(x, y) > 210) | ((abs(x - 112) < 5) & (abs(y - 49) > 14))
    floor = np.where(wall, 0.0, 255.0)[..., None].repeat(3, axis=2)
    alpha = np.exp(-((x - 60) ** 2 + (y - 150.3) ** 2) / (2 * 7**2))[..., None]
    expected = floor + alpha * (np.array([255.0, 0, 0]) - floor)
    assert np.abs(got - expected).max() <= 0.501


@pytest.mark.parametrize("state", [(21, 21), (203, 203), (112, 49), (100, 190.5), (60.2, 21)])
@pytest.mark.parametrize(("small", "factor", "sampling"), [(32, 7, 24), (64, 7, 10), (56, 4, 12)])
def test_every_size_shows_the_same_world(state, small, factor, sampling):
    """A frame averaged down is the smaller one, but for rounding and for the dot, sampled at pixel centres.

    A pixel p wide differs by 255 p² / 12 r² levels at the top of the dot (21, 5 and 7 here), and by some more
    where the dot's slope meets an edge of the wall within a pixel.
    """
    large = frame(small * factor, state).astype(float)
    averaged = large.reshape(small, factor, small, factor, 3).mean(axis=(1, 3))
    difference = np.abs(averaged - frame(small, state))
    y, x = (np.mgrid[:small, :small] + 0.5) * (224 / small)
    dot = np.hypot(x - state[0], y - state[1]) < 32
    assert difference[~dot].max() <= 1.0
    assert difference[dot].max() <= sampling


@pytest.mark.parametrize("size", [32, 64, 100, 224])
@pytest.mark.parametrize("state", [(60.0, 150.0), (61.3, 148.9), (163.7, 80.2)])
def test_the_dot_s_centre_is_the_state(size, state):
    redness = 255.0 - frame(size, state)[..., 1]
    empty = 255.0 - frame(size, (200.0, 200.0))[..., 1]
    y, x = (np.mgrid[:size, :size] + 0.5) * (224 / size)
    near = (np.hypot(x - state[0], y - state[1]) < 35) & (empty == 0)
    centre = [(axis * redness)[near].sum() / redness[near].sum() for axis in (x, y)]
    np.testing.assert_allclose(centre, state, atol=0.1)  # pixels of the 224 frame


@pytest.mark.parametrize("size", [64, 224])
def test_the_horizontal_frame_is_the_transpose(size):
    upright = frame(size, (70.3, 110.9), door_position=0.4)
    lying = frame(size, (110.9, 70.3), door_position=0.4, wall_axis=1)
    assert np.array_equal(upright, lying.transpose(1, 0, 2))
    assert not np.array_equal(upright, lying)


def test_colors():
    got = frame(224, (60, 150), agent_color=(10, 200, 30), wall_color=(90, 80, 70), background_color=(250, 240, 230))
    assert got[0, 0].tolist() == got[100, 112].tolist() == [90, 80, 70]
    assert got[49, 112].tolist() == got[200, 200].tolist() == [250, 240, 230]
    assert np.abs(got[150, 60].astype(int) - [10, 200, 30]).max() <= 2  # half a pixel off the dot's centre


def test_the_door_is_where_it_says():
    column = frame(224, (40, 40), door_position=130 * PX, door_half_extent=20 * PX)[:, 112, 0]
    assert np.flatnonzero(column == 255).tolist() == list(range(110, 150))


@pytest.mark.parametrize("size", [64, 224])
def test_the_goal_picture_is_the_world_with_the_agent_at_the_goal(size):
    env = TwoRoomVectorEnv(20, size)
    env.reset(seed=0, options={"factors": [TwoRoomFactors(door_position=0.2 + 0.03 * i) for i in range(20)]})
    goals, before = env.render_goal(), np.stack(env.render())
    assert (goals != before).any(axis=(1, 2, 3)).all()
    env.set_state(env.goal)
    assert np.array_equal(np.stack(env.render()), goals)


def test_frames_belong_to_the_caller():
    env = TwoRoomVectorEnv(2, 32)
    first, _ = env.reset(seed=0)
    kept = first["pixels"].copy()
    second, *_ = env.step(np.ones((2, 2), np.float32))
    second["pixels"][:] = 7
    second["state"][:] = 7
    assert np.array_equal(first["pixels"], kept)
    again, _ = env.reset(seed=0)
    assert np.array_equal(again["pixels"], kept)
