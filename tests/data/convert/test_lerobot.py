"""LeRobot's datasets where they are unusual, incomplete or hostile."""

import json
import shutil

import numpy as np
import pytest

from lewm_data.convert.lerobot import dataset as lerobot
from lewm_data.errors import DataError
from lewm_data.video.video_writer import write_video

pytest.importorskip("av")
pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

FRONT = "observation.images.front"
VIDEO = f"videos/chunk-000/{FRONT}/episode_000001.mp4"
TABLE = "data/chunk-000/episode_000001.parquet"


@pytest.fixture
def v2(fixtures, tmp_path):
    return shutil.copytree(fixtures / "lerobot-v2.1" / "recording", tmp_path / "v2")


@pytest.fixture
def v3(fixtures, tmp_path):
    return shutil.copytree(fixtures / "lerobot-v3" / "recording", tmp_path / "v3")


def change(path, **changes):
    """Change entries of a dataset's description."""
    file = path / "meta" / "info.json"
    info = json.loads(file.read_text())
    info.update(changes)
    file.write_text(json.dumps(info))


def change_table(file, function):
    """Replace a table by what a function makes of it."""
    pyarrow.parquet.write_table(function(pyarrow.parquet.read_table(file)), file)


def refused(path, converted, *words, **settings):
    """The error of a conversion, which names all of the words."""
    with pytest.raises(DataError) as caught:
        converted(path, camera="front", **settings)
    assert all(word in caught.value.problem for word in words), caught.value.problem
    return caught.value


@pytest.mark.parametrize(
    "name",
    ["../{episode_index:06d}.parquet", "/etc/{episode_index}", "data/../../x", "a\\b", "x\0y"],
)
def test_no_path_of_the_description_leads_out_of_the_folder(v2, converted, name):
    change(v2, data_path=name)
    refused(v2, converted, "meta/info.json", "data_path leads out of the folder")


@pytest.mark.parametrize(
    "name",
    ["{episode_index.__class__}", "{episode_index:0999999999d}", "{0}{", "{unknown}", "{episode_index!r}"],
)
def test_a_path_template_is_no_program(v2, converted, name):
    change(v2, data_path=name)
    refused(v2, converted, "meta/info.json", "not understood")


def test_no_name_of_a_camera_leads_out_of_the_folder(v2, converted):
    info = json.loads((v2 / "meta" / "info.json").read_text())
    info["features"]["../../front"] = info["features"].pop(FRONT)
    change(v2, features=info["features"])
    refused(v2, converted, "meta/info.json", "leads out of the folder")


def test_a_truncated_video_is_named(v2, converted):
    video = v2 / VIDEO
    video.write_bytes(video.read_bytes()[:-600])
    refused(v2, converted, "episode_000001.mp4")


def test_a_video_of_another_episode_is_noticed(v2, converted):
    shutil.copy(v2 / VIDEO.replace("000001", "000002"), v2 / VIDEO)
    refused(v2, converted, "episode_000001.mp4", "has 25 pictures, its table 19 rows")


def test_a_missing_video_is_named_and_can_be_left_out(v2, converted, aligned):
    (v2 / VIDEO).unlink()
    refused(v2, converted, "episode_000001.mp4")
    made = converted(v2, camera="front", skip_damaged=True)
    aligned(made.episodes, numbers=(0, 2))
    assert [name for name, _ in made.report.left_out] == ["episode 1"]


def test_a_missing_table_is_named(v2, converted):
    (v2 / TABLE).unlink()
    refused(v2, converted, "episode_000001.parquet")


def test_a_truncated_table_is_named(v2, converted):
    (v2 / TABLE).write_bytes((v2 / TABLE).read_bytes()[:-100])
    refused(v2, converted, "episode_000001.parquet")


def test_a_table_without_a_column_of_the_description_is_refused(v2, converted):
    change_table(v2 / TABLE, lambda table: table.drop_columns(["observation.state"]))
    refused(v2, converted, "episode_000001.parquet", "no column 'observation.state'")


def test_a_table_of_another_length_is_refused(v2, converted):
    change_table(v2 / TABLE, lambda table: table.slice(0, 10))
    refused(v2, converted, "episode_000001.parquet", "has 10 rows of episode 1, expected 19")


