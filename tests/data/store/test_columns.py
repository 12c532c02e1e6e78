"""Columns other than frames: small ones are read once, and all alike, from any thread, until the file is closed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import columns as module
from lewm_data.store.dataset import Dataset
from lewm_data.store.rows import StoredRows
from lewm_data.store.writer import Writer

ROWS = 40
STATES = np.random.default_rng(0).normal(size=(ROWS, 3))


@pytest.fixture
def path(tmp_path):
    with Writer.create(tmp_path / "a.h5", {}) as writer:
        writer.write_episode(
            {
                "pixels": np.zeros((ROWS, 4, 4, 3), np.uint8),
                "action": np.zeros((ROWS, 2), np.float32),
                "state": STATES,
            }
        )
    return tmp_path / "a.h5"


@pytest.fixture
def reads(monkeypatch):
    """The rows that are read from the file: the first, and that after the last."""
    found, between = [], StoredRows.between

    def counted(self, first, end):
        if self._name == "state":
            found.append((first, end))
        return between(self, first, end)

    monkeypatch.setattr(StoredRows, "between", counted)
    return found


def test_a_small_column_is_read_once_and_handed_out_in_copies(path, reads):
    with Dataset.open(path) as dataset:
        for _ in range(2):
            whole, some = dataset.column("state"), dataset.episode(0)["state"]
            np.testing.assert_array_equal(whole, STATES)
            np.testing.assert_array_equal(some, STATES)
            whole[:] = some[:] = 0
    assert reads == [(0, ROWS)]


def test_of_a_larger_column_only_the_rows_that_are_asked_for_are_read(path, reads, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", STATES.nbytes - 1)
    with Dataset.open(path) as dataset:
        for rows in (np.array([7, 3, 4, 3]), np.array([7])):
            np.testing.assert_array_equal(dataset._columns.read("state", rows), STATES[rows])
        np.testing.assert_array_equal(dataset.column("state"), STATES)
    assert reads == [(3, 5), (7, 8), (7, 8), (0, ROWS)]


@pytest.mark.parametrize("kept", [0, module.KEPT_BYTES])
def test_threads_read_the_same_while_the_file_stays_open(path, monkeypatch, kept):
    """Whoever reads holds the lock that closing waits for."""
    monkeypatch.setattr(module, "KEPT_BYTES", kept)
    between = StoredRows.between

    def watched(self, first, end):
        assert dataset._lock.locked()
        return between(self, first, end)

    with Dataset.open(path) as dataset, ThreadPoolExecutor(4) as threads:
        monkeypatch.setattr(StoredRows, "between", watched)
        for found in threads.map(lambda _: dataset.column("state"), range(40)):
            np.testing.assert_array_equal(found, STATES)


def test_nothing_is_read_of_a_closed_file(path, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    with Dataset.open(path) as dataset:
        dataset.column("state")
        assert dataset._columns._readers
    assert not dataset._columns._readers
    with pytest.raises(DataError, match=r"a\.h5"):
        dataset.column("state")
