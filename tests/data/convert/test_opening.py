"""Sources are opened with no more than is needed, and closed where they cannot be used."""

import shutil
from pathlib import Path

import h5py
import pytest

from lewm_data.convert import hdf5, media
from lewm_data.convert.formats import open_source
from lewm_data.errors import DataError
from tests.data.convert import recordings

pytest.importorskip("av")


@pytest.mark.parametrize("source", ["robomimic/image_compact.hdf5", "minari/recording", "stable-worldmodel/current.h5"])
def test_a_file_that_cannot_be_used_is_closed(fixtures, tmp_path, monkeypatch, source):
    """None of its pictures is left, so that it opens, and is refused then."""
    copy = tmp_path / Path(source).name
    (shutil.copytree if (fixtures / source).is_dir() else shutil.copy)(fixtures / source, copy)
    path = copy / "data" / "main_data.hdf5" if copy.is_dir() else copy
    whole = hdf5.Hdf5.open(path)
    pictures = [name for name in whole.within("") if whole.is_pictures(name)]
    whole.close()
    with h5py.File(path, "a") as file:
        for name in pictures:
            del file[name]
    held = []
    opening, closing = hdf5.Hdf5.open, hdf5.Hdf5.close

    def opened(path):
        held.append(opening(path))
        return held[-1]

    monkeypatch.setattr(hdf5.Hdf5, "open", opened)
    monkeypatch.setattr(hdf5.Hdf5, "close", lambda file: held.remove(file) or closing(file))
    with pytest.raises(DataError, match="no pictures"):
        open_source(copy, None)
    assert not held


def test_one_table_is_read_to_open_a_folder(tmp_path, monkeypatch):
    for name in "abc":
        recordings.write_recording(tmp_path / "in", name, 6)
    read = []
    reading = media.read_table
    monkeypatch.setattr(media, "read_table", lambda path: read.append(path.name) or reading(path))
    source = open_source(tmp_path / "in", None)
    assert read == ["a.csv"]
    source.read(1)
    assert read == ["a.csv", "b.csv"]
