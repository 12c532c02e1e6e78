"""Minari's Arrow and Parquet storages where they are unusual, incomplete or hostile."""

import json
import shutil
import sys

import numpy as np
import pytest

from lewm_data.errors import DataError

pytest.importorskip("av")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

STORAGES = ("arrow", "parquet")


@pytest.fixture
def minari(fixtures, tmp_path):
    def copy(name):
        return shutil.copytree(fixtures / "minari" / name, tmp_path / "minari")

    return copy


def rewrite(dataset, episode, change, **options):
    """Replace the rows of an episode by what a function makes of its columns."""
    (file,) = (dataset / "data" / str(episode)).glob("part-0.*")
    if file.suffix == ".parquet":
        table = pa.parquet.read_table(file, partitioning=None)
        pa.parquet.write_table(change(table.combine_chunks()), file)
        return
    with pa.OSFile(str(file)) as opened:
        table = change(pa.ipc.open_file(opened).read_all())
    with pa.OSFile(str(file), "wb") as opened, pa.ipc.new_file(opened, table.schema, **options) as writer:
        writer.write_table(table)


def replaced(name, values):
    """A change of one column."""
    return lambda table: table.set_column(table.schema.get_field_index(name), name, values(table))


def describe(dataset, **changes):
    """Change what the metadata say."""
    file = dataset / "data" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(converted, path, *words, **settings):
    """The error of a conversion, which names all of the words."""
    with pytest.raises(DataError) as caught:
        converted(path, **settings)
    assert all(word in caught.value.problem for word in words), caught.value.problem
    return caught.value


@pytest.mark.parametrize("storage", STORAGES)
def test_the_folder_of_the_episodes_is_the_dataset_too(minari, converted, aligned, storage):
    aligned(converted(minari(f"recording-{storage}") / "data").episodes)


@pytest.mark.parametrize("storage", STORAGES)
def test_episodes_are_in_the_order_of_their_numbers_and_some_may_be_missing(minari, converted, aligned, storage):
    dataset = minari(f"recording-{storage}")
    (dataset / "data" / "1").rename(dataset / "data" / "10")
    shutil.rmtree(dataset / "data" / "0")
    aligned(converted(dataset).episodes, numbers=(2, 1))


@pytest.mark.parametrize("storage", STORAGES)
def test_an_observation_that_is_the_picture_is_the_camera(minari, converted, aligned, storage):
    dataset = minari(f"recording-{storage}")
    for episode in range(3):
        rewrite(
            dataset,
            episode,
            replaced("observations", lambda table: table.column("observations").chunk(0).field("image")),
        )
    made = converted(dataset)
    aligned(made.episodes)
    assert made.said[0] == "camera observations, the only one"


@pytest.mark.parametrize("storage", STORAGES)
def test_choices_are_one_hot_vectors(minari, converted, storage):
    dataset = minari(f"recording-{storage}")
    describe(dataset, action_space=json.dumps({"type": "Discrete", "dtype": "int64", "start": 2, "n": 4}))
    for episode in range(3):
        rewrite(dataset, episode, replaced("actions", lambda table: pa.array(np.arange(table.num_rows) % 4 + 2)))
    for episode in converted(dataset).episodes:
        count = len(episode["action"]) - 1
        np.testing.assert_array_equal(episode["action"][:-1], np.eye(4)[np.arange(count) % 4])


@pytest.mark.parametrize("storage", STORAGES)
def test_boxes_keep_their_shape_and_maps_are_left_out(minari, converted, storage):
    dataset = minari(f"recording-{storage}")
    space = json.loads(json.loads((dataset / "data" / "metadata.json").read_text())["observation_space"])
    space["subspaces"]["touch"] = {"type": "Box", "dtype": "float32", "shape": [2, 3], "low": 0, "high": 1}
    describe(dataset, observation_space=json.dumps(space))

    def more(table):
        observed, rows = table.column("observations").chunk(0), table.num_rows
        touch = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0 * rows, dtype=np.float32)), 6)
        heights = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3000 * rows, np.float32)), 3000)
        words = pa.array(["push"] * rows)
        fields = {"image": observed.field("image"), "touch": touch, "map": heights, "words": words}
        return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))

    for episode in range(3):
        rewrite(dataset, episode, replaced("observations", more))
    made = converted(dataset)
    assert "left out: map, words" in made.said
    for episode in made.episodes:
        rows = len(episode["action"])
        np.testing.assert_array_equal(episode["observation.touch"], np.arange(6.0 * rows).reshape(rows, 2, 3))


@pytest.mark.parametrize("storage", STORAGES)
def test_actions_in_several_parts_are_refused(minari, converted, storage):
    dataset = minari(f"recording-{storage}")

    def parts(table):
        values = pa.array(np.zeros(table.num_rows))
        return pa.StructArray.from_arrays([values, values], names=["arm", "hand"])

    rewrite(dataset, 0, replaced("actions", parts))
    refused(converted, dataset, "actions are in several parts: arm, hand")


def test_a_compressed_arrow_file_is_refused_before_it_is_unpacked(minari, converted):
    dataset = minari("recording-raw-arrow")
    rewrite(dataset, 0, lambda table: table, options=pa.ipc.IpcWriteOptions(compression="zstd"))
    refused(converted, dataset, "part-0.arrow: is compressed", camera="wrist")


