"""The hashes of a dataset's rows: the changes that they show, and the columns that they cover."""

import hashlib
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.verify import verify
from lewm_data.store.writer import Writer

OFFICIAL = Path(__file__).parents[2] / "golden" / "official_layout.h5"
LENGTHS = (200, 150, 250)


def episode(rows, seed):
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(rows, 2)).astype(np.float32)
    action[-1] = np.nan
    pixels = rng.integers(0, 256, (rows, 4, 4, 3), dtype=np.uint8)
    return {"pixels": pixels, "action": action, "state": rng.normal(size=(rows, 3)), "step": np.arange(rows)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with Writer.create(path) as writer:
        for seed, rows in enumerate(LENGTHS):
            writer.write_episode(episode(rows, seed))
    return path


def without_hashes(path, **storage):
    """A copy as another tool would write it: other chunks, big-endian, no hashes."""
    copy = path.with_name("copy.h5")
    with h5py.File(path) as source, h5py.File(copy, "w") as target:
        for name in set(source) - {"row_hash"}:
            options = storage if name == "pixels" else {}
            target.create_dataset(name, data=source[name][:], **options)
    return copy


def fingerprint(path):
    with Dataset.open(path) as dataset:
        return dataset.fingerprint()


def test_a_row_has_the_hash_of_its_frame_and_that_of_its_columns_in_the_order_of_their_names(path):
    with h5py.File(path) as file:
        stored, row = file["row_hash"][:], 210
        frame = hashlib.blake2b(file["pixels"][row].tobytes(), digest_size=16).digest()
        numbers = b"".join(file[name][row].tobytes() for name in ("action", "state", "step"))
        assert list(file["row_hash"].attrs["columns"]) == ["action", "state", "step"]
    assert stored[row, 0].tobytes() == frame
    assert stored[row, 1].tobytes() == hashlib.blake2b(numbers, digest_size=16).digest()


def test_hashes_are_no_column(path):
    with Dataset.open(path) as dataset:
        assert dataset.columns == ("action", "pixels", "state", "step")
        assert set(dataset.episode(0)) == set(dataset.columns)


@pytest.mark.parametrize("storage", [{}, {"chunks": (7, 4, 4, 3), "compression": "gzip"}])
def test_the_fingerprint_does_not_depend_on_hashes_chunks_or_compression(path, storage):
    assert fingerprint(without_hashes(path, **storage)) == fingerprint(path)


@pytest.mark.parametrize("row", [0, 1, 333, 599])
def test_without_hashes_the_fingerprint_sees_every_frame(path, row):
    original, copy = fingerprint(path), without_hashes(path)
    with h5py.File(copy, "r+") as file:
        file["pixels"][row, 0, 0, 0] ^= 1
    assert fingerprint(copy) != original


def spoil(path, name, row):
    with h5py.File(path, "r+") as file:
        value = file[name][row]
        file[name][row] = value ^ 1 if name == "pixels" else value + 1


def test_a_sample_sees_what_differs_in_many_places(path):
    """Blackened, all but 64 evenly spaced frames."""
    with h5py.File(path, "r+") as file:
        frames, kept = file["pixels"][:], np.linspace(0, 599, 64).astype(int)
        black = np.zeros_like(frames)
        black[kept] = frames[kept]
        file["pixels"][:] = black
    with Dataset.open(path) as dataset, pytest.raises(DataError) as caught:
        dataset.check_sample()
    assert f'lewm data verify {path}"' in str(caught.value)


@pytest.mark.parametrize(("name", "what"), [("pixels", "frame"), ("state", "row of numbers")])
def test_a_row_that_differs_is_named(path, name, what):
    spoil(path, name, 205)
    with Dataset.open(path) as dataset:
        dataset.check_rows(np.array([204, 206]))
        with pytest.raises(DataError, match=f"the {what} at step 5 of episode 1 is not the one that was written"):
            dataset.check_rows(np.array([204, 205, 206]))


def test_verify_finds_every_episode_that_differs(path):
    with Dataset.open(path) as dataset:
        whole = verify(dataset)
    assert (whole.hashes, whole.differing, whole.fingerprint) == (True, (), fingerprint(path))
    spoil(path, "pixels", 3)
    spoil(path, "step", 599)
    shares = []
    with Dataset.open(path) as dataset:
        found = verify(dataset, shares.append)
    assert (found.differing, found.fingerprint) == ((0, 2), None)
    assert "step 3 of episode 0" in found.first_difference
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_verify_of_a_file_without_hashes(path):
    copy = without_hashes(path)
    with Dataset.open(copy) as dataset:
        found = verify(dataset)
    assert (found.hashes, found.differing, found.fingerprint) == (False, (), fingerprint(path))


def test_a_column_that_is_added_has_no_hash_and_one_that_is_gone_is_named(path):
    with h5py.File(path, "r+") as file:
        file["label"] = np.zeros(600)
    with Dataset.open(path) as dataset:
        found = verify(dataset)
    assert (found.differing, found.without_hashes) == ((), ("label",))
    with h5py.File(path, "r+") as file:
        del file["state"]
    with (
        Dataset.open(path) as dataset,
        pytest.raises(DataError, match="column 'state' is gone, which its hashes cover"),
    ):
        dataset.check_rows(np.arange(1))


def test_numbers_may_be_corrected_before_the_file_is_used(path):
    before = fingerprint(path)
    with h5py.File(path, "r+") as file:
        file["state"][:] += 1
    with Dataset.open(path) as dataset:
        dataset.check_sample()
        assert dataset.fingerprint() != before


def test_frames_may_be_replaced_by_others_of_another_size(path, caplog):
    with h5py.File(path, "r+") as file:
        smaller = file["pixels"][:, ::2, ::2]
        del file["pixels"]
        file["pixels"] = smaller
    with Dataset.open(path) as dataset:
        dataset.check_sample()
        assert not dataset.has_hashes
    assert "its hashes are of frames of another size, and are not used" in caplog.text


def test_a_copy_that_lost_the_attribute_is_covered_wholly(path):
    with h5py.File(path, "r+") as file:
        del file["row_hash"].attrs["columns"]
    with Dataset.open(path) as dataset:
        assert dataset.covered == ("action", "state", "step")
        assert verify(dataset).differing == ()


def test_appending_goes_on_with_the_hashes(path):
    with Writer.append(path) as writer:
        writer.write_episode(episode(5, 9))
    with Dataset.open(path) as dataset:
        assert verify(dataset).differing == ()
        assert dataset.num_steps == 605


def test_what_is_copied_to_append_gets_hashes_only_if_it_is_what_was_written(path):
    shutil.copy(OFFICIAL, path.with_name("official.h5"))
    with Writer.append(path.with_name("official.h5")):
        pass
    with Dataset.open(path.with_name("official.h5")) as dataset:
        assert dataset.has_hashes
        assert verify(dataset).differing == ()
    with h5py.File(path, "r+") as file:
        file["label"] = np.zeros(600)  # so that it cannot be continued in place
    spoil(path, "pixels", 205)
    before = path.read_bytes()
    with pytest.raises(DataError, match="step 5 of episode 1"):
        Writer.append(path)
    assert path.read_bytes() == before


def test_clips_notice_that_the_file_was_overwritten_in_place(path):
    other = path.with_name("other.h5")
    with Writer.create(other) as writer:
        for seed, rows in enumerate(LENGTHS):
            writer.write_episode(episode(rows, seed + 100))
    with Dataset.open(path) as dataset:
        dataset.check_sample()
        clips = Clips(dataset, 1, 1)
        clips.read(np.arange(8))
        with path.open("r+b") as file:
            file.write(other.read_bytes())
        with pytest.raises(DataError, match="is not the one that was written"):
            clips.read(np.arange(8))


def test_something_else_of_that_name_is_refused(path):
    copy = without_hashes(path)
    with h5py.File(copy, "r+") as file:
        file["row_hash"] = np.zeros(600)
    with pytest.raises(DataError, match=r"column 'row_hash' float64 \(N\), expected 'row_hash' uint8 \(N, 2, 16\)"):
        Dataset.open(copy)
