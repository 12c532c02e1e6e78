"""HDF5 files that cannot be read here: pipes, locks, filters, permissions, and files that change."""

import errno
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store import opening
from lewm_data.store.dataset import Dataset
from tests.hostile.good_hdf5 import ROWS, read_everything, write


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    for path in (tmp_path / "a.h5", "/dev/zero"):
        with pytest.raises(DataError, match="is a pipe or a device"):
            Dataset.open(path)


def test_names_of_any_bytes(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.h5"
    write(tmp_path / "a.h5").rename(os.fsdecode(name))
    with Dataset.open(name) as dataset, Dataset.open(os.fsdecode(name)) as same:
        assert dataset.fingerprint() == same.fingerprint()
    for odd in (b"a\0b.h5", "a\0b.h5", "x" * 5000 + ".h5"):
        with pytest.raises(DataError, match=r"cannot be read: .*\nCheck the name"):
            Dataset.open(odd)


HOLDING = "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"


def test_held_by_another_program(tmp_path):
    path = write(tmp_path / "a.h5")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(DataError, match="another program has it open for writing\nClose it there"):
            Dataset.open(path)
        other.stdin.close()
    read_everything(path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_read_all_the_same(tmp_path, monkeypatch, code):
    path, opened = write(tmp_path / "a.h5"), h5py.File

    def without_locks(*arguments, **named):
        if named.get("locking") is not False:
            raise OSError(code, f"Unable to synchronously open file (unable to lock file, errno = {code})")
        return opened(*arguments, **named)

    monkeypatch.setattr(opening.h5py, "File", without_locks)
    read_everything(path)


def with_filter(path, code):
    """Frames marked as packed by a filter of that number."""
    with h5py.File(path, "r+") as file:
        pixels = file["pixels"][:]
        del file["pixels"]
        file.create_dataset("pixels", data=pixels, chunks=(1, 4, 4, 3), compression="lzf")
    content = path.read_bytes()
    place = content.index(b"lzf\0") - 8  # number, length of the name, flags, count of values
    assert content[place : place + 2] == (32000).to_bytes(2, "little")
    path.write_bytes(content[:place] + code.to_bytes(2, "little") + content[place + 2 :])


@pytest.mark.parametrize(
    ("code", "named", "remedy"),
    [
        (32001, r"blosc \(HDF5 filter 32001\)", "pip install --upgrade hdf5plugin"),
        (32004, r"lz4 \(HDF5 filter 32004\)", "pip install --upgrade hdf5plugin"),
        (32008, r"bitshuffle \(HDF5 filter 32008\)", "pip install --upgrade hdf5plugin"),
        (32015, r"zstd \(HDF5 filter 32015\)", "pip install --upgrade hdf5plugin"),
        (32026, r"blosc2 \(HDF5 filter 32026\)", "pip install --upgrade hdf5plugin"),
        (40000, r"a filter that is not known here \(HDF5 filter 40000\)", "compress the file anew"),
    ],
)
def test_filters_that_are_not_installed(tmp_path, monkeypatch, code, named, remedy):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    available = h5py.h5z.filter_avail  # also says yes to those that the package has registered before
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number < 32001 and available(number))
    path = write(tmp_path / "a.h5")
    with_filter(path, code)
    with pytest.raises(DataError, match=rf"'pixels' is compressed with {named}, which is not installed\n.*{remedy}"):
        Dataset.open(path)


def test_a_pointer_of_git_lfs(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match=r"is a pointer of Git LFS.*\nGet the file with .git lfs pull"):
        Dataset.open(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable for root")
def test_no_permission(tmp_path):
    path = write(tmp_path / "a.h5")
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied\nAsk the owner"):
        Dataset.open(path)


@pytest.mark.parametrize("storage", [{"chunks": (1, 4, 4, 3)}, {"chunks": (5, 4, 4, 3)}])
def test_a_file_that_becomes_shorter_is_an_error_and_no_signal(tmp_path, storage):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["pixels"]
        file.create_dataset("pixels", data=np.ones((ROWS, 4, 4, 3), np.uint8), **storage)
    rows = np.arange(ROWS)
    with Dataset.open(path) as dataset:
        assert dataset.frames(rows).all()
        os.truncate(path, 100)
        with pytest.raises(DataError, match="has become shorter while it was being read\nDo not write to a dataset"):
            dataset.frames(rows)
