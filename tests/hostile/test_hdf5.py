"""HDF5 files that reach elsewhere, have no bound, or are damaged: each is met with the true cause."""

import contextlib
import re
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import contents
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer
from tests.hostile.good_hdf5 import ROWS, read_everything, write

READ = """
import sys
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
with Dataset.open(sys.argv[1]) as dataset:
    print(dataset.attributes)
    try:
        dataset.check_sample()
    except DataError as error:
        print(error)
"""


def replaced(name, make):
    """A function that damages a file with another item of that name."""

    def spoil(file):
        if name in file:
            del file[name]
        make(file, name)

    return spoil


def virtual(source):
    def make(file, name):
        layout = h5py.VirtualLayout((ROWS, 4, 4, 3), "u1")
        layout[:] = h5py.VirtualSource(source, "pixels", (ROWS, 4, 4, 3))
        file.create_virtual_dataset(name, layout)

    return make


def stored(shape, dtype="u1", **options):
    return lambda file, name: file.create_dataset(name, shape, dtype, **options)


def external(file, name):
    file.create_dataset(name, (ROWS, 8), "u1", external=[("/etc/hostname", 0, 8 * ROWS)])


def nested_external_link(file):
    file.create_group("a/b")["c"] = h5py.ExternalLink("other.h5", "/state")


def deep_groups(file):
    group = file
    for _ in range(1000):
        group = group.create_group("g")


def many_objects(file):
    group = file.create_group("many")
    for number in range(contents.MAX_OBJECTS):
        group[str(number)] = h5py.SoftLink("/state")


def bomb(file, name):
    """A chunk of four frames that unpacks to 400 MB."""
    item = file.create_dataset(name, (ROWS, 4, 4, 3), "u1", chunks=(4, 4, 4, 3), compression="gzip")
    item[:] = 0
    packed = zlib.compressobj()
    data = b"".join([*(packed.compress(bytes(1 << 20)) for _ in range(400)), packed.flush()])
    item.id.write_direct_chunk((0, 0, 0, 0), data)


def overflowing(file):
    del file["ep_len"], file["ep_offset"]
    lengths = np.array([2**62, 2**62, 2**62, 2**62 + ROWS], np.int64)  # their sum as int64 is ROWS
    file["ep_len"], file["ep_offset"] = lengths, np.cumsum(lengths) - lengths


LINK = h5py.ExternalLink("other.h5", "/state")

REFUSED = {
    "external storage": (replaced("state", external), "'state' has external storage: its data lie in /etc/hostname"),
    "external link": (replaced("state", lambda f, n: f.__setitem__(n, LINK)), "'state' is an .* of other.h5, .*"),
    "external ep_len": (replaced("ep_len", lambda f, n: f.__setitem__(n, LINK)), "'ep_len' is an external link: .*"),
    "nested external link": (nested_external_link, "'a/b/c' is an external link: .*"),
    "link through an external link": (
        lambda f: (f.__setitem__("x", LINK), f.__setitem__("y", h5py.SoftLink("/x"))),
        "'x' is an external link: .*",
    ),
    "dangling link": (replaced("state", lambda f, n: f.__setitem__(n, h5py.SoftLink("/none"))), "'state' is a link .*"),
    "cyclic link": (replaced("state", lambda f, n: f.__setitem__(n, h5py.SoftLink("/state"))), "'state' is a link .*"),
    "virtual frames": (replaced("pixels", virtual("gone.h5")), "'pixels' is a virtual dataset: .* gone.h5"),
    "virtual column unasked": (replaced("other", virtual("gone.h5")), "'other' is a virtual dataset: .* gone.h5"),
    "deep groups": (deep_groups, "holds more than .* deep"),
    "many objects": (many_objects, "holds more than 10000 objects, .*"),
    "sparse column": (
        replaced("state", stored((ROWS, 1 << 29), "f8", chunks=(1, 1 << 20))),
        "'state' has rows that were never written",
    ),
    "frames never written": (replaced("pixels", stored((ROWS, 4, 4, 3))), "'pixels' has rows that were never written"),
    "sparse frames": (
        replaced("pixels", stored((10**15, 4, 4, 3), chunks=(1, 4, 4, 3))),
        "column 'action' has 13 rows, expected 1000000000000000 as in 'pixels'",
    ),
    "endless index": (
        replaced("ep_len", stored((10**9,), "i8", chunks=(1024,))),
        "'ep_len' has 1000000000 rows, expected at most 13, those of 'pixels'",
    ),
    "huge frames": (
        replaced("pixels", stored((ROWS, 10**5, 10**5, 3), chunks=(1, 100, 100, 3))),
        "frames of 30000000000 bytes, expected at most .*",
    ),
    "huge chunks": (
        replaced("state", stored((ROWS, 10**8), "f8", chunks=(4, 10**8), compression="gzip")),
        "'state' has compressed chunks of 3200000000 bytes, expected at most .*",
    ),
    "gzip bomb": (replaced("pixels", bomb), "is damaged: a chunk of 'pixels' holds more than its 192 bytes"),
    "overflowing lengths": (overflowing, "episode 3 has 4611686018427387917 steps, .* 13 rows"),
    "unsigned lengths": (
        replaced("ep_len", lambda f, n: f.__setitem__(n, np.array([2**63 + 8, 5], np.uint64))),
        "episode 0 has 9223372036854775807 steps, .* 13 rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    spoil, problem = REFUSED[case]
    with h5py.File("other.h5", "w") as file:
        file["state"] = np.zeros((ROWS, 2))
    with h5py.File(write("a.h5"), "r+") as file:
        spoil(file)
    with pytest.raises(DataError) as caught:
        read_everything("a.h5")
    first, remedy = str(caught.value).split("\n")
    assert re.fullmatch(rf"a\.h5: {problem}", first), first
    assert len(remedy) > 15


def test_bombs_are_not_unpacked(tmp_path):
    """A chunk larger than what is unpacked unseen."""
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        bomb_of_frames = np.random.default_rng(0).bytes(1 << 19) + bytes(1 << 26)
        del file["pixels"]
        item = file.create_dataset("pixels", (ROWS, 4, 4, 3), "u1", chunks=(4, 4, 4, 3), compression="gzip")
        item[:] = 0
        item.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bomb_of_frames))
    with pytest.raises(DataError, match="a chunk of 'pixels' holds more than its 192 bytes"):
        read_everything(path)


