"""Frames in compressed chunks: what is unpacked here equals what HDF5 unpacks, and damage is an error."""

import sys
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import unpacking
from lewm_data.store.dataset import Dataset
from lewm_data.store.frames import PackedFrames
from lewm_data.store.rows import StoredRows

ROWS, FRAME = 13, (40, 33, 3)


def pictures():
    """Frames that are smooth, noisy and black."""
    frames = np.zeros((ROWS, *FRAME), np.uint8)
    frames[:5] = np.arange(40, dtype=np.uint8)[:, None, None]
    frames[5:9] = np.random.default_rng(0).integers(0, 256, (4, *FRAME))
    return frames


def write(path, frames, chunk=1, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=frames, chunks=(chunk, *frames.shape[1:]), **options)
        file["action"] = np.ones((len(frames), 2), np.float32)
        file["ep_len"], file["ep_offset"] = np.array([len(frames)], np.int32), np.array([0], np.int64)
    return path


FILTERS = {
    "gzip": {"compression": "gzip"},
    "gzip, shuffle, fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "fletcher32": {"fletcher32": True},
    "blosc": hdf5plugin.Blosc(),
    "blosc, zstd, bitshuffle": hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.BITSHUFFLE),
    "blosc2": hdf5plugin.Blosc2(),
    "blosc2, lz4": hdf5plugin.Blosc2(cname="lz4"),
    "blosc2, zstd, bitshuffle": hdf5plugin.Blosc2(cname="zstd", filters=hdf5plugin.Blosc2.BITSHUFFLE),
    "blosc2, zlib, no shuffle": hdf5plugin.Blosc2(cname="zlib", filters=hdf5plugin.Blosc2.NOFILTER),
}
BY_HDF5 = {
    "blosc2, delta": hdf5plugin.Blosc2(filters=hdf5plugin.Blosc2.DELTA),
    "zstd": hdf5plugin.Zstd(),
    "lz4": hdf5plugin.LZ4(),
    "bitshuffle": hdf5plugin.Bitshuffle(),
    "bitshuffle, zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bzip2": hdf5plugin.BZip2(),
}


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("name", [*FILTERS, *BY_HDF5])
def test_frames_are_what_was_written(tmp_path, name, chunk):
    frames = pictures()
    path = write(tmp_path / "a.h5", frames, chunk, **(FILTERS | BY_HDF5)[name])
    rows = np.array([12, 0, 3, 3, 7, 8, 4, 12])
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.frames(rows), frames[rows])
        np.testing.assert_array_equal(dataset.episode(0)["pixels"], frames)
        assert dataset.frames(rows[:0]).shape == (0, *FRAME)


@pytest.mark.parametrize("name", FILTERS)
def test_hdf5_unpacks_only_what_is_left_to_it(tmp_path, monkeypatch, name):
    """Frames of one value are left to it by blosc2, whose plugin stores no data for them."""
    path = write(tmp_path / "a.h5", pictures(), **FILTERS[name])
    rows = np.arange(9)
    with Dataset.open(path) as dataset:
        monkeypatch.setattr(StoredRows, "read", None)
        np.testing.assert_array_equal(dataset.frames(rows), pictures()[rows])
        assert isinstance(dataset._frames, PackedFrames)


def test_without_the_package_zlib_ng_python_unpacks_gzip(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    path = write(tmp_path / "a.h5", pictures(), **FILTERS["gzip"])
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.frames(np.arange(ROWS)), pictures())
        assert isinstance(dataset._frames, PackedFrames)
    with_chunk(path, lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]))
    with Dataset.open(path) as dataset, pytest.raises(DataError, match=r"'pixels' cannot be unpacked: .*"):
        dataset.frames(np.arange(ROWS))


@pytest.mark.parametrize("name", ["blosc", "blosc2"])
def test_without_the_package_blosc2_the_plugin_unpacks(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "blosc2", None)
    path = write(tmp_path / "a.h5", pictures(), **FILTERS[name])
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.frames(np.arange(ROWS)), pictures())
        assert isinstance(dataset._frames, StoredRows)


@pytest.mark.parametrize("block", [0, 48, 1000, 3000])
def test_blocks_of_any_shape(tmp_path, block):
    """The plugin chooses the sides of a block from its bytes, and pads the last ones."""
    frames = pictures()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = (0, block, 1, 0, 5, 1, 1)
        file.create_dataset("x", data=frames, chunks=(2, *FRAME), compression=32026, compression_opts=values)
        unpack, item = unpacking.unpacking_of(file["x"]), file["x"].id
        for first in range(0, 9, 2):
            skipped, packed = item.read_direct_chunk((first, 0, 0, 0))
            found = unpack(np.frombuffer(packed, np.uint8), skipped).reshape(2, *FRAME)
            np.testing.assert_array_equal(found, frames[first : first + 2])


@pytest.mark.parametrize("count", [1, 2, 3, 359, 360, 721, 65536, 200_001])
def test_fletcher32_is_that_of_hdf5(count):
    for data in (np.random.default_rng(count).integers(0, 256, count), np.zeros(count), np.full(count, 255)):
        with h5py.File("a", "w", driver="core", backing_store=False) as file:
            item = file.create_dataset("x", data=data.astype(np.uint8), chunks=(count,), fletcher32=True)
            stored = item.id.read_direct_chunk((0,))[1]
        assert unpacking.fletcher32(data.astype(np.uint8)) == int.from_bytes(stored[-4:], "little")


