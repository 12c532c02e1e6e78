"""Files that are no datasets, each made here, each met with two lines that say what to do."""

import contextlib
import pickle
import re

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer

LENGTHS = (8, 5)


@pytest.fixture
def path(tmp_path):
    """A good dataset, to be spoilt."""
    path = tmp_path / "clips.h5"
    with Writer.create(path) as writer:
        for rows in LENGTHS:
            action = np.ones((rows, 2), np.float32)
            action[-1] = np.nan
            pixels = np.zeros((rows, 4, 4, 3), np.uint8)
            columns = {"pixels": pixels, "action": action, "reward": np.zeros(rows, np.float32)}
            writer.write_episode({**columns, "state": np.zeros((rows, 2))})
    Dataset.open(path).close()
    return path


def refused(path, problem):
    with pytest.raises(DataError) as caught:
        Dataset.open(path)
    first, remedy = str(caught.value).split("\n")
    assert re.fullmatch(rf"{re.escape(str(path))}: {problem}", first), first
    assert len(remedy) > 15
    assert remedy.endswith(".")


@pytest.mark.parametrize("name", ["pixels", "action"])
def test_without_pixels_or_actions(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    refused(path, f"no column '{name}', found .*reward, state")


@pytest.mark.parametrize("name", ["ep_len", "ep_offset"])
def test_without_an_index(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    refused(path, f"no column '{name}' of integers, one an episode")


@pytest.mark.parametrize("name", ["action", "reward", "state"])
def test_columns_of_unequal_length(path, name):
    with h5py.File(path, "r+") as file:
        file[name].resize(12, axis=0)
    refused(path, f"column '{name}' has 12 rows, expected 13 as in 'pixels'")


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("pixels", np.zeros((13, 4, 4, 3), np.float32), r"column 'pixels' float32 .*, expected uint8 .*"),
        ("pixels", np.zeros((13, 3, 4, 4), np.uint8), r"column 'pixels' uint8 \(N, 3, 4, 4\), expected .*"),
        ("pixels", np.zeros((13, 4, 4), np.uint8), r"column 'pixels' uint8 \(N, 4, 4\), expected .*"),
        ("action", np.zeros((13, 2), np.int64), r"column 'action' int64 \(N, 2\), expected floating .*"),
        ("action", np.zeros(13, np.float32), r"column 'action' float32 \(N\), expected .*"),
        ("action", np.zeros((13, 0), np.float32), r"column 'action' float32 \(N, 0\), expected .*"),
        ("ep_len", np.array([8.0, 5.0]), "no column 'ep_len' of integers, one an episode"),
        ("ep_len", np.array([[8, 5]]), "no column 'ep_len' of integers, one an episode"),
    ],
)  # fmt: skip
def test_wrong_types(path, name, values, problem):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values
    refused(path, problem)


@pytest.mark.parametrize(
    ("lengths", "offsets", "problem"),
    [
        ([8, 6], [0, 8], "column 'pixels' has 13 rows, expected 14, the sum of 'ep_len'"),
        ([8, 4], [0, 8], "column 'pixels' has 13 rows, expected 12, the sum of 'ep_len'"),
        ([8, 5], [0, 7], "episode 1 starts at row 7, expected 8: episodes overlap or leave a gap"),
        ([7, 5], [1, 8], "episode 0 starts at row 1, expected 0: episodes overlap or leave a gap"),
        ([13, 0], [0, 13], "episode 1 has 0 steps, expected at least 1"),
        ([14, -1], [0, 14], "episode 1 has -1 steps, expected at least 1"),
        ([13], [0, 13], "'ep_offset' has 2 rows, expected 1 as in 'ep_len'"),
        ([], [], "has no episodes"),
    ],
)
def test_episodes_that_do_not_cover_the_rows(path, lengths, offsets, problem):
    with h5py.File(path, "r+") as file:
        del file["ep_len"], file["ep_offset"]
        file["ep_len"], file["ep_offset"] = np.array(lengths, np.int32), np.array(offsets, np.int64)
    refused(path, problem)


