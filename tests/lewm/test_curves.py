"""Curves: their file and picture, and the open loop in the world's units."""

import copy
import json

import numpy as np
import pytest

from lewm.curves.curve import letters, read_curves
from lewm.curves.open_loop import SOLVED_BY, Windows
from lewm.curves.picture import draw_curves
from lewm.errors import LewmError
from lewm.probing.sample import Sample
from lewm_data.envs.registry import WORLDS, world


def errors(disc, angle, solved):
    return {"median": {"disc": disc, "angle": angle}, "solved": solved}


def point(seconds, solved, stage=None):
    """A point as the file has it, of which the better ones have more `solved`."""
    estimate = {"value": solved, "interval_95": [solved - 0.1, solved + 0.1]}
    return {
        "stage": stage,
        "step": int(seconds),
        "train_seconds": seconds,
        "plan": {
            "success_rate": solved,
            "interval_95": [max(0, solved - 0.05), min(1, solved + 0.05)],
            "random": {"success_rate": 0.03},
        },
        "r2": {name: {"linear": estimate, "mlp": estimate} for name in ("disc", "angle")},
        "effective_rank": 4 + 10 * solved,
        "distance_correlation": solved,
        "open_loop": {
            "steps": 25,
            "windows": 100,
            "units": {"disc": "", "angle": "degrees"},
            "imagined": errors(100 * (1 - solved), 30 * (1 - solved), solved),
            "seen": errors(40 * (1 - solved), 9 * (1 - solved), (1 + solved) / 2),
            "still": errors(100, 30, 0),
        },
    }


@pytest.fixture
def report():
    """The content of a file of one curve, of two stages."""
    stages = [point(10, 0.1, "encoder"), point(20, 0.3, "last"), point(40, 0.7, "last")]
    oracle = {"successes": 17, "episodes": 20}
    data = {"episodes": 5, "frames": 100, "policy": "expert"}
    return {"results": [{"world": "push-t", "seed": 3, "data": data, "points": stages, "oracle": oracle}]}


@pytest.fixture
def written(tmp_path):
    """Writes a file of curves."""

    def write(content):
        path = tmp_path / "curve.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_a_file_is_read_as_it_was_written(report, written):
    (curve,) = read_curves(written(report))
    (stored,) = report["results"]
    assert (curve.world, curve.seed, curve.oracle) == ("push-t", 3, stored["oracle"])
    assert [one.step for one in curve.points] == [10, 20, 40]
    last = curve.points[-1]
    assert last.r2["angle"]["mlp"].interval_95 == tuple(stored["points"][-1]["r2"]["angle"]["mlp"]["interval_95"])
    assert last.open_loop.imagined.median["disc"] == pytest.approx(30)


@pytest.mark.parametrize("key", ["train_seconds", "plan", "open_loop"])
def test_what_is_missing_is_named(report, written, key):
    del report["results"][0]["points"][1][key]
    with pytest.raises(LewmError, match=rf"curve.json: results.0.points.1.{key}: Field required\nGive a file that"):
        read_curves(written(report))


def test_another_benchmark_is_no_file_of_curves(written):
    with pytest.raises(LewmError, match=r"curve.json: results"):
        read_curves(written({"benchmark": "philox"}))


def test_outcomes_are_a_letter_each():
    outcomes = [{"planner": {"solved": solved}, "random": {"solved": True}} for solved in (True, False, True)]
    assert letters(outcomes) == "101"


@pytest.mark.parametrize("unknown", [(), ("open_loop", "distance_correlation")])
def test_a_picture_shows_curves_with_and_without_what_a_world_does_not_know(report, written, tmp_path, unknown):
    other = copy.deepcopy(report["results"][0]) | {"seed": 4, "oracle": None}
    report["results"].append(other)
    for curve in report["results"]:
        for one in curve["points"]:
            one |= dict.fromkeys(unknown)
    path = tmp_path / "curve.png"
    draw_curves(path, read_curves(written(report)))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_windows_stay_within_an_episode_of_the_test_part():
    lengths = [7, 20, 31]
    sample = Sample(
        rows=np.arange(58),
        episode=np.repeat(np.arange(3), lengths),
        train=slice(0, 7),
        validation=slice(7, 7),
        test=slice(7, 58),
    )
    windows = Windows.of(sample, context=2, blocks=3, skip=4)
    assert (sample.episode[windows.context] == sample.episode[windows.end][:, None]).all()
    assert windows.context.min() >= sample.test.start
    np.testing.assert_array_equal(np.diff(windows.context), 4)
    np.testing.assert_array_equal(windows.end - windows.context[:, -1], 12)
    np.testing.assert_array_equal(windows.steps[:, 0], windows.context[:, 0])
    np.testing.assert_array_equal(windows.steps[:, -1], windows.end - 1)  # the last action leads to the end
    assert {0, 1, 2} - set(sample.episode[windows.end]) == {0}


@pytest.mark.parametrize("name", WORLDS)
def test_the_quantities_of_a_world_decide_whether_its_goal_is_reached(name):
    place, rng = world(name), np.random.default_rng(0)
    goal = rng.uniform(0.3, 0.7, (200, place.state_dim))
    far = goal + rng.choice([-1, 1], goal.shape) * 100.3
    assert not place.solved(far, goal).any()
    for part in SOLVED_BY[name].values():
        read = part.decode(part.encode(goal))
        far[:, part.numbers] = read
        np.testing.assert_allclose(part.error(far, goal), 0, atol=1e-6)
    assert place.solved(far, goal).all()


def test_errors_of_angles_are_the_shorter_way_in_degrees():
    angle = SOLVED_BY["push-t"]["angle"]
    states = np.zeros((2, 7))
    states[:, 4] = np.deg2rad([350, -170])
    truth = np.zeros((2, 7))
    truth[:, 4] = np.deg2rad([20, 170])
    np.testing.assert_allclose(angle.error(states, truth), [30, 20])
