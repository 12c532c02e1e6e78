"""What Push-T's frames show."""

import numpy as np
import pytest

from lewm_data.envs.push_t.simulator import PushTSimulator

STATE = np.array([130.3, 300.7, 256.2, 220.9, 0.6, 0, 0])
UNIT = 512


def frame(size, state=STATE, **factors):
    one = PushTSimulator(size)
    one.reset(np.random.default_rng(0), {name.replace("_", "."): value for name, value in factors.items()})
    one.set_state(state)
    return one.render()


def expected(state, size, samples):
    """The world by its definition, at `samples` x `samples` points a pixel, averaged."""
    at = (np.arange(size * samples) + 0.5) * (UNIT / (size * samples))
    x, y = np.meshgrid(at, at)
    picture = np.full((*x.shape, 3), 255.0)
    picture[((x > 3) & (x < 508) & (y > 3) & (y < 508)) & ~((x > 7) & (x < 504) & (y > 7) & (y < 504))] = 211
    cos, sin = np.cos(state[4]), np.sin(state[4])
    u = cos * (x - state[2]) + sin * (y - state[3])
    v = cos * (y - state[3]) - sin * (x - state[2])
    for left, right, top, bottom in ((-60, 60, 0, 30), (-15, 15, 30, 120)):
        away = np.hypot(
            np.maximum(np.abs(u - (left + right) / 2) - (right - left) / 2, 0),
            np.maximum(np.abs(v - (top + bottom) / 2) - (bottom - top) / 2, 0),
        )
        picture[away < 2] = (119, 136, 153)
        picture[(u > left + 2) & (u < right - 2) & (v > top + 2) & (v < bottom - 2)] = np.multiply((119, 136, 153), 1.2)
    away = np.hypot(x - state[0], y - state[1])
    picture[away < 15] = (65, 105, 225)
    picture[away < 11] = (78, 126, 255)
    return picture.reshape(size, samples, size, samples, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.5])
@pytest.mark.parametrize(("size", "samples"), [(64, 16), (96, 12), (224, 6)])
def test_frames_are_the_world_averaged_over_each_pixel(angle, size, samples):
    """But for the corners of pixels that an edge crosses, which the distance of their centre does not tell."""
    state = np.concatenate([STATE[:4], [angle, 0, 0]])
    difference = np.abs(frame(size, state) - expected(state, size, samples))
    assert difference.mean() < 0.15
    assert difference.max() < 45
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.15


def test_colors():
    got = frame(512, agent_color=(10, 20, 30), block_color=(100, 50, 240), background_color=(250, 240, 230))
    at = lambda x, y: got[int(y), int(x)].tolist()  # noqa: E731
    assert at(130, 300) == [12, 24, 36]
    assert at(130 + 13, 300) == [10, 20, 30]
    assert at(260, 230) == [120, 60, 255]  # in the bar
    assert at(400, 400) == at(1, 1) == [250, 240, 230]
    assert at(5, 200) == at(200, 505) == [211, 211, 211]


def test_sizes():
    drawn = [np.any(frame(256, agent_scale=scale) != 255, axis=2).sum() for scale in (0.5, 1.0, 1.5)]
    without = np.any(frame(256, STATE + np.array([-500, 0, 0, 0, 0, 0, 0])) != 255, axis=2).sum()
    reach = np.array([7.5, 15, 22.5]) + 1  # half a pixel more than the disc
    np.testing.assert_allclose(drawn - without, np.pi * np.square(reach) / 4, rtol=0.1)
    blocks = [(frame(256, block_scale=scale) == (143, 163, 184)).all(axis=2).sum() for scale in (0.75, 1.25)]
    assert 2.5 < blocks[1] / blocks[0] < 3.3


def test_what_lies_beyond_the_frame_is_not_drawn():
    outside = np.array([-300.0, 900, -400, 700, 1.0, 0, 0])
    assert np.array_equal(frame(64, outside), frame(64, outside - 50))
    half = frame(64, np.array([0.0, 200, 256, 256, 0, 0, 0]))
    assert (half[24:26, 0] != frame(64, np.array([400.0, 100, 256, 256, 0, 0, 0]))[24:26, 0]).any()


def test_the_goal_picture_is_the_world_in_the_goal_state():
    one = PushTSimulator(32)
    one.reset(np.random.default_rng(1), {"block.color": (200, 0, 0)})
    goal, before = one.render_goal(), one.render()
    assert (goal != before).any()
    one.set_state(one.goal)
    assert np.array_equal(one.render(), goal)


def test_frames_belong_to_the_caller():
    one = PushTSimulator(32)
    one.reset(np.random.default_rng(1), {})
    first = one.render()
    kept = first.copy()
    first[:] = 7
    assert np.array_equal(one.render(), kept)