def test_an_empty_chunk_is_damage(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["ep_len"]
        item = file.create_dataset("ep_len", (2,), "i4", chunks=(2,), fletcher32=True)
        item.id.write_direct_chunk((0,), b"1234")
    with pytest.raises(DataError, match="a chunk of 'ep_len' is empty"):
        Dataset.open(path)


def test_links_inside_the_file_are_followed(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.move("state", "kept/state")
        file["state"], file["same"] = h5py.SoftLink("/kept/state"), file["kept/state"]
        file["kept/itself"] = file["kept"]
    with Dataset.open(path) as dataset:
        assert {"state", "same"} < set(dataset.columns)
        assert dataset.column("same").shape == (ROWS, 2)
        assert dataset.column("state").shape == (ROWS, 2)


def test_a_column_beyond_memory_is_refused_only_when_it_is_asked_for_whole(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5")
    monkeypatch.setattr("lewm_data.store.rows.memory_limit", lambda: ROWS * 8)
    monkeypatch.setattr("lewm_data.store.columns.KEPT_BYTES", 0)
    with Dataset.open(path) as dataset:
        assert dataset.episode(1)["state"].shape == (5, 2)
        dataset.fingerprint()
        with pytest.raises(DataError, match="'state' takes 208 bytes, expected at most 104"):
            dataset.column("state")


def test_attributes_of_any_type(tmp_path):
    path = write(tmp_path / "a.h5")
    odd = {
        "text": "two-room",
        "fixed": np.bytes_(b"abc"),
        "number": 3,
        "few": np.arange(3),
        "not_utf8": np.bytes_(b"\xff\xfe"),
        "one": np.array(["abc"], h5py.string_dtype()),
    }
    with h5py.File(path, "r+") as file:
        for name, value in odd.items():
            file.attrs[name] = value
        file.attrs["env"] = 5
        file.attrs["empty"] = h5py.Empty("f4")
        file.attrs["reference"] = file["state"].ref
        file.attrs["compound"] = np.zeros(2, [("a", "f4")])
        file.attrs["objects"] = np.array(["a", "b"], h5py.string_dtype())
        file.attrs["long"] = "x" * (contents.ATTRIBUTE_TEXT + 1)
        file.attrs["many"] = np.zeros(contents.ATTRIBUTE_NUMBERS + 1, np.uint8)
    with Dataset.open(path) as dataset:
        assert dataset.attributes == {
            "text": "two-room",
            "fixed": "abc",
            "number": 3,
            "few": [0, 1, 2],
            "not_utf8": "\N{REPLACEMENT CHARACTER}" * 2,
            "one": "abc",
        }


@pytest.mark.parametrize("inner", [b"x\xff", b"group/x\xff"])
def test_a_name_that_is_not_utf8_is_refused(tmp_path, inner):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file[inner] = np.zeros(ROWS)
    with pytest.raises(DataError, match=r"the name of .*x.' is not UTF-8"):
        Dataset.open(path)


def with_text_that_has_no_end(data, text):
    """A file whose attribute `text` states such a size that HDF5 goes through the texts behind it for ever."""
    size = data.index(text) - 8  # 8 bytes, before the text
    return data[:size] + (0x408).to_bytes(8, "little") + data[size + 8 :]


@pytest.mark.parametrize("interrupted", [False, True])
def test_text_whose_size_is_damaged_does_not_hang(tmp_path, interrupted):
    path = tmp_path / "a.h5"
    with Writer.create(path, {"env": "two-room", "policy": "expert"}) as writer:
        writer.write_episode({"pixels": np.zeros((2, 8, 8, 3), np.uint8), "action": np.array([[0.5], [np.nan]], "f4")})
    with Writer.append(path) if interrupted else contextlib.nullcontext():
        data = path.read_bytes()
    path.write_bytes(data)
    with Dataset.open(path) as dataset:
        assert dataset.attributes["env"] == "two-room"
        assert dataset.interrupted == interrupted
    path.write_bytes(with_text_that_has_no_end(data, b"two-room"))
    read = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    assert "env" not in read.stdout
    assert "the text at byte" in read.stdout


def test_columns_that_are_no_numbers_are_left_alone(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.create_dataset("names", (ROWS,), f"S{10**6}")
        file.create_dataset("compound", (ROWS,), [("a", "f4")])
        file["nothing"] = h5py.Empty("f8")
        file["references"] = np.array([file["state"].ref] * ROWS, h5py.ref_dtype)
    with Dataset.open(path) as dataset:
        assert dataset.columns == ("action", "pixels", "state")
