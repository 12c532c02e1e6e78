"""Episodes that are written in pieces: the same file as in one go, and nothing of an episode that breaks off."""

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import pieces as store_pieces
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer


def episode(seed, rows):
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(rows, 2)).astype(np.float32)
    action[-1] = np.nan
    return {"pixels": rng.integers(0, 256, (rows, 4, 5, 3), dtype=np.uint8), "action": action}


def cut(columns, *places):
    """Pieces of an episode that end before the rows `places`."""
    for first, end in zip((0, *places), (*places, None), strict=True):
        yield {name: values[first:end] for name, values in columns.items()}


def breaking_off(columns, error):
    yield from list(cut(columns, 2, 4))[:2]
    raise error


def stored(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def test_pieces_make_the_file_that_whole_episodes_make(tmp_path):
    episodes = [episode(0, 9), episode(1, 1), episode(2, 6)]
    with Writer.create(tmp_path / "whole.h5") as whole, Writer.create(tmp_path / "pieces.h5") as pieces:
        for columns, places in zip(episodes, ((3, 8), (), (1, 2, 3, 4, 5)), strict=True):
            whole.write_episode(columns)
            pieces.write_pieces(cut(columns, *places))
    one, other = stored(tmp_path / "whole.h5"), stored(tmp_path / "pieces.h5")
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.mark.parametrize("error", [DataError("the source is damaged", "Copy it again."), KeyboardInterrupt()])
def test_an_episode_that_breaks_off_leaves_nothing(tmp_path, error):
    path = tmp_path / "a.h5"
    with Writer.create(path) as writer:
        writer.write_episode(episode(0, 5))
        with pytest.raises(type(error)):
            writer.write_pieces(breaking_off(episode(1, 7), error))
    assert len(stored(path)["pixels"]) == 5
    with Writer.append(path) as writer:
        writer.write_pieces(cut(episode(1, 7), 4))
    with Dataset.open(path) as dataset:
        assert dataset.lengths.tolist() == [5, 7]
        np.testing.assert_array_equal(dataset.episode(1)["pixels"], episode(1, 7)["pixels"])
        dataset.check_rows(np.arange(12))


@pytest.mark.parametrize("piece", [1, 3 * (60 + 8 + 2), 1 << 20])
def test_a_file_is_copied_in_pieces_and_stays_the_same(tmp_path, monkeypatch, piece):
    """A file without hashes, which another tool wrote, is copied before it grows."""
    path, episodes = tmp_path / "a.h5", [episode(0, 9), episode(1, 1), episode(2, 6)]
    with h5py.File(path, "w") as file:
        for name in ("pixels", "action"):
            file[name] = np.concatenate([columns[name] for columns in episodes])
        file["ep_len"], file["ep_offset"] = [9, 1, 6], [0, 9, 10]
    monkeypatch.setattr(store_pieces, "PIECE_BYTES", piece)
    read, frames = [], Dataset.frames
    monkeypatch.setattr(Dataset, "frames", lambda dataset, rows: read.append(len(rows)) or frames(dataset, rows))
    with Writer.append(path) as writer:
        assert max(read) == {1: 1, 210: 3}.get(piece, 9)
        writer.write_episode(episode(3, 4))
    with Dataset.open(path) as dataset:
        dataset.check_rows(np.arange(20))
        for number, columns in enumerate([*episodes, episode(3, 4)]):
            for name, values in dataset.episode(number).items():
                np.testing.assert_array_equal(values, columns[name])


def test_a_file_whose_first_episode_breaks_off_does_not_come_to_be(tmp_path):
    with Writer.create(tmp_path / "a.h5") as writer, pytest.raises(DataError):
        writer.write_pieces(breaking_off(episode(0, 7), DataError("damaged", "Copy it again.")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([], "episode 0 has no rows"),
        ([{**episode(0, 3), "action": np.full((3, 2), np.nan, np.float32)}, episode(1, 2)], "at step 0 of episode 0"),
        ([{name: values[:0] for name, values in episode(0, 6).items()}], "no rows for episode 0"),
        ([episode(0, 3), episode(1, 2)], "at step 2 of episode 0"),
    ],
)
def test_pieces_that_are_no_episode_are_refused(tmp_path, pieces, problem):
    with Writer.create(tmp_path / "a.h5") as writer, pytest.raises(DataError, match=problem):
        writer.write_pieces(iter(pieces))
