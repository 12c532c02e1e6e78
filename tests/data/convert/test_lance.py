"""stable-worldmodel's Lance tables where they are unusual, incomplete or hostile."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lewm_data.convert.formats import open_source
from lewm_data.convert.stable_worldmodel import lance as lance_tables
from lewm_data.errors import DataError

pytest.importorskip("av")
lance = pytest.importorskip("lance")
pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def table(fixtures, tmp_path):
    return Path(shutil.copytree(fixtures / "stable-worldmodel" / "current.lance", tmp_path / "world" / "current.lance"))


def rewrite(path, function):
    """Replace a table by what a function makes of it."""
    rows = lance.dataset(str(path)).to_table()
    shutil.rmtree(path)
    lance.write_dataset(function(rows), str(path))


def refused(path, converted, *words):
    with pytest.raises(DataError) as caught:
        converted(path)
    assert all(word in caught.value.problem for word in words), caught.value.problem


def test_a_folder_with_one_table_is_the_table(table, converted, aligned):
    aligned(converted(table.parent).episodes)


def test_a_folder_with_two_tables_is_not(table):
    shutil.copytree(table, table.with_name("other.lance"))
    with pytest.raises(DataError, match="in no format that is known here"):
        open_source(table.parent, None)


def test_pictures_in_a_second_table_of_videos_are_named(table, converted):
    rewrite(table, lambda rows: rows.drop_columns(["pixels"]))
    videos = {"episode_idx": [0, 1, 2], "video_key": ["pixels"] * 3, "video_bytes": [b"", b"", b""]}
    lance.write_dataset(pyarrow.table(videos), str(table.with_name("current_videos.lance")))
    for path in (table, table.parent):
        refused(path, converted, "its pictures are videos in current_videos.lance", "no release of stable-worldmodel")


def test_rows_in_another_order_are_refused(table, converted):
    rewrite(table, lambda rows: rows.take(pyarrow.array(np.arange(51)[::-1])))
    refused(table, converted, "not in the order of the episodes")


@pytest.mark.parametrize("name", ["action", "pixels", "episode_idx"])
def test_a_table_without_what_it_needs_is_refused(table, converted, name):
    rewrite(table, lambda rows: rows.drop_columns([name]))
    refused(table, converted, "expected pictures, actions and episode_idx")


def test_numbers_that_are_missing_are_refused(table, converted):
    def emptied(rows):
        at = rows.schema.get_field_index("state")
        values = rows.column(at).to_pylist()
        values[3] = None
        return rows.set_column(at, "state", pyarrow.array(values, rows.schema.field(at).type))

    rewrite(table, emptied)
    refused(table, converted, "'state' is missing in some rows")


def test_a_damaged_picture_is_named(table, converted):
    def cut(rows):
        at = rows.schema.get_field_index("pixels")
        values = rows.column(at).to_pylist()
        values[30] = values[30][:40]
        return rows.set_column(at, "pixels", pyarrow.array(values, pyarrow.binary()))

    rewrite(table, cut)
    refused(table, converted, "row 30 of 'pixels'")


def test_a_damaged_table_is_named(table, converted):
    for file in (table / "data").iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    refused(table, converted, "current.lance")


def test_a_missing_file_of_a_table_is_named(table, converted):
    for file in (table / "data").iterdir():
        file.unlink()
    refused(table, converted, "current.lance")


def test_data_outside_the_table_are_refused(table, tmp_path, converted):
    stored = lance.dataset(str(table))
    fragment = stored.get_fragments()[0].metadata.to_json()
    fragment["files"][0]["path"] = "../../../outside.lance"
    inside = next((table / "data").iterdir())
    shutil.copy(inside, tmp_path / "outside.lance")
    schema = stored.schema
    shutil.rmtree(table)
    made = lance.fragment.FragmentMetadata.from_json(__import__("json").dumps(fragment))
    lance.LanceDataset.commit(str(table), lance.LanceOperation.Overwrite(schema, [made]))
    refused(table, converted, "has data outside of it")


def test_numbers_stay_in_the_table_until_an_episode_is_read(fixtures, converted, monkeypatch):
    taken, counts = lance_tables._Column._taken, {}

    def counted(column, rows, width):
        counts[column.name] = max(counts.get(column.name, 0), len(rows))
        return taken(column, rows, width)

    monkeypatch.setattr(lance_tables._Column, "_taken", counted)
    lengths = [
        len(episode["action"]) for episode in converted(fixtures / "stable-worldmodel" / "current.lance").episodes
    ]
    assert counts.pop("episode_idx") == sum(lengths)
    assert counts.pop("step_idx") == 1
    assert set(counts.values()) == {max(lengths)}
