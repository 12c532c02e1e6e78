"""What is in a dataset, in numbers, where its columns or attributes are odd."""

import h5py
import numpy as np
import pytest

from lewm_data.store.dataset import Dataset
from lewm_data.store.summary import summarise


def write(path, **attributes):
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros((4, 8, 8, 3), np.uint8)
        file["action"] = np.zeros((4, 2), np.float32)
        file["nothing"] = np.zeros((4, 0))
        file["ep_len"], file["ep_offset"] = [4], [0]
        file.attrs.update(attributes)
    return path


def test_a_column_without_numbers_has_no_extremes(tmp_path):
    with Dataset.open(write(tmp_path / "a.h5")) as dataset:
        (column,) = (one for one in summarise(dataset).columns if one.name == "nothing")
    assert (column.shape, column.least, column.greatest, column.missing) == ((0,), None, None, 0.0)


@pytest.mark.parametrize(
    ("stored", "fps"),
    [(30, 30.0), (0.001, 0.001), (np.inf, None), (np.nan, None), (1e12, None), (-5.0, None), ("x", None)],
)
def test_a_rate_that_no_recorder_reaches_is_none(tmp_path, stored, fps):
    with Dataset.open(write(tmp_path / "a.h5", fps=stored)) as dataset:
        assert summarise(dataset).fps == dataset.fps == fps