def test_an_arrow_file_of_several_batches_is_one_episode(minari, converted, aligned):
    dataset = minari("recording-arrow")
    for episode in range(3):
        rewrite(
            dataset,
            episode,
            lambda table: pa.Table.from_batches([table.slice(0, 3).to_batches()[0], table.slice(3).to_batches()[0]]),
        )
    aligned(converted(dataset).episodes)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_truncated_episode_is_named_and_can_be_left_out(minari, converted, aligned, storage):
    dataset = minari(f"recording-{storage}")
    file = dataset / "data" / "1" / f"part-0.{storage}"
    file.write_bytes(file.read_bytes()[:-700])
    refused(converted, dataset, str(file))
    aligned(converted(dataset, skip_damaged=True).episodes, numbers=(0, 2))


@pytest.mark.parametrize("storage", STORAGES)
def test_an_episode_of_one_observation_can_be_left_out(minari, converted, aligned, storage):
    dataset = minari(f"recording-{storage}")
    rewrite(dataset, 1, lambda table: table.slice(0, 1).combine_chunks())
    refused(converted, dataset, "1: has 1 pictures, expected at least 2")
    aligned(converted(dataset, skip_damaged=True).episodes, numbers=(0, 2))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_damaged_picture_is_named(minari, converted, storage):
    dataset = minari(f"recording-{storage}")

    def spoilt(table):
        observed = table.column("observations").chunk(0)
        pictures = observed.field("image").to_pylist()
        pictures[4] = pictures[4][:20]
        return pa.StructArray.from_arrays([pa.array(pictures), observed.field("state")], names=["image", "state"])

    rewrite(dataset, 1, replaced("observations", spoilt))
    refused(converted, dataset, "row 4 of 'observations/image'")


def test_offsets_that_lead_out_of_an_arrow_file_are_noticed(minari, converted):
    dataset = minari("recording-arrow")
    file = dataset / "data" / "0" / "part-0.arrow"
    with pa.OSFile(str(file)) as opened:
        offsets = pa.ipc.open_file(opened).read_all().column("observations").chunk(0).field("image").buffers()[1]
    content, stored = file.read_bytes(), offsets.to_pybytes()[:32]  # of the 7 pictures
    assert content.count(stored) == 1
    wild = np.frombuffer(stored, np.int32).copy()
    wild[-1] = 2**30
    file.write_bytes(content.replace(stored, wild.tobytes()))
    refused(converted, dataset, "part-0.arrow: is no Arrow file that can be read")


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("width", [2304, 3, None])
def test_another_column_in_the_place_of_the_pictures_is_refused(minari, converted, storage, width):
    dataset = minari(f"recording-{storage}")

    def other(table):
        rows, state = table.num_rows, table.column("observations").chunk(0).field("state")
        image = pa.array(np.zeros(rows * (width or 1), np.uint8))
        image = image if width is None else pa.FixedSizeListArray.from_arrays(image, width)
        return pa.StructArray.from_arrays([image, state], names=["image", "state"])

    rewrite(dataset, 1, replaced("observations", other))
    refused(converted, dataset, f"part-0.{storage}: has no pictures in 'observations/image'")


@pytest.mark.parametrize("storage", STORAGES)
def test_lists_of_any_length_are_actions_where_they_have_one_length(minari, converted, aligned, storage):
    dataset = minari(f"recording-{storage}")
    for episode in range(3):
        rewrite(
            dataset, episode, replaced("actions", lambda table: table.column("actions").cast(pa.list_(pa.float32())))
        )
    aligned(converted(dataset).episodes)


@pytest.mark.parametrize("storage", STORAGES)
def test_numbers_that_are_missing_are_refused(minari, converted, storage):
    dataset = minari(f"recording-{storage}")
    rewrite(dataset, 1, replaced("rewards", lambda table: pa.array([None] * table.num_rows, pa.float64())))
    refused(converted, dataset, f"part-0.{storage}: 'rewards'")


@pytest.mark.parametrize("column", ["rewards", "observations/state"])
def test_numbers_that_unpack_to_more_than_fits_are_refused_before_they_are_read(minari, column, monkeypatch):
    from lewm_data.convert.minari.arrow import ArrowEpisodes

    dataset, rows = minari("recording-parquet"), 200_000
    file = dataset / "data" / "0" / "part-0.parquet"
    state = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * 3, np.float32)), 3)
    observed = pa.StructArray.from_arrays([state], names=["state"])
    pa.parquet.write_table(pa.table({"rewards": np.zeros(rows), "observations": observed}), file, compression="zstd")
    assert file.stat().st_size < 10_000
    episodes = ArrowEpisodes(dataset / "data")
    assert len(episodes.numbers(f"episode_0/{column}")) in (rows - 1, rows)
    monkeypatch.setattr("lewm_data.parquet.memory_limit", lambda: 1_000_000)
    for reading in ("read", "iter_batches", "read_row_group"):
        monkeypatch.setattr(pa.parquet.ParquetFile, reading, lambda *_, **__: pytest.fail("rows are read"))
    with pytest.raises(DataError, match=r"part-0\.parquet: unpacks to [14],[68]00,000 bytes, at most 1,000,000"):
        episodes.numbers(f"episode_0/{column}")


@pytest.mark.parametrize("text", ["", "{}", '{"observation_space": "[]"}', '{"observation_space": "{"}'])
def test_a_damaged_description_is_named(minari, converted, text):
    dataset = minari("recording-arrow")
    (dataset / "data" / "metadata.json").write_text(text)
    refused(converted, dataset, "metadata.json: is no description of a dataset by Minari")


@pytest.mark.parametrize(("storage", "module"), [("arrow", "pyarrow.ipc"), ("parquet", "pyarrow.parquet")])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(minari, converted, storage, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert "[formats]" in refused(converted, minari(f"recording-{storage}"), "is not installed").remedy
