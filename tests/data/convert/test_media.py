"""Folders of videos and pictures with tables of actions, as datasets."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.video.video_writer import write_video
from tests.data.convert.recordings import (
    actions,
    assert_shows,
    converted,
    frames,
    level,
    levels,
    write_recording,
    write_table,
    write_video_only,
)

pytest.importorskip("av")


def test_videos_with_a_row_a_picture(tmp_path):
    for name, rows in (("push-2", 8), ("push-10", 13), ("push-1", 5)):
        write_recording(tmp_path / "in", name, rows, seed=rows)
    report, said, episodes, attributes = converted(tmp_path / "in", tmp_path / "out.h5")
    assert [len(one["pixels"]) for one in episodes] == [5, 8, 13]  # in natural order
    for episode, rows in zip(episodes, (5, 8, 13), strict=True):
        assert episode["pixels"].shape[1:] == (48, 48, 3)
        assert_shows(episode, range(rows))
        np.testing.assert_allclose(episode["action"][:-1], actions(rows, rows)[:-1], atol=1e-5)
        assert np.isnan(episode["action"][-1]).all()
        np.testing.assert_array_equal(episode["step_idx"], np.arange(rows))
    assert attributes["fps"] == pytest.approx(10)
    assert attributes["env"] == "in"
    assert attributes["fit"] == "crop"
    assert (report.episodes, report.frames, report.left_out) == (3, 26, ())
    assert report.footage == pytest.approx(2.3)
    assert said == (
        "actions: dx, dy (2 numbers)",
        "row t is the action taken from picture t on",
        "pictures of 64 x 48 become frames of 48 x 48; 25% of each is cut off, left and right (--fit letterbox keeps "
        "all)",
        "as many actions as pictures: no picture follows the last one of an episode, which is left out",
        "10 steps a second, as recorded",
    )


def test_a_row_less_than_pictures_is_one_between_each_two(tmp_path):
    write_recording(tmp_path / "in", "a", 6)
    write_table(tmp_path / "in" / "a.csv", actions(5))
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert len(episode["pixels"]) == 6
    np.testing.assert_allclose(episode["action"][:-1], actions(5), atol=1e-5)
    assert "one picture more than actions: the last picture of an episode has none" in said


def test_pictures_in_folders(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    for number in range(12):
        (tmp_path / "in" / "run").mkdir(parents=True, exist_ok=True)
        image.imsave(tmp_path / "in" / "run" / f"{number}.png", frames(12)[number])
    write_table(tmp_path / "in" / "run" / "actions.csv", actions(12))
    _, said, (episode,), attributes = converted(tmp_path / "in", tmp_path / "out.h5", fps=5.0)
    np.testing.assert_array_equal(levels(episode["pixels"]), [level(step) for step in range(12)])
    assert attributes["fps"] == 5.0
    assert "5 steps a second, as you say" in said
    _, said, _, attributes = converted(tmp_path / "in", tmp_path / "other.h5")
    assert "fps" not in attributes
    assert "no clock: how fast it was recorded is not known" in said
    write_table(tmp_path / "in" / "run" / "actions.csv", actions(12), times=np.arange(12) / 4)
    _, said, (episode,), attributes = converted(tmp_path / "in", tmp_path / "third.h5", fps=2.0)
    np.testing.assert_array_equal(levels(episode["pixels"]), [level(step) for step in range(0, 12, 2)])
    assert "row t belongs to picture t, at the time in column time" in said


@pytest.mark.parametrize("table", ["actions.csv", "recording.csv"])
def test_one_recording_of_pictures_may_be_the_source(tmp_path, monkeypatch, table):
    image = pytest.importorskip("matplotlib.image")
    (tmp_path / "recording").mkdir()
    for number in range(5):
        image.imsave(tmp_path / "recording" / f"{number}.png", frames(5)[number])
    write_table(tmp_path / "recording" / table, actions(5))
    monkeypatch.chdir(tmp_path / "recording")
    for source, out in ((tmp_path / "recording", "a.h5"), (Path(), "b.h5")):
        _, _, (episode,), attributes = converted(source, tmp_path / out)
        np.testing.assert_array_equal(levels(episode["pixels"]), [level(step) for step in range(5)])
        assert attributes["env"] == "recording"


def test_a_table_beside_the_source_is_no_part_of_it(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    (tmp_path / "demos" / "push").mkdir(parents=True)
    for number in range(5):
        image.imsave(tmp_path / "demos" / "push" / f"{number}.png", frames(5)[number])
    write_table(tmp_path / "demos" / "push.csv", actions(5))
    with pytest.raises(DataError, match=r"no table of actions among them\n.*push/actions\.csv.*the folder in which"):
        converted(tmp_path / "demos" / "push", tmp_path / "out.h5")
    _, _, (episode,), _ = converted(tmp_path / "demos", tmp_path / "out.h5")
    np.testing.assert_array_equal(levels(episode["pixels"]), [level(step) for step in range(5)])
    shutil.move(tmp_path / "demos" / "push.csv", tmp_path / "demos" / "push" / "actions.csv")
    assert len(converted(tmp_path / "demos" / "push", tmp_path / "other.h5")[2]) == 1


def test_several_cameras_need_a_choice(tmp_path):
    for camera, shift in (("front", 0), ("wrist", 9)):
        (tmp_path / "in" / camera).mkdir(parents=True)
        write_video(tmp_path / "in" / camera / "a.mp4", frames(20)[shift : shift + 8], 10.0)
    (tmp_path / "in" / "actions").mkdir()
    np.save(tmp_path / "in" / "actions" / "a.npy", actions(8))
    with pytest.raises(DataError, match=r"has 2 cameras: front, wrist\nName one: --camera front"):
        converted(tmp_path / "in", tmp_path / "out.h5")
    with pytest.raises(DataError, match=r'unknown camera .* "wrst"\nDid you mean "wrist"'):
        converted(tmp_path / "in", tmp_path / "out.h5", camera="wrst")
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", camera="wrist")
    assert_shows(episode, range(9, 17))
    assert said[0] == "camera wrist; left out: front"
    assert said[1] == "actions: all columns, which have no names (2 numbers)"


def test_other_columns_are_kept(tmp_path):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", frames(4), 10.0)
    (tmp_path / "in" / "a.csv").write_text(
        "frame,action_x,action_y,state.x,state.y,reward,grip\n"
        "0,1,2,3,4,5,6\n1,1,2,3.5,4,5,6\n2,1,2,3,4,5,6\n3,1,2,3,4.5,5,7\n"
    )
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    np.testing.assert_array_equal(episode["state"], [[3, 4], [3.5, 4], [3, 4], [3, 4.5]])
    np.testing.assert_array_equal(episode["grip"][:, 0], [6, 6, 6, 7])
    np.testing.assert_array_equal(episode["reward"], [5, 5, 5, 0])
    np.testing.assert_array_equal(episode["action"][:-1], [[1, 2]] * 3)
    assert "columns kept: state (state.x, state.y); reward; grip" in said
    assert "columns left out: frame" in said


def test_what_has_no_partner_is_named(tmp_path):
    write_recording(tmp_path / "in", "a", 5)
    write_video(tmp_path / "in" / "b.mp4", frames(5), 10.0)
    write_table(tmp_path / "in" / "c.csv", actions(5))
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert len(episodes) == 1
    assert "left out, without actions: b" in said
    assert "left out, without pictures: c" in said
    (tmp_path / "in" / "a.csv").unlink()
    with pytest.raises(DataError, match=r"no actions for any of its 2 recordings, such as a\n.*a\.csv"):
        converted(tmp_path / "in", tmp_path / "other.h5")


def spoil(folder, what):
    """Damages the second of three recordings."""
    if what == "rows":
        write_table(folder / "b.csv", actions(3))
    elif what == "columns":
        write_table(folder / "b.csv", actions(8), header="dx,dz")
    elif what == "video":
        data = (folder / "b.mp4").read_bytes()
        (folder / "b.mp4").write_bytes(data[: len(data) // 2])
    elif what == "number":
        values = actions(8)
        values[3] = np.inf
        write_table(folder / "b.csv", values)
    elif what == "text":
        (folder / "b.csv").write_text("dx,dy\n1,up\n")


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("rows", "has 3 rows, expected 8 or 7, as b.mp4 has 8 pictures"),
        ("columns", "has the columns dx, dz, the first table has dx, dy"),
        ("video", "b.mp4: is not a video that can be read"),
        ("number", "action 3, counted from 0, is no number"),
        ("text", "b.csv: column 'dy' holds text, or too many numbers"),
    ],
)
def test_a_damaged_recording_stops_or_is_left_out(tmp_path, what, problem):
    for name in "abc":
        write_recording(tmp_path / "in", name, 8)
    spoil(tmp_path / "in", what)
    with pytest.raises(DataError, match=problem):
        converted(tmp_path / "in", tmp_path / "out.h5")
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert dataset.num_episodes == 1  # what came before is kept
    report, _, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5", skip_damaged=True)  # and gone on with
    assert [int(one["episode_idx"][0]) for one in episodes] == [0, 2]
    ((name, why),) = report.left_out
    assert name == "b.mp4"
    assert problem in why


def test_parts_and_what_is_there_already(tmp_path):
    for name in "abcde":
        write_recording(tmp_path / "in", name, 5)
    numbers = []
    for part in (1, 2):
        _, said, episodes, _ = converted(tmp_path / "in", tmp_path / f"{part}.h5", part=(part, 2))
        numbers += [int(one["episode_idx"][0]) for one in episodes]
        assert f"part {part} of 2: the rest goes into other files, which lewm data merge joins" in said
    assert numbers == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="is complete already"):
        converted(tmp_path / "in", tmp_path / "1.h5", part=(1, 2))
    with pytest.raises(DataError, match="is not of this conversion"):
        converted(tmp_path / "in", tmp_path / "1.h5")
    shutil.copy(tmp_path / "2.h5", tmp_path / "1.h5")
    converted(tmp_path / "in", tmp_path / "1.h5", overwrite=True)
    for part in ((0, 2), (3, 2), (1, 9)):
        with pytest.raises(DataError, match=r"part \d of|too few"):
            converted(tmp_path / "in", tmp_path / "none.h5", part=part)


def test_what_is_in_no_known_format_says_so(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="is in no format that is known here"):
        converted(tmp_path / "in", tmp_path / "out.h5")
    with pytest.raises(DataError, match="no such file or folder"):
        converted(tmp_path / "none", tmp_path / "out.h5")


def test_a_row_that_is_missing_is_noticed_by_the_counter(tmp_path):
    write_recording(tmp_path / "in", "a", 5)
    (tmp_path / "in" / "a.csv").write_text("frame,dx\n0,1\n1,1\n3,1\n4,1\n5,1\n")
    with pytest.raises(DataError, match="column 'frame' goes from 1 to 3 at row 2"):
        converted(tmp_path / "in", tmp_path / "out.h5")


def test_another_source_of_the_same_name_is_not_gone_on_with(tmp_path):
    for folder in ("x", "y"):
        write_recording(tmp_path / folder / "in", "a", 5)
    converted(tmp_path / "x" / "in", tmp_path / "out.h5")
    with pytest.raises(DataError, match="is not of this conversion"):
        converted(tmp_path / "y" / "in", tmp_path / "out.h5")


def test_the_first_recording_may_be_the_damaged_one(tmp_path):
    for name in "ab":
        write_recording(tmp_path / "in", name, 8)
    (tmp_path / "in" / "a.csv").write_text("dx,dy\n1,up\n")
    report, _, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", skip_damaged=True)
    assert int(episode["episode_idx"][0]) == 1
    assert [name for name, _ in report.left_out] == ["a.mp4"]


@pytest.mark.parametrize("change", ["another action", "another name"])
def test_a_source_that_has_changed_is_noticed(tmp_path, change):
    for name in "ab":
        write_recording(tmp_path / "in", name, 8)
    out = tmp_path / "in" / "out.h5"  # a dataset in the source's folder is no change of it
    converted(tmp_path / "in", out)
    with pytest.raises(DataError, match="is complete already"):
        converted(tmp_path / "in", out)
    if change == "another action":
        write_table(tmp_path / "in" / "a.csv", actions(8, seed=5))
    else:
        for ending in ("mp4", "csv"):
            (tmp_path / "in" / f"a.{ending}").rename(tmp_path / "in" / f"c.{ending}")
    with pytest.raises(DataError, match="is not of this conversion"):
        converted(tmp_path / "in", out)


def test_a_table_without_actions_is_refused(tmp_path):
    write_video_only(tmp_path / "in", 5, 10.0)
    write_table(tmp_path / "in" / "a.csv", actions(5), header="state_x,state_y")
    with pytest.raises(DataError, match="no column of actions among state_x, state_y"):
        converted(tmp_path / "in", tmp_path / "out.h5")


def test_columns_of_text_are_left_out_and_named(tmp_path):
    for name, task in (("a", "push"), ("b", "")):
        write_recording(tmp_path / "in", name, 8)
        file = tmp_path / "in" / f"{name}.csv"
        lines = file.read_text().splitlines()
        file.write_text("\n".join([f"task,{lines[0]}", *(f"{task},{line}" for line in lines[1:])]))
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert said[:2] == ("actions: dx, dy (2 numbers)", "columns left out: task")
    for episode in episodes:
        np.testing.assert_allclose(episode["action"][:-1], actions(8)[:-1], atol=1e-6)


def test_columns_of_too_many_numbers_are_left_out_and_named(tmp_path):
    write_video_only(tmp_path / "in", 5, 10.0)
    beams = {f"beam_{number}": 0 for number in range(2049)}
    rows = [{"action": [row, 1], "picture": [0] * 2049, "state": [row] * 3, **beams} for row in range(5)]
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    shown = ", ".join(f"beam_{number}" for number in range(8))
    assert f"columns left out: {shown} and 2042 more" in said
    assert "columns kept: state" in said
    assert not {"beam", "picture"} & episode.keys()


@pytest.mark.parametrize("table", ["action", "nothing"])
def test_an_action_of_too_many_numbers_is_refused(tmp_path, table):
    write_video_only(tmp_path / "in", 5, 10.0)
    names = [f"{table}_{number}" for number in range(2049)]
    write_table(tmp_path / "in" / "a.csv", np.zeros((5, 2049)), header=",".join(names))
    with pytest.raises(DataError, match="an action of 2049 numbers, at most 2048 are read"):
        converted(tmp_path / "in", tmp_path / "out.h5")


def numbered(folder, rows, first="0,1"):
    """Tables that begin with a line that may be names, and have as many rows after it."""
    for name in "ab":
        write_recording(folder, name, 8, header=first)
        lines = (folder / f"{name}.csv").read_text().splitlines()
        (folder / f"{name}.csv").write_text("\n".join(lines[: rows + 1]))


def test_a_first_line_that_counts_is_names_where_the_pictures_say_so(tmp_path):
    numbered(tmp_path / "in", 8)
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "the first line of a table, 0,1, is names: the lines after it are as many as is usual" in said
    for episode in episodes:
        np.testing.assert_allclose(episode["action"][:-1], actions(8)[:-1], atol=1e-6)
        assert_shows(episode, range(8))
    (tmp_path / "in" / "b.csv").write_text("1,1\n" * 9)
    with pytest.raises(DataError, match=r"b\.csv: does not begin with 0,1, the names of the columns"):
        converted(tmp_path / "in", tmp_path / "out.h5", overwrite=True)


def test_a_first_line_that_counts_is_an_action_where_the_pictures_say_so(tmp_path):
    numbered(tmp_path / "in", 6)
    _, said, (episode, _), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "the first line of a table, 0,1, is numbers, and no names" in said
    np.testing.assert_array_equal(episode["action"][0], [0, 1])


def test_a_first_line_that_may_be_either_is_refused_unless_it_is_one_number(tmp_path):
    numbered(tmp_path / "in", 7)
    with pytest.raises(DataError, match="may be the names of the columns, or numbers\nName the columns there"):
        converted(tmp_path / "in", tmp_path / "out.h5")
    for name in "ab":
        (tmp_path / "in" / f"{name}.csv").write_text("0\n1\n" * 4)
    _, said, (episode, _), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "the first line of a table, 0, is numbers, and no names" in said
    np.testing.assert_array_equal(episode["action"][:-1, 0], [0, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(8, "is names, as it has 9 lines for 8 pictures; the first table begins with numbers"), (7, "or numbers")],
)
def test_a_later_first_line_that_counts_is_decided_by_its_own_pictures(tmp_path, rows, expected):
    numbered(tmp_path / "in", rows)
    write_table(tmp_path / "in" / "a.csv", actions(8), header="")
    with pytest.raises(DataError, match=rf"b\.csv: its first line, 0,1, .*{expected}"):
        converted(tmp_path / "in", tmp_path / "out.h5")
    numbered(tmp_path / "in", 6)  # the line and six more: as many actions as lie between eight pictures
    write_table(tmp_path / "in" / "a.csv", actions(8), header="")
    _, _, (_, episode), _ = converted(tmp_path / "in", tmp_path / "out.h5", overwrite=True)
    np.testing.assert_array_equal(episode["action"][0], [0, 1])


def test_a_later_first_line_that_may_be_either_is_what_that_of_the_first_table_is(tmp_path):
    numbered(tmp_path / "in", 8)
    lines = (tmp_path / "in" / "b.csv").read_text().splitlines()
    (tmp_path / "in" / "b.csv").write_text("\n".join(lines[:-1]))
    _, _, (_, episode), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    np.testing.assert_allclose(episode["action"][:-1], actions(8)[:-1], atol=1e-6)


def test_a_later_first_line_of_numbers_is_none_of_names(tmp_path):
    numbered(tmp_path / "in", 8)
    lines = (tmp_path / "in" / "b.csv").read_text().splitlines()
    (tmp_path / "in" / "b.csv").write_text("\n".join(lines[:-2]))
    with pytest.raises(DataError, match=r"is numbers, as it has 7 lines for 8 pictures; the first table begins with n"):
        converted(tmp_path / "in", tmp_path / "out.h5")
