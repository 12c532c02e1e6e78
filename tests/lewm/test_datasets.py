"""Fingerprints that are not computed twice, and not believed unseen."""

import os

import h5py
import numpy as np
import pytest

from lewm.datasets import fingerprint_of
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def published(tmp_path):
    """A file without hashes."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 3), np.uint8)
        file["action"] = np.ones((300, 2), np.float32)
        file["ep_len"], file["ep_offset"] = np.array([200, 100]), np.array([0, 200])
    return path


def cached(home):
    return [path for path in (home / "cache" / "hashes").glob("*") if not path.name.startswith(".")]


def known(path):
    with Dataset.open(path) as dataset:
        return fingerprint_of(dataset)


@pytest.fixture
def hashing(monkeypatch):
    """The number of times that all frames were hashed."""
    calls, original = [], Dataset.frame_hashes

    def spy(self, *arguments):
        if self._known_hashes() is None:
            calls.append(self.path)
        return original(self, *arguments)

    monkeypatch.setattr(Dataset, "frame_hashes", spy)
    return calls


def test_frames_without_hashes_are_read_once(home, published, hashing):
    first = known(published)
    assert known(published) == first
    assert len(hashing) == 1
    with Dataset.open(published) as dataset:
        assert dataset.fingerprint() == first
    os.utime(published)  # it may have been changed
    assert known(published) == first
    assert len(cached(home)) == 1


def test_a_changed_file_has_another_fingerprint(home, published):
    first = known(published)
    with h5py.File(published, "r+") as file:
        file["pixels"][7] ^= 1
    assert known(published) != first


@pytest.mark.parametrize("content", [b"", b"\0" * 32, None])
def test_a_damaged_cache_is_ignored(home, published, hashing, content):
    first = known(published)
    (path,) = cached(home)
    spoilt = bytearray(path.read_bytes())
    spoilt[100] ^= 1
    path.write_bytes(spoilt if content is None else content)
    assert known(published) == first
    assert len(hashing) == 2


def test_a_cache_that_cannot_be_written_is_said_and_ignored(home, published, caplog):
    home.write_text("a file where a folder should be")
    assert len(known(published)) == 64
    assert "cannot be written, so it is made again the next time" in caplog.text


def test_a_sample_is_looked_at(home, tmp_path):
    path, rows = tmp_path / "b.h5", 200
    with Writer.create(path) as writer:
        action = np.zeros((rows, 1), np.float32)
        writer.write_episode({"pixels": np.ones((rows, 4, 4, 3), np.uint8), "action": action})
    known(path)
    with h5py.File(path, "r+") as file:
        file["pixels"][::2] = 0
    with pytest.raises(DataError, match="is not the one that was written"):
        known(path)
