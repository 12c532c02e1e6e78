"""The index of chunks as it is read here is what HDF5 says it is; where it is damaged, HDF5 is asked."""

import contextlib

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.chunk_index import UNDEFINED, Unfamiliar, read_index
from lewm_data.store.dataset import Dataset
from lewm_data.store.places import chunk_places
from lewm_data.store.writer import Writer

KINDS = {"earliest": "earliest", "v110": ("v110", "v110"), "latest": "latest"}


def said_by_hdf5(item, count):
    """Start, size and skipped filters of each chunk."""
    found = np.full((count, 3), -1, object)

    def note(chunk):
        number = chunk.chunk_offset[0] // item.chunks[0]
        found[number] = chunk.byte_offset, chunk.size, chunk.filter_mask

    item.id.chunk_iter(note)
    return found


def check(path, count):
    with h5py.File(path) as file:
        wanted = said_by_hdf5(file["x"], count)
        with path.open("rb") as stream:
            found = read_index(file["x"], stream.fileno(), count)
    there = wanted[:, 0] >= 0
    np.testing.assert_array_equal(found["start"] != UNDEFINED, there)
    np.testing.assert_array_equal(np.array(found[there].tolist(), int), wanted[there].astype(int))
    return int(there.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("filters", [{}, {"compression": "gzip"}])
@pytest.mark.parametrize(("rows", "chunk"), [(2, 1), (3, 1), (5, 1), (700, 1), (700, 9)])
@pytest.mark.parametrize("share", [1, 7])
def test_every_kind_of_index(tmp_path, kind, grows, filters, rows, chunk, share):
    """All chunks, or a seventh of them; noise, which gzip does not shrink, beside zeros."""
    random = np.random.default_rng(rows)
    path, count = tmp_path / "a.h5", -(-rows // chunk)
    with h5py.File(path, "w", libver=KINDS[kind]) as file:
        options = {"chunks": (chunk, 4, 3), "maxshape": (None, 4, 3) if grows else None, **filters}
        item = file.create_dataset("x", (rows, 4, 3), "u1", **options)
        written = random.permutation(count)[: max(1, count // share)]
        for number in written.tolist():
            first = number * chunk
            item[first : first + chunk] = random.integers(0, 256, (4, 3)) * (number % 2)
    assert check(path, count) == len(written)


def large(path, grows, filled):
    """A column of 300,000 chunks: all of them, without data, or some."""
    count = 300_000
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((1, 3))
        if filled:
            made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((count, 3), (h5py.h5s.UNLIMITED if grows else count, 3))
        item = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, made)
        for row in [] if filled else np.random.default_rng(0).integers(0, count, 200).tolist():
            item.write_direct_chunk((row, 0), b"abc")
    return count


@pytest.mark.parametrize(("grows", "filled"), [(True, True), (True, False), (False, False)])
def test_indices_in_pages(tmp_path, grows, filled):
    """Parts of an index that are large consist of pages, of which those without a chunk are not written."""
    count = large(tmp_path / "a.h5", grows, filled)
    assert check(tmp_path / "a.h5", count) == count if filled else 100 < check(tmp_path / "a.h5", count) <= 200


def test_what_hdf5_alone_can_read(tmp_path):
    """An index without entries, one of two growing sides, and one that a user block moves."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest", userblock_size=512) as file:
        file.create_dataset("one", data=np.ones((1, 3)), chunks=(1, 3))
        file.create_dataset("two", data=np.ones((5, 3)), chunks=(1, 3), maxshape=(None, None))
        file.create_dataset("moved", data=np.ones((5, 3)), chunks=(1, 3), maxshape=(None, 3))
    with h5py.File(path) as file, path.open("rb") as stream:
        for name in file:
            with pytest.raises(Unfamiliar):
                read_index(file[name], stream.fileno(), len(file[name]))
            places = chunk_places(file[name], len(file[name]), stream.fileno(), closed=True)
            np.testing.assert_array_equal(places["size"], 24)


def frames_of(path, pixels, **options):
    with h5py.File(path, "w", **options) as file:
        file.create_dataset("pixels", data=pixels, chunks=(1, *pixels.shape[1:]), maxshape=(None, *pixels.shape[1:]))
        file["action"] = np.ones((len(pixels), 2), np.float32)
        file["ep_len"], file["ep_offset"] = np.array([len(pixels)], np.int32), np.array([0], np.int64)
    return path


@pytest.mark.parametrize("bit", [3, 9, 40])
@pytest.mark.parametrize("kind", ["earliest", "v110"])
def test_a_wrong_address_never_gives_another_frame(tmp_path, kind, bit):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    path = frames_of(tmp_path / "a.h5", pixels, libver=KINDS[kind])
    with h5py.File(path) as file:
        address = file["pixels"].id.get_chunk_info_by_coord((30, 0, 0, 0)).byte_offset
    data = path.read_bytes()
    place = data.index(address.to_bytes(8, "little"))
    path.write_bytes(data[:place] + (address ^ 1 << bit).to_bytes(8, "little") + data[place + 8 :])
    with Dataset.open(path) as dataset, pytest.raises(DataError, match=r"is damaged|is truncated"):
        dataset.frames(np.arange(50))


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_index_is_read_or_refused(tmp_path, seed):
    """Bytes of the metadata are changed; whatever happens, it ends, and with one of our errors."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (90, 8, 8, 3), np.uint8)
    path = frames_of(tmp_path / "a.h5", pixels, libver=["earliest", "v110"][seed % 2])
    with h5py.File(path) as file:
        header = h5py.h5o.get_info(file["pixels"].id).addr
    data = bytearray(path.read_bytes())
    marks = [data.index(mark) for mark in (b"TREE\x01", b"EAHD", b"EAIB", b"EADB", b"EASB") if mark in data]
    for begin in (header, *marks):
        for place in begin + random.integers(0, 64, 2):
            data[place] = random.integers(256)
    path.write_bytes(bytes(data))
    with contextlib.suppress(DataError), Dataset.open(path) as dataset:
        assert dataset.frames(np.arange(dataset.num_steps)).shape == (90, 8, 8, 3)


def test_our_own_files_are_read_without_a_call_for_each_chunk(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8)
    with Writer.create(tmp_path / "a.h5") as writer:
        writer.write_episode({"pixels": pixels, "action": np.zeros((70, 1), np.float32)})
    monkeypatch.setattr("lewm_data.store.places.UNDEFINED", None)  # what is filled in call by call begins with it
    with Dataset.open(tmp_path / "a.h5") as dataset:
        np.testing.assert_array_equal(dataset.frames(np.arange(70)), pixels)


def test_a_file_that_is_being_written_is_read_by_hdf5(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    monkeypatch.setattr("lewm_data.store.places.read_index", None)
    with Writer.create(tmp_path / "a.h5") as writer:
        writer.write_episode({"pixels": pixels, "action": np.zeros((7, 1), np.float32)})
        copy = tmp_path / "copy.h5"
        copy.write_bytes((tmp_path / "a.h5").read_bytes())
    with Dataset.open(copy) as dataset:
        assert dataset.interrupted
        np.testing.assert_array_equal(dataset.frames(np.arange(7)), pixels)
