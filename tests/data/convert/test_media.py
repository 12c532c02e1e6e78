"""Folders of videos and pictures with tables of actions, as datasets."""

import importlib.util
import json
import shutil
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.convert.convert import convert
from lewm_data.convert.request import Request
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.source_names import sources_text
from lewm_data.store.verify import verify
from lewm_data.store.writer import Writer
from lewm_data.video.video_writer import write_video

av = pytest.importorskip("av")
_spec = importlib.util.spec_from_file_location("recordings", Path(__file__).with_name("recordings.py"))
recordings = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recordings)
actions, frames, level, levels = recordings.actions, recordings.frames, recordings.level, recordings.levels
write_recording, write_table = recordings.write_recording, recordings.write_table
LOSSY = 6.0  # levels by which H.264 may change a grey patch


def converted(source, out, **settings):
    """The report, the assumptions and the episodes of a conversion."""
    plans = []
    report = convert(Request(source, out, **settings), plans.append)
    with Dataset.open(out) as dataset:
        assert verify(dataset).differing == ()
        return (
            report,
            plans[0].assumptions,
            [dataset.episode(i) for i in range(dataset.num_episodes)],
            dataset.attributes,
        )


def assert_shows(episode, steps):
    expected = np.array([level(step) for step in steps], float)
    np.testing.assert_allclose(levels(episode["pixels"]), expected, atol=LOSSY)


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
        "actions: dx, dy",
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


@pytest.mark.parametrize(("how", "expected"), [("hold", "first"), ("mean", "mean"), ("sum", "sum")])
def test_times_and_a_rate(tmp_path, how, expected):
    rows = 24
    write_recording(tmp_path / "in", "a", rows, 30.0, times=np.arange(rows) / 30)
    _, said, (episode,), attributes = converted(
        tmp_path / "in", tmp_path / "out.h5", fps=10.0, resample=how, frame_size=24, fit="letterbox"
    )
    assert_shows(episode, range(0, rows, 3))
    threes = actions(rows).reshape(-1, 3, 2)
    wanted = {"first": threes[:, 0], "mean": threes.mean(axis=1), "sum": threes.sum(axis=1)}[expected]
    np.testing.assert_allclose(episode["action"][:-1], wanted[:-1], atol=1e-4)
    assert episode["pixels"].shape[1:] == (24, 24, 3)
    assert (episode["pixels"][:, :2] == 0).all()  # the bars
    assert (attributes["fps"], attributes["resample"], attributes["fit"]) == (10.0, how, "letterbox")
    assert any("shown at its time: column time, in s from the first picture on; rows outside" in one for one in said)
    assert any(one.startswith("10 steps a second of 30; ") for one in said)