def test_times_that_do_not_ascend_are_refused(v2, converted):
    def same(table):
        column = pyarrow.array(np.zeros(table.num_rows, np.float32))
        return table.set_column(table.schema.get_field_index("timestamp"), "timestamp", column)

    change_table(v2 / TABLE, same)
    refused(v2, converted, "episode_000001.parquet", "times of episode 1 do not ascend")


@pytest.mark.parametrize("version", ["v1.6", "v4.0"])
def test_other_versions_are_refused(v2, converted, version):
    change(v2, codebase_version=version)
    assert "script" in refused(v2, converted, "meta/info.json", version).remedy


@pytest.mark.parametrize("content", ["", "[]", "{", '{"codebase_version": "v2.1"}', '{"a":' * 50_000, "\xff"])
def test_a_damaged_description_is_refused(v2, converted, content):
    (v2 / "meta" / "info.json").write_text(content, encoding="latin-1")
    refused(v2, converted, "meta/info.json")


def test_a_set_of_before_the_statistics_by_episode_is_read(v2, converted, aligned):
    change(v2, codebase_version="v2.0")
    (v2 / "meta" / "episodes_stats.jsonl").unlink()
    aligned(converted(v2, camera="front").episodes)


def test_actions_in_several_columns_are_one_action(v2, converted, aligned):
    info = json.loads((v2 / "meta" / "info.json").read_text())
    feature = info["features"].pop("action")
    for name in ("action.arm", "action.hand"):
        info["features"][name] = {**feature, "shape": [1], "names": None}
    change(v2, features=info["features"])

    def split(table):
        values = np.array(table.column("action").to_pylist(), np.float32)
        table = table.append_column("action.arm", pyarrow.array(values[:, 0]))
        return table.append_column("action.hand", pyarrow.array(values[:, 1])).drop_columns(["action"])

    for file in (v2 / "data" / "chunk-000").iterdir():
        change_table(file, split)
    made = converted(v2, camera="front")
    aligned(made.episodes)
    assert made.said[1] == "actions: action.arm, action.hand (2 numbers), in the robot's units"


def test_an_image_camera_whose_pictures_are_other_files_is_refused(v3, converted):
    def emptied(table):
        rows = [{"bytes": None, "path": "../../etc/passwd"}] * table.num_rows
        at = table.schema.get_field_index("observation.images.wrist")
        kind = table.schema.field(at).type
        return table.set_column(at, "observation.images.wrist", pyarrow.array(rows, kind))

    change_table(next((v3 / "data").glob("*/*.parquet")), emptied)
    with pytest.raises(DataError, match=r"row 0 of episode 0 of 'observation\.images\.wrist'.* names a file"):
        converted(v3, camera="wrist")


def test_pictures_are_read_from_the_row_groups_that_hold_the_episode(v3, converted, aligned):
    file = next((v3 / "data").glob("*/*.parquet"))
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file), file, row_group_size=7)
    aligned(converted(v3, camera="wrist").episodes, camera="wrist")


@pytest.mark.parametrize(("camera", "place"), [("wrist", "data"), ("front", "data"), ("front", "meta/episodes")])
def test_a_table_that_unpacks_to_more_than_memory_is_refused(v3, converted, monkeypatch, camera, place):
    file = next((v3 / place).glob("*/*.parquet"))
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(table.take(pyarrow.array([0] * 20_000)), file, compression="zstd")
    size = file.stat().st_size
    monkeypatch.setattr("lewm_data.parquet.memory_limit", lambda: size)  # it is read where it is not compressed so far
    with pytest.raises(DataError, match=r"file-000\.parquet: unpacks to .* bytes, at most .* are read here"):
        converted(v3, camera=camera)


@pytest.mark.parametrize("lengths", [(1, 3), (3, 1), (0, 2)])
def test_lists_of_different_lengths_are_refused(v2, converted, lengths):
    def uneven(table):
        at = table.schema.get_field_index("action")
        rows = table.column(at).to_pylist()
        for row, length in enumerate(lengths):
            rows[row] = [0.5] * length
        return table.set_column(at, "action", pyarrow.array(rows, pyarrow.list_(pyarrow.float32())))

    change_table(v2 / TABLE, uneven)
    refused(v2, converted, "'action' is not a number, or a list of as many numbers, in every row")


