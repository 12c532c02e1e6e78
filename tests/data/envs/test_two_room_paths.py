"""Shortest paths, against a funnel through many narrow chords of free space."""

import numpy as np
import pytest

from lewm_data.envs.two_room import TwoRoomFactors, path_distance

PX = 1 / 224
LEFT, RIGHT, RADIUS = 107.0, 117.0, 7.0


def chords(half: float, door: float) -> list[tuple[float, float, float]]:
    """(u, lowest v, highest v) of free space at places across the wall, dense on the arcs."""
    angle = np.linspace(0, np.pi / 2, 400)
    left = [(LEFT - RADIUS * np.cos(a), half - RADIUS * np.sin(a)) for a in angle]
    right = [(RIGHT + RADIUS * np.cos(a), half - RADIUS * np.sin(a)) for a in angle[::-1]]
    return [(u, max(door - gap, 21.0), min(door + gap, 203.0)) for u, gap in left + right]


def funnel(a: np.ndarray, b: np.ndarray, half: float, door: float) -> float:
    """Shortest monotone path from a to b through the chords between them: simple string pulling."""
    a, b = (a, b) if a[0] <= b[0] else (b, a)
    gates = [c for c in chords(half, door) if a[0] < c[0] < b[0]] + [(b[0], b[1], b[1])]
    length, apex, i = 0.0, tuple(a), 0
    while i < len(gates):
        low, high, low_at, high_at = -np.inf, np.inf, i, i
        for j in range(i, len(gates)):
            u, bottom, top = gates[j]
            run = u - apex[0]
            slope_low, slope_high = (bottom - apex[1]) / run, (top - apex[1]) / run
            if slope_low > high or slope_high < low:  # the string bends where the opposite bound was set
                i = high_at if slope_low > high else low_at
                bend = (gates[i][0], gates[i][2] if slope_low > high else gates[i][1])
                break
            if slope_low >= low:
                low, low_at = slope_low, j
            if slope_high <= high:
                high, high_at = slope_high, j
        else:
            return length + float(np.hypot(b[0] - apex[0], b[1] - apex[1]))
        length += float(np.hypot(bend[0] - apex[0], bend[1] - apex[1]))
        apex, i = bend, i + 1
    return length


def free(rng: np.random.Generator, count: int, half: float, door: float, anywhere: bool) -> np.ndarray:
    u = rng.uniform(21, 203, 60 * count) if anywhere else rng.uniform(98, 126, 60 * count)
    v = rng.uniform(21, 203, 60 * count)
    beyond = np.maximum(np.abs(u - 112) - 5, 0)
    gap = np.where(beyond >= 7, np.inf, half - np.sqrt(np.maximum(49 - beyond**2, 0)))
    keep = np.abs(v - door) <= gap
    return np.stack([u, v], axis=1)[keep][:count]


@pytest.mark.parametrize("anywhere", [True, False])
@pytest.mark.parametrize(("half", "door"), [(14.0, 49.0), (8.0, 112.0), (40.0, 90.0), (9.0, 185.0)])
def test_against_a_funnel(half, door, anywhere):
    rng = np.random.default_rng(int(half * door))
    a = np.concatenate([free(rng, 25, half, door, anywhere), free(rng, 25, half, door, False)])
    b = np.concatenate([free(rng, 25, half, door, anywhere), free(rng, 25, half, door, True)])
    world = TwoRoomFactors(door_position=door * PX, door_half_extent=half * PX)
    expected = [funnel(p, q, half, door) for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(path_distance(a * PX, b * PX, world), np.array(expected) * PX, rtol=0, atol=1e-6)


def test_round_a_long_way_by_hand():
    """A quarter circle, the wall's thickness, another quarter circle; then from further along the wall."""
    a, b = np.array([[100.0, 35.0]]) * PX, np.array([[124.0, 35.0]]) * PX
    expected = 0.0 + 7 * np.pi / 2 + 10 + 7 * np.pi / 2
    np.testing.assert_allclose(path_distance(a, b) / PX, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(path_distance(a - [[0, 9 * PX]], b) / PX, expected + 9, rtol=0, atol=1e-6)


def test_a_metric_and_one_world_a_pair():
    rng = np.random.default_rng(0)
    a, b = free(rng, 300, 14, 49, True) * PX, free(rng, 300, 14, 49, True) * PX
    there = path_distance(a, b)
    assert np.array_equal(there, path_distance(b, a))
    assert (there >= np.hypot(*(a - b).T) - 1e-12).all()
    assert np.array_equal(path_distance(a, a), np.zeros(len(a)))
    worlds = [TwoRoomFactors(wall_axis=axis) for axis in (0, 1)] * 150
    turned = np.arange(300) % 2 == 1
    a[turned], b[turned] = a[turned, ::-1], b[turned, ::-1]
    assert np.array_equal(path_distance(a, b, worlds), there)
