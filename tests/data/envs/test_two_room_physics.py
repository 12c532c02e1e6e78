"""Motion among the walls, against a check of collisions that shares no code with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lewm_data.envs.two_room.collision import move
from lewm_data.envs.two_room.factors import TwoRoomFactors
from lewm_data.envs.two_room.geometry import Rooms, clearance

PX = 1 / 224
factors = st.builds(
    lambda half, place, axis, speed: TwoRoomFactors(
        door_half_extent=half * PX,
        door_position=(14 + half + place * (196 - 2 * half)) * PX,
        wall_axis=axis,
        agent_speed=speed * PX,
    ),
    half=st.floats(8.0, 60.0),
    place=st.floats(0.001, 0.999),
    axis=st.sampled_from([0, 1]),
    speed=st.floats(1.76, 10.49),
)
seeds = st.integers(0, 2**32 - 1)


def overlap(position: np.ndarray, world: TwoRoomFactors) -> np.ndarray:
    """The depth of a disc of 7 px in the nearest of the border and the wall's two rectangles."""
    x, y = position.T / PX if world.wall_axis == 0 else position.T[::-1] / PX
    low, high = (world.door_position + np.array([-1, 1]) * world.door_half_extent) / PX
    depth = np.maximum.reduce([14 - (x - 7), x + 7 - 210, 14 - (y - 7), y + 7 - 210])
    for top, bottom in ((-1e9, low), (high, 1e9)):
        nearest_x, nearest_y = np.clip(x, 107, 117), np.clip(y, top, bottom)
        inside = (x > 107) & (x < 117) & (y > top) & (y < bottom)
        depth = np.maximum(depth, np.where(inside, 7.0, 7 - np.hypot(x - nearest_x, y - nearest_y)))
    return depth


def free_states(rng: np.random.Generator, count: int, world: TwoRoomFactors) -> np.ndarray:
    """Uniform over the whole of free space, door included."""
    drawn = rng.uniform(21 * PX, 203 * PX, (40 * count, 2))
    return drawn[overlap(drawn, world) <= 0][:count]


def components(position: np.ndarray, world: TwoRoomFactors) -> tuple[np.ndarray, np.ndarray]:
    across, along = position.T if world.wall_axis == 0 else position.T[::-1]
    return across / PX, along / PX


@settings(max_examples=40)
@given(world=factors, seed=seeds, reach=st.sampled_from([1e-12, 1e-3, 0.05, 0.3, 2.0]))
def test_nobody_ever_enters_a_wall(world, seed, reach):
    rng = np.random.default_rng(seed)
    state = free_states(rng, 64, world)
    rooms = Rooms.of([world] * len(state))
    for _ in range(12):
        state = move(state, rng.uniform(-reach, reach, state.shape), rooms)
        assert overlap(state, world).max() < 1e-6  # pixels


@settings(max_examples=40)
@given(world=factors, seed=seeds)
def test_nobody_crosses_the_wall_beside_the_door(world, seed):
    """Whoever starts away from the door and moves across by up to two frames stays in the room."""
    rng = np.random.default_rng(seed)
    state = free_states(rng, 200, world)
    across, along = components(state, world)
    distance = abs(along - world.door_position / PX)
    start = state[(distance > world.door_half_extent / PX) & (abs(across - 112) >= 12)]
    step = rng.uniform(0, 2.0, (len(start), 1)) * np.array([[1.0, 0.0]])
    if world.wall_axis == 1:
        step = step[:, ::-1]
    before = components(start, world)[0]
    toward = np.where(before < 112, 1.0, -1.0)[:, None]
    end = move(start, step * toward, Rooms.of([world] * len(start)))
    assert np.array_equal(before < 112, components(end, world)[0] < 112)


def test_the_whole_step_is_a_straight_line_where_nothing_is_in_the_way():
    start = np.array([[60.0, 100.0], [112.0, 49.0], [90.0, 49.0], [150.0, 180.0]]) * PX
    step = np.array([[20.0, -30.0], [40.0, 3.0], [44.0, 0.0], [-20.0, 10.0]]) * PX
    end = move(start, step, Rooms.of([TwoRoomFactors()] * 4))
    np.testing.assert_allclose(end, start + step, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("start", "step", "end"),
    [
        ((95, 120), (10, 6), (100, 126)),  # the wall's left face
        ((129, 120), (-300, -6), (124, 114)),  # its right face, faster than the frame is wide
        ((30, 30), (-20, 4), (21, 34)),  # the border
        ((30, 30), (-400, -400), (21, 21)),  # a corner of the border
        ((112, 49), (2, 30), (114, 56)),  # the door's lower edge
        ((112, 49), (2, -30), (114, 42)),  # its upper edge
        ((100, 120), (0, 40), (100, 160)),  # along the face, touching it
        ((100, 120), (3, 500), (100, 203)),  # along the face into the border
        ((90, 63), (10, 0), (100, 63)),  # the face's last point, level with the corner
    ],
)
def test_sliding(start, step, end):
    got = move(np.array([start]) * PX, np.array([step]) * PX, Rooms.of([TwoRoomFactors()]))
    np.testing.assert_allclose(got / PX, [end], rtol=0, atol=1e-9)


def test_round_a_corner_of_the_door_frame_by_hand():
    """A disc that meets the corner (107, 63) at 45 degrees keeps half of what is left, along the tangent."""
    touch = np.array([107.0, 63.0]) + 7 * np.array([-1.0, -1.0]) / np.sqrt(2)
    start = touch - np.array([0.0, 3.0])
    got = move(start[None] * PX, np.array([[0.0, 7.0]]) * PX, Rooms.of([TwoRoomFactors()]))
    np.testing.assert_allclose(got[0] / PX, touch + np.array([-2.0, 2.0]), rtol=0, atol=1e-9)


@settings(max_examples=30)
@given(world=factors, seed=seeds)
def test_the_world_of_upper_and_lower_rooms_is_the_transpose_of_the_other(world, seed):
    rng = np.random.default_rng(seed)
    upright, lying = (world.varied({"wall.axis": axis}) for axis in (0, 1))
    state = free_states(rng, 50, upright)
    step = rng.uniform(-0.2, 0.2, state.shape)
    one = move(state, step, Rooms.of([upright] * len(state)))
    other = move(state[:, ::-1], step[:, ::-1], Rooms.of([lying] * len(state)))
    assert np.array_equal(one, other[:, ::-1])


@settings(max_examples=15)
@given(worlds=st.lists(factors, min_size=2, max_size=6), seed=seeds)
def test_bitwise_the_same_alone_or_in_a_batch(worlds, seed):
    rng = np.random.default_rng(seed)
    state = np.concatenate([free_states(rng, 12, world) for world in worlds])
    every = [world for world in worlds for _ in range(12)]
    step = rng.uniform(-0.3, 0.3, state.shape)
    together = move(state, step, Rooms.of(every))
    for i, world in enumerate(every):
        alone = move(state[i : i + 1], step[i : i + 1], Rooms.of([world]))
        assert np.array_equal(alone[0], together[i])


@settings(max_examples=20)
@given(world=factors, seed=seeds)
def test_clearance_is_the_distance_to_the_nearest_wall(world, seed):
    state = free_states(np.random.default_rng(seed), 100, world)
    got = clearance(state, Rooms.of([world] * len(state)))
    np.testing.assert_allclose(got / PX, -overlap(state, world), rtol=0, atol=1e-9)