@pytest.mark.parametrize(
    ("name", "row", "value", "problem"),
    [
        ("reward", 9, np.nan, "column 'reward' is not finite at step 1 of episode 1"),
        ("reward", 12, np.inf, "column 'reward' is not finite at step 4 of episode 1"),
        ("action", 6, np.nan, "column 'action' is not finite at step 6 of episode 0"),
        ("action", 7, np.inf, "column 'action' is not finite at step 7 of episode 0"),
    ],
)
def test_values_that_are_not_finite(path, name, row, value, problem):
    with h5py.File(path, "r+") as file:
        file[name][row] = value
    refused(path, problem)


def test_truncated_anywhere(path):
    whole = path.read_bytes()
    for share in np.linspace(0.01, 0.99, 25):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path, r"is truncated, its end is missing|is not an HDF5 file|is damaged: .*")


def left_by_a_kill(path):
    with Writer.append(path):
        return path.read_bytes()


def test_truncated_after_an_interruption(path):
    whole = left_by_a_kill(path)
    path.write_bytes(whole)
    with Dataset.open(path) as dataset:
        assert dataset.interrupted
        pixels = dataset._file["pixels"].id
        end = max(pixels.get_chunk_info(row).byte_offset for row in range(13)) + 48
    for share in np.linspace(0.01, 0.99, 25):
        path.write_bytes(whole[: int(end * share)])
        with pytest.raises(DataError, match=r"truncated|not an HDF5|damaged"):
            read_everything(path)


def test_marked_as_being_written_by_another_tool(path):
    """Nothing says that such a file is whole."""
    with h5py.File(path, "r+") as file:
        file.flush()
        left = path.read_bytes()
    path.write_bytes(left)
    refused(path, "the program that wrote it did not close it, so it may be incomplete")


def read_everything(path):
    with Dataset.open(path) as dataset:
        dataset.frames(np.arange(dataset.num_steps))
        for name in ("state", "reward"):
            dataset.column(name)


@pytest.mark.parametrize(
    "content", [pickle.dumps({"pixels": np.zeros(3)}), b"PK\x03\x04" + bytes(100), b"\x89HDF", b"pixels\n"]
)
def test_other_files(path, content):
    path.write_bytes(content)
    refused(path, "is not an HDF5 file")


def test_a_pickle_is_never_run(path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was run",))

    path.write_bytes(pickle.dumps(Bomb()))
    refused(path, "is not an HDF5 file")


def test_empty_missing_and_directories(path):
    path.write_bytes(b"")
    refused(path, "is empty, expected an HDF5 file")
    refused(path.with_name("none.h5"), "No such file or directory")
    refused(path.parent, "is a directory, expected an HDF5 file")


@pytest.mark.parametrize("interrupted", [False, True])
def test_noise_over_the_file_never_crashes(path, interrupted):
    """Damage to any single part of the file's structures gives an error of ours, or a dataset."""
    whole, rng = left_by_a_kill(path) if interrupted else path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        spoilt = bytearray(whole)
        start = int(rng.integers(0, 4096))
        spoilt[start : start + 16] = rng.bytes(16)
        path.write_bytes(spoilt)
        with contextlib.suppress(DataError):
            read_everything(path)


def test_writing_where_nothing_can_be_written(tmp_path):
    with pytest.raises(DataError, match="Create the directory first"):
        Writer.create(tmp_path / "none" / "a.h5")
    with pytest.raises(DataError, match="exists already"):
        Writer.create(tmp_path)
    with pytest.raises(DataError, match="is a directory"):
        Writer.append(tmp_path)
    with pytest.raises(DataError, match="No such file"):
        Writer.append(tmp_path / "a.h5")


def test_episodes_shorter_than_a_clip(path):
    with Dataset.open(path) as dataset, pytest.raises(DataError, match="the longest, episode 0, has 8"):
        Clips(dataset, 4, 5)


def test_unknown_column(path):
    expected = r'unknown column .* "rewards"\nDid you mean "reward"'
    with Dataset.open(path) as dataset, pytest.raises(DataError, match=expected):
        dataset.column("rewards")
