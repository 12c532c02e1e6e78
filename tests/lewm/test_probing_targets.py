"""Targets are the numbers they name; what cannot be probed is refused in words."""

import h5py
import numpy as np
import pytest

from lewm.errors import LewmError
from lewm.probing.sample import MIN_EPISODES, draw_sample
from lewm.probing.targets import numeric_columns, read_quantities
from lewm_data.store.dataset import Dataset

EPISODES, STEPS = 20, 4
FRAMES = EPISODES * STEPS
RNG = np.random.default_rng(0)
ANGLE = RNG.uniform(-9, 9, FRAMES)
SPIN = np.stack([np.cos(ANGLE / 2), 0 * ANGLE, 0 * ANGLE, np.sin(ANGLE / 2)], axis=1)
QUATERNION = RNG.normal(size=(FRAMES, 4))
QUATERNION /= np.linalg.norm(QUATERNION, axis=1, keepdims=True)
COLUMNS = {
    "action": np.zeros((FRAMES, 2), np.float32),
    "state": RNG.normal(size=(FRAMES, 5)),
    "angle": ANGLE,
    "pose": np.concatenate([RNG.normal(size=(FRAMES, 3)), QUATERNION], axis=1),
    "flipped": QUATERNION * RNG.choice([-1, 1], size=(FRAMES, 1)),
    "spin": SPIN,
    "grid": RNG.normal(size=(FRAMES, 2, 3)),
    "unknown": np.where(np.arange(FRAMES) % STEPS == 3, np.nan, 1.0),
    "height": np.full((FRAMES, 2), 0.42, np.float32) + np.array([0, 1]) * RNG.normal(size=(FRAMES, 1)),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "made.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros((FRAMES, 4, 4, 3), np.uint8)
        file["ep_len"] = np.full(EPISODES, STEPS)
        file["ep_offset"] = np.arange(EPISODES) * STEPS
        for name, values in COLUMNS.items():
            file[name] = values
    with Dataset.open(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def sample(dataset):
    return draw_sample(dataset, np.arange(EPISODES), EPISODES, seed=0)


def read(dataset, sample, expression):
    return read_quantities(dataset, sample, {"thing": expression})[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("state", COLUMNS["state"]),
        ("state[2]", COLUMNS["state"][:, 2:3]),
        ("state[1:4]", COLUMNS["state"][:, 1:4]),
        ("angle", ANGLE[:, None]),
        ("angle[0]", ANGLE[:, None]),
        ("grid", COLUMNS["grid"].reshape(FRAMES, 6)),
        ("grid[3:5]", COLUMNS["grid"].reshape(FRAMES, 6)[:, 3:5]),
        ("angle:angle", np.stack([np.sin(ANGLE), np.cos(ANGLE)], axis=1)),
    ],
)
def test_expressions_name_numbers_of_columns(dataset, sample, expression, expected):
    quantity = read(dataset, sample, expression)
    np.testing.assert_array_equal(quantity.values, expected[sample.rows])
    assert len(set(quantity.labels)) == expected.shape[1]


def test_angles_a_turn_apart_are_one(dataset, sample):
    values = read(dataset, sample, "angle:angle").values
    np.testing.assert_allclose(np.arctan2(*values.T), np.arctan2(np.sin(ANGLE), np.cos(ANGLE))[sample.rows])


def test_quaternions_do_not_see_their_sign(dataset, sample):
    plain, flipped = read(dataset, sample, "pose[3:7]:quaternion"), read(dataset, sample, "flipped:quaternion")
    np.testing.assert_allclose(plain.values, flipped.values, atol=1e-15)
    assert plain.values.shape == (FRAMES, 10)
    matrices = QUATERNION[sample.rows][:, :, None] * QUATERNION[sample.rows][:, None, :]
    np.testing.assert_allclose(plain.values, matrices[:, *np.triu_indices(4)])


def test_a_rotation_about_one_axis_has_only_the_products_that_vary(dataset, sample):
    quantity = read(dataset, sample, "spin:quaternion")
    assert quantity.labels == ("thing q0q0", "thing q0q3", "thing q3q3")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("stat", ['unknown column of .*made.h5: "stat"', 'Did you mean "state"', "grid"]),
        ("pixels", ['unknown column .*"pixels"']),
        ("state[2:9]", [r"state\[2:9\]: column 'state' has the numbers 0 to 4", "slice"]),
        ("state[5]", ["numbers 0 to 4"]),
        ("state[3:3]", ["numbers 0 to 4"]),
        ("state[-1]", [r"expected a column, perhaps with \[i\]"]),
        ("state[1", ["expected a column"]),
        ("", ["expected a column"]),
        ("state[1]:angel", ['unknown form of target thing=state\\[1\\]:angel: "angel"', 'Did you mean "angle"']),
        ("state[0:2]:angle", ["2 numbers, an angle is one"]),
        ("state:quaternion", ["5 numbers, a quaternion has 4"]),
        ("state[0:4]:quaternion", ["norm .* has norm 1"]),
        ("unknown", ["not finite at 20 of 80 frames"]),
        ("action", ["not finite at ", "Probe for a column that is known everywhere"]),
        ("height", [r"constant over the train episodes: thing\[0\]"]),
    ],
)
def test_what_cannot_be_probed_is_refused_in_words(dataset, sample, expression, words):
    with pytest.raises(LewmError) as caught:
        read(dataset, sample, expression)
    assert len(str(caught.value).splitlines()) == 2
    for word in words:
        assert caught.match(word)


def test_columns_to_choose_from_leave_out_the_frames(dataset):
    assert set(numeric_columns(dataset)) == set(COLUMNS)


@pytest.mark.parametrize("count", [MIN_EPISODES, 13, EPISODES, 99])
def test_no_episode_lies_in_two_parts_and_every_frame_of_each_is_used(dataset, count):
    available = np.arange(1, EPISODES)
    sample = draw_sample(dataset, available, count, seed=3)
    episodes = [set((sample.rows[part] // STEPS).tolist()) for part in sample.parts.values()]
    assert sum(len(part) for part in episodes) == len(set.union(*episodes)) == min(count, EPISODES - 1)
    assert set.union(*episodes) <= set(available.tolist())
    assert sorted(sample.rows) == sorted(row for e in set.union(*episodes) for row in range(e * STEPS, (e + 1) * STEPS))
    assert list(sample.episodes.values()) == [len(part) for part in episodes]
    fifth = round(0.2 * min(count, EPISODES - 1))
    assert (len(episodes[1]), len(episodes[2])) == (fifth, max(fifth, 2))
    assert (sample.rows // STEPS != np.roll(sample.rows // STEPS, 1)).sum() == min(count, EPISODES - 1)
    assert (np.diff(sample.episode) >= 0).all()


def test_the_split_is_a_function_of_the_seed(dataset):
    rows = [draw_sample(dataset, np.arange(EPISODES), 12, seed).rows.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_too_few_episodes_are_refused(dataset):
    with pytest.raises(LewmError, match="4 of the 20 episodes in it to probe with, at least 5"):
        draw_sample(dataset, np.arange(EPISODES), 4, seed=0)
    with pytest.raises(LewmError, match="3 of the 3 episodes"):
        draw_sample(dataset, np.arange(3), 300, seed=0)