def test_a_log_at_another_rate_than_the_video_is_paired_by_its_times(tmp_path):
    """A joystick that writes 20 rows a second, in milliseconds of the day, beside a video of 10 pictures a second."""
    write_recording(tmp_path / "in", "a", 30, 10.0)
    times = 43_200_000 + np.arange(40) * 50.0
    write_table(tmp_path / "in" / "a.csv", actions(40), times=times)
    _, said, (episode,), attributes = converted(tmp_path / "in", tmp_path / "out.h5")
    assert attributes["fps"] == pytest.approx(20)
    assert_shows(episode, np.arange(40) // 2)
    np.testing.assert_allclose(episode["action"][:-1], actions(40)[:-1], atol=1e-5)
    assert any("column time, in ms from the first row on" in one for one in said)


def test_rows_outside_of_the_video_are_left_out(tmp_path):
    write_recording(tmp_path / "in", "a", 10, 10.0)
    write_table(tmp_path / "in" / "a.csv", actions(12), times=0.25 + np.arange(12) / 10)
    _, _, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert_shows(episode, range(2, 10))
    np.testing.assert_allclose(episode["action"][:-1], actions(12)[:7], atol=1e-5)


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
    assert said[1] == "actions: all columns, which have no names"


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
        ("text", "line 2: expected numbers"),
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


def test_times_that_do_not_ascend_are_refused(tmp_path):
    write_recording(tmp_path / "in", "a", 8, times=np.zeros(8))
    with pytest.raises(DataError, match="column 'time' does not ascend at row 1"):
        converted(tmp_path / "in", tmp_path / "out.h5")


def test_more_steps_a_second_than_recorded_are_refused(tmp_path):
    write_recording(tmp_path / "in", "a", 8, 10.0)
    with pytest.raises(DataError, match=r"10 rows a second were recorded, 20 are asked for\nGive --fps 10 or less"):
        converted(tmp_path / "in", tmp_path / "out.h5", fps=20.0)


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


@pytest.mark.parametrize("fps", [24.0, 29.97, 30.0, 50.0, 60.0])
@pytest.mark.parametrize("digits", [3, 6])
def test_times_that_are_rounded_belong_to_their_pictures(tmp_path, fps, digits):
    rows = 40
    write_video_only(tmp_path / "in", rows, fps)
    with (tmp_path / "in" / "a.csv").open("w") as file:
        file.write("time,dx\n")
        file.writelines(f"{row / fps:.{digits}f},{row}\n" for row in range(rows))
    _, _, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert_shows(episode, range(rows))


def write_video_only(folder, rows, fps):
    folder.mkdir()
    write_video(folder / "a.mp4", frames(rows), fps)


@pytest.mark.parametrize(("header", "scale"), [("timestamp", 1e3), ("t", 1e6), ("time", 1e9), ("time_seconds", 1.0)])
def test_the_unit_of_a_fast_log_is_that_in_which_it_is_as_long_as_the_video(tmp_path, header, scale):
    write_video_only(tmp_path / "in", 20, 10.0)
    with (tmp_path / "in" / "a.csv").open("w") as file:
        file.write(f"{header},dx\n")
        file.writelines(f"{row / 500 * scale:.6f},{row}\n" for row in range(1000))
    _, _, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", fps=10.0)
    assert len(episode["pixels"]) == 20
    assert_shows(episode, range(20))
    np.testing.assert_array_equal(episode["action"][:-1, 0], 50 * np.arange(19))


def test_a_log_that_begins_before_the_video_loses_its_first_rows(tmp_path):
    write_video_only(tmp_path / "in", 20, 10.0)
    write_table(tmp_path / "in" / "a.csv", actions(20), times=-0.2 + np.arange(20) / 10)
    _, _, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert_shows(episode, range(18))
    np.testing.assert_allclose(episode["action"][:-1], actions(20)[2:19], atol=1e-5)


@pytest.mark.parametrize("how", ["hold", "mean", "sum"])
def test_a_gap_in_the_log_adds_nothing_twice(tmp_path, how):
    write_video_only(tmp_path / "in", 20, 10.0)
    times = np.array([0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 1.3, 1.4])
    write_table(tmp_path / "in" / "a.csv", np.arange(1.0, 10)[:, None], header="dx", times=times)
    _, _, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", fps=5.0, resample=how)
    found = episode["action"][:-1, 0]
    assert np.isfinite(found).all()
    if how == "sum":
        assert found.sum() == np.arange(1.0, 9).sum()  # no picture follows row 9
    else:
        assert (found[2:4] == 4).all()  # the action before the gap is held


def test_recordings_at_another_rate_than_the_first_stop_or_are_left_out(tmp_path):
    for name, fps in (("a", 30.0), ("b", 10.0)):
        write_recording(tmp_path / "in", name, 12, fps)
    with pytest.raises(DataError, match=r"has 10 rows a second by their times, the first episode 30\n.*--fps 10"):
        converted(tmp_path / "in", tmp_path / "out.h5")
    _, _, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5", fps=10.0, overwrite=True)
    assert [len(one["pixels"]) for one in episodes] == [4, 12]


def test_pictures_of_different_sizes_are_all_told(tmp_path, caplog):
    for name, sides in (("a", (48, 64)), ("b", (64, 48)), ("c", (48, 64)), ("d", (48, 48))):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_table(tmp_path / "in" / f"{name}.csv", actions(5))
        write_video(tmp_path / "in" / f"{name}.mp4", frames(5, sides), 10.0)
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5", fit="letterbox")
    assert said[2:6] == (
        "3 sizes of pictures: 64 x 48 in 2 episodes, 48 x 64 in 1 episodes, 48 x 48 in 1 episodes",
        "pictures of 64 x 48 become frames of 48 x 48, with black bars above and below",
        "pictures of 48 x 64 become frames of 48 x 48, with black bars left and right",
        "frames of 48 x 48, as recorded",
    )
    assert (episodes[1]["pixels"][:, :, :4] == 0).all()  # the bars
    assert not caplog.messages  # what was said before is not said again for each episode
    _, said, _, _ = converted(tmp_path / "in", tmp_path / "part.h5", fit="letterbox", part=(4, 4))
    assert said[2] == "frames of 48 x 48, as recorded"  # a part tells its own


def test_of_many_recordings_some_are_looked_at_and_other_sizes_are_told_when_they_come(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("lewm_data.convert.assumptions.MOST_LOOKED_AT", 3)
    for name, sides in zip("abcdef", ((48, 64), (48, 48), (64, 48), (48, 64), (48, 64), (48, 64)), strict=True):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_table(tmp_path / "in" / f"{name}.csv", actions(5))
        write_video(tmp_path / "in" / f"{name}.mp4", frames(5, sides), 10.0)
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5", fit="letterbox")
    assert len(episodes) == 6
    assert said[2] == "2 sizes of pictures: 64 x 48 in 2 episodes, 48 x 64 in 1 episodes, of 3 that were looked at"
    (told,) = caplog.messages
    assert told.endswith("b.mp4: frames of 48 x 48, as recorded")


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


@pytest.mark.parametrize("header", ["Timestamp (ms),vx,vy", "Time [s],vx,vy", "t_ms,vx,vy", "stamp_seconds,vx,vy"])
def test_units_in_the_names_of_columns(tmp_path, header):
    scale = 1000 if "ms" in header else 1
    write_video_only(tmp_path / "in", 20, 10.0)
    with (tmp_path / "in" / "a.csv").open("w") as file:
        file.write(header + "\n")
        file.writelines(f"{row * scale / 10:g},{row},0\n" for row in range(20))
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert said[0] == "actions: vx, vy"
    assert_shows(episode, range(20))


def test_a_table_without_actions_is_refused(tmp_path):
    write_video_only(tmp_path / "in", 5, 10.0)
    write_table(tmp_path / "in" / "a.csv", actions(5), header="state_x,state_y")
    with pytest.raises(DataError, match="no column of actions among state_x, state_y"):
        converted(tmp_path / "in", tmp_path / "out.h5")


def test_pictures_that_are_there_several_times_are_told(tmp_path):
    write_video_only(tmp_path / "in", 10, 10.0)
    write_table(tmp_path / "in" / "a.csv", actions(40), times=np.arange(40) / 40)
    _, said, _, _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "more rows than pictures: each picture is there 4.0 times (--fps 10 avoids it)" in said


def write_anamorphic(path, rows, shape):
    """A video of 48 x 48 pixels that are `shape` times as wide as high."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 48, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = shape
        for frame in frames(rows, (48, 48)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def test_pixels_that_are_not_square_are_made_so_and_it_is_said(tmp_path):
    write_recording(tmp_path / "in", "a", 5)
    write_anamorphic(tmp_path / "in" / "a.mp4", 5, Fraction(4, 3))
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", fit="letterbox")
    assert said[2:4] == (
        "pixels are not square: pictures of 48 x 48 are shown as 64 x 48, as their file asks for",
        "pictures of 64 x 48 become frames of 48 x 48, with black bars above and below",
    )
    assert (episode["pixels"][:, :4] == 0).all()  # the bars
    assert (episode["pixels"][:, 8:40].mean(axis=(1, 2, 3)) > 20).all()


@pytest.mark.parametrize(
    ("recorded", "asked", "taken", "said"),
    [
        (30.0, 20.0, (1, 2), "1 or 2 rows apart; --fps 15 or 30 makes them even"),
        (30.0, 12.0, (2, 3), "2 or 3 rows apart; --fps 10 or 15 makes them even"),
        (30.0, 10.0, (3,), None),
        (29.97, 10.0, (3,), None),  # a rate that is rounded
        (30.0, 30.0, (1,), None),
    ],
)
def test_steps_that_are_uneven_are_told_with_the_rates_that_are_not(tmp_path, recorded, asked, taken, said):
    write_recording(tmp_path / "in", "a", 31, recorded)
    _, assumptions, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", fps=asked)
    shown = [int(np.abs(level(np.arange(31)) - found).argmin()) for found in levels(episode["pixels"])[:11]]
    assert set(np.diff(shown).tolist()) == set(taken)
    found = [one for one in assumptions if "uneven" in one]
    assert found == ([] if said is None else [f"the steps are uneven, {said}"])


def test_the_names_of_recordings_and_of_the_numbers_of_an_action_are_kept(tmp_path):
    for name in ("push-10", "push-2", "push-3"):
        write_recording(tmp_path / "in", name, 6)
    (tmp_path / "in" / "push-3.csv").write_text("dx,dy\n1,up\n")
    converted(tmp_path / "in", tmp_path / "out.h5", skip_damaged=True)
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert [dataset.source_of(episode) for episode in (0, 1)] == ["push-2.mp4", "push-10.mp4"]
        assert dataset.said(1) == "episode 1 (push-10.mp4)"
        assert dataset.action_names == ("dx", "dy")
    converted(tmp_path / "in", tmp_path / "part.h5", part=(3, 3))
    with Dataset.open(tmp_path / "part.h5") as dataset:
        assert dataset.source_of(0) == "push-10.mp4"
        assert json.loads(dataset.attributes["sources"]) == {"2": "push-10.mp4"}


def test_an_error_about_an_episode_names_its_recording(tmp_path):
    for name in "ab":
        write_recording(tmp_path / "in", name, 6)
    converted(tmp_path / "in", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "a") as file:
        file["pixels"][8] = 3
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert "the frame at step 2 of episode 1 (b.mp4) is not" in verify(dataset).first_difference


def test_numbers_of_an_action_without_names_have_none(tmp_path):
    write_recording(tmp_path / "in", "a", 6)
    (tmp_path / "in" / "a.csv").unlink()
    np.save(tmp_path / "in" / "a.npy", actions(6))
    *_, attributes = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "action_names" not in attributes


def test_the_names_of_very_many_recordings_are_kept_and_too_many_are_left_out(tmp_path):
    names = {number: f"a folder/of recordings/push-{number}.mp4" for number in range(100_000)}
    with Writer.create(tmp_path / "a.h5", {"sources": sources_text(names)}) as writer:
        for number in (99_999, 7):
            made = {"pixels": np.zeros((2, 4, 4, 3), np.uint8), "action": np.zeros((2, 1), np.float32)}
            writer.write_episode(made | {"episode_idx": np.full(2, number, np.int32)})
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert [dataset.source_of(episode) for episode in (0, 1)] == [names[99_999], names[7]]
    assert sources_text(dict.fromkeys(range(100000), "x" * 200)) is None


@pytest.mark.parametrize(
    "stored", ["[]", "{", '{"0": 1}', '{"-1": "a", "x": "b"}', "[" * 10_000, '{"99999999999999999999999": "a"}', 7]
)
def test_names_of_others_that_are_none_say_nothing(tmp_path, stored):
    write_recording(tmp_path / "in", "a", 6)
    converted(tmp_path / "in", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "a") as file:
        file.attrs["sources"] = file.attrs["action_names"] = stored
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert dataset.source_of(0) is None
        assert dataset.action_names == ()
