"""Columns of stable-worldmodel's HDF5 files, which stay in the file until an episode is read."""

import shutil

import numpy as np
import pytest

from lewm_data.convert.hdf5 import Hdf5
from lewm_data.convert.stable_worldmodel import hdf5
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.repair import repair

pytest.importorskip("av")


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_rows_of_the_ends_of_episodes_are_the_same_in_any_blocks(fixtures, monkeypatch, block):
    file = Hdf5.open(fixtures / "stable-worldmodel" / "current.h5")
    actions, ends = file.numbers("action"), np.cumsum(file.numbers("ep_len")) - 1
    monkeypatch.setattr(hdf5, "BLOCK", block)
    column = hdf5._Column(file, "action")
    np.testing.assert_array_equal(column[ends], actions[ends])
    np.testing.assert_array_equal(column[3:9], actions[3:9])
    assert len(column) == len(actions)
    file.close()


def test_no_column_is_read_whole(fixtures, monkeypatch, converted):
    read, counts = Hdf5.numbers, {}

    def numbers(file, name, rows=slice(None)):
        values = read(file, name, rows)
        counts[name] = max(counts.get(name, 0), len(values))
        return values

    monkeypatch.setattr(Hdf5, "numbers", numbers)
    monkeypatch.setattr(hdf5, "BLOCK", 4)
    made = converted(fixtures / "stable-worldmodel" / "current.h5")
    longest = max(len(episode["action"]) for episode in made.episodes)
    columns = {name: count for name, count in counts.items() if name not in ("ep_len", "ep_offset")}
    assert columns["action"] == longest
    assert max(columns.values()) == longest


@pytest.mark.parametrize("name", ["released.h5", "current.h5"])
def test_a_repaired_file_has_the_rewards_of_a_converted_one(fixtures, tmp_path, converted, name):
    path = shutil.copy(fixtures / "stable-worldmodel" / name, tmp_path / name)
    repair(path)
    with Dataset.open(path) as repaired:
        for number, episode in enumerate(converted(fixtures / "stable-worldmodel" / name).episodes):
            steps = repaired.episode(number)
            np.testing.assert_array_equal(steps["reward"], episode["reward"])
            np.testing.assert_array_equal(steps["action"], episode["action"])


def test_a_cut_file_without_its_index_says_that_it_is_cut(fixtures, tmp_path):
    whole = (fixtures / "stable-worldmodel" / "released.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(DataError, match=r"cut\.h5: it is cut short, and what says where its data lie was in the part"):
        repair(tmp_path / "cut.h5")