@pytest.mark.parametrize("options", [{"fletcher32": True}, {"shuffle": True}, {"compression": "lzf", "shuffle": True}])
def test_columns_of_numbers_with_filters(tmp_path, options):
    path, values = write(tmp_path / "a.h5", pictures()), np.random.default_rng(0).normal(size=(ROWS, 3))
    with h5py.File(path, "r+") as file:
        file.create_dataset("state", data=values, chunks=(4, 3), **options)
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.column("state"), values)


def test_a_checksum_of_old_versions_with_its_bytes_exchanged(tmp_path):
    path = write(tmp_path / "a.h5", pictures(), fletcher32=True)
    with h5py.File(path, "r+") as file:
        item = file["pixels"].id
        stored = item.read_direct_chunk((3, 0, 0, 0))[1]
        one, two, three, four = stored[-4:]
        item.write_direct_chunk((3, 0, 0, 0), stored[:-4] + bytes([two, one, four, three]))
    with Dataset.open(path) as dataset:
        np.testing.assert_array_equal(dataset.frames(np.array([3])), pictures()[3:4])


def with_chunk(path, change, row=6):
    """Replaces a chunk by what `change` makes of it."""
    with h5py.File(path, "r+") as file:
        place = (row, 0, 0, 0)
        skipped, packed = file["pixels"].id.read_direct_chunk(place)
        file["pixels"].id.write_direct_chunk(place, change(packed), skipped)


SIZE = int(np.prod(FRAME))
DAMAGE = {
    "gzip of more": ("gzip", lambda _: zlib.compress(bytes(SIZE + 1)), f"holds more than its {SIZE} bytes"),
    "gzip of gigabytes": ("gzip", lambda _: zlib.compress(bytes(1 << 26)), f"holds more than its {SIZE} bytes"),
    "gzip of less": ("gzip", lambda _: zlib.compress(bytes(SIZE - 1)), f"ends after {SIZE - 1} of its {SIZE} bytes"),
    "cut gzip": ("gzip", lambda packed: packed[:-5], f"ends after .* of its {SIZE} bytes"),
    "gzip with a wrong bit": ("gzip", lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]), "cannot be unpacked: .*"),
    "no gzip": ("gzip", lambda _: b"abcdefgh", "cannot be unpacked: .*"),
    "empty": ("gzip", lambda _: b"abcd", "is empty"),
    "wrong checksum": (
        "fletcher32",
        lambda stored: stored[:-1] + bytes([stored[-1] ^ 1]),
        "differs from its checksum",
    ),
    "wrong data": ("fletcher32", lambda stored: bytes([stored[0] ^ 1]) + stored[1:], "differs from its checksum"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_chunks(tmp_path, case):
    name, change, problem = DAMAGE[case]
    path = write(tmp_path / "a.h5", pictures(), **FILTERS[name])
    with_chunk(path, change)
    with Dataset.open(path) as dataset, pytest.raises(DataError, match=rf"is damaged: a chunk of 'pixels' {problem}\n"):
        dataset.frames(np.arange(ROWS))


@pytest.mark.parametrize("name", ["blosc", "blosc2"])
@pytest.mark.parametrize("seed", range(8))
def test_damaged_chunks_of_blosc_end_no_program(tmp_path, name, seed):
    """Bytes of the headers are changed: the frames are read, or an error says why not; nothing is written elsewhere."""
    random = np.random.default_rng(seed)

    def change(packed):
        data = bytearray(packed)
        for place in random.integers(0, min(len(data), 260), 3):
            data[place] = random.integers(256)
        return bytes(data)

    path = write(tmp_path / "a.h5", pictures(), **FILTERS[name])
    with h5py.File(path) as file:
        unpack, item = unpacking.unpacking_of(file["pixels"]), file["pixels"].id
        for row in range(9):
            skipped, packed = item.read_direct_chunk((row, 0, 0, 0))
            for _ in range(50):
                found = unpack(np.frombuffer(change(packed), np.uint8), skipped)
                assert found is None or found.shape == (SIZE,)


LARGE = (1 << 40).to_bytes(8, "big")
STATED = {
    "blosc": lambda packed: packed[:4] + (1 << 30).to_bytes(4, "little") + packed[8:],
    "blosc2": lambda packed: packed[:30] + LARGE + packed[38:],
    "lz4": lambda packed: LARGE + packed[8:],
    "bitshuffle": lambda packed: LARGE + packed[8:],
    "zstd": lambda _: b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00",
}


@pytest.mark.parametrize("name", STATED)
def test_a_chunk_that_states_a_larger_size_is_not_unpacked(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "blosc2", None)  # HDF5 would unpack all of them
    path = write(tmp_path / "a.h5", pictures(), **(FILTERS | BY_HDF5)[name])
    with_chunk(path, STATED[name], row=2)
    with Dataset.open(path) as dataset, pytest.raises(DataError, match=f"holds more than its {SIZE} bytes"):
        dataset.frames(np.arange(ROWS))


def test_a_file_that_becomes_shorter_is_an_error(tmp_path):
    path = write(tmp_path / "a.h5", pictures(), **FILTERS["gzip"])
    with Dataset.open(path) as dataset:
        assert dataset.frames(np.arange(ROWS)).any()
        with path.open("r+b") as stream:
            stream.truncate(3000)
        with pytest.raises(DataError, match="has become shorter while it was being read"):
            dataset.frames(np.arange(ROWS))