def test_a_damaged_picture_in_a_table_is_named(v3, converted):
    def cut(table):
        at = table.schema.get_field_index("observation.images.wrist")
        rows = table.column(at).to_pylist()
        rows[9]["bytes"] = rows[9]["bytes"][:50]
        return table.set_column(at, "observation.images.wrist", pyarrow.array(rows, table.schema.field(at).type))

    change_table(next((v3 / "data").glob("*/*.parquet")), cut)
    with pytest.raises(DataError, match=r"row 2 of episode 1 of 'observation\.images\.wrist'"):
        converted(v3, camera="wrist")


def test_a_shared_video_that_ends_early_is_refused(v3, converted):
    def later(table):
        name = f"videos/{FRONT}/from_timestamp"
        at = table.schema.get_field_index(name)
        return table.set_column(at, name, pyarrow.array([0.0, 0.7, 3.0]))

    change_table(next((v3 / "meta" / "episodes").glob("*/*.parquet")), later)
    refused(v3, converted, "file-000.mp4", "ends before 5.1")


def test_a_shared_video_with_a_gap_is_refused(v3, converted):
    video = next((v3 / "videos" / FRONT).glob("*/*.mp4"))
    frames = np.zeros((26, 48, 64, 3), np.uint8)
    write_video(video, frames, fps=5.0)  # half the pictures of the same time
    refused(v3, converted, "file-000.mp4", "has no picture at 0.1")


def test_a_dataset_without_a_camera_or_actions_is_refused(v2, converted):
    info = json.loads((v2 / "meta" / "info.json").read_text())
    numbers = {name: one for name, one in info["features"].items() if one["dtype"] != "video"}
    change(v2, features=numbers)
    refused(v2, converted, "has no camera")
    change(v2, features={name: one for name, one in info["features"].items() if name != "action"})
    refused(v2, converted, "has no actions")


@pytest.mark.parametrize("robot", ["so\0100", "so\ud800", "x" * 70_000, 7, None])
def test_a_robot_that_no_attribute_can_name_is_left_out(v2, converted, robot):
    change(v2, robot_type=robot)
    assert "robot" not in converted(v2, camera="front").attributes


def test_a_map_of_numbers_is_left_out(v2, converted):
    info = json.loads((v2 / "meta" / "info.json").read_text())
    info["features"]["observation.heights"] = {"dtype": "float32", "shape": [48, 64], "names": None}
    change(v2, features=info["features"])
    said = converted(v2, camera="front").said
    assert any(line.startswith("left out: ") and "observation.heights" in line for line in said)


def test_a_camera_of_distances_is_no_camera(v2, converted):
    info = json.loads((v2 / "meta" / "info.json").read_text())
    info["features"]["observation.images.wrist"]["info"]["video.is_depth_map"] = True
    change(v2, features=info["features"])
    source = lerobot.opens(v2, None)
    assert source.assumptions[0] == f"camera {FRONT}, the only one"


@pytest.mark.parametrize("stated", [5, 30])
def test_a_rate_that_the_times_of_the_rows_do_not_have_is_refused_unless_one_is_given(
    v2, converted, aligned, scene, tmp_path, stated
):
    change(v2, fps=stated)
    error = refused(v2, converted, f"has 10 rows a second by their times, meta/info.json {stated}")
    assert f"--fps {min(10, stated)}, or less" in error.remedy
    assert not (tmp_path / "converted.h5").exists()
    made = converted(v2, camera="front", fps=10.0)
    aligned(made.episodes)  # pictures go by the times, too
    assert made.attributes["fps"] == 10
    assert "10 steps a second of 10; the first action in between is taken" in made.said
    assert f"rows go by their times, 10 a second; meta/info.json says {stated}" in made.said
    made = converted(v2, camera="front", fps=5.0)
    assert [scene.read(frame) for frame in made.episodes[0]["pixels"]] == [
        (0, step) for step in range(0, scene.LENGTHS[0], 2)
    ]
