"""Tables of actions with times of their own, beside videos: rates, units, gaps, and rows that have no picture."""

import numpy as np
import pytest

from lewm_data.errors import DataError
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


def test_times_that_do_not_ascend_are_refused(tmp_path):
    write_recording(tmp_path / "in", "a", 8, times=np.zeros(8))
    with pytest.raises(DataError, match="column 'time' does not ascend at row 1"):
        converted(tmp_path / "in", tmp_path / "out.h5")


def test_more_steps_a_second_than_recorded_are_refused(tmp_path):
    write_recording(tmp_path / "in", "a", 8, 10.0)
    with pytest.raises(DataError, match=r"10 rows a second were recorded, 20 are asked for\nGive --fps 10 or less"):
        converted(tmp_path / "in", tmp_path / "out.h5", fps=20.0)


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


@pytest.mark.parametrize("header", ["Timestamp (ms),vx,vy", "Time [s],vx,vy", "t_ms,vx,vy", "stamp_seconds,vx,vy"])
def test_units_in_the_names_of_columns(tmp_path, header):
    scale = 1000 if "ms" in header else 1
    write_video_only(tmp_path / "in", 20, 10.0)
    with (tmp_path / "in" / "a.csv").open("w") as file:
        file.write(header + "\n")
        file.writelines(f"{row * scale / 10:g},{row},0\n" for row in range(20))
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert said[0] == "actions: vx, vy (2 numbers)"
    assert_shows(episode, range(20))


def test_pictures_that_are_there_several_times_are_told(tmp_path):
    write_video_only(tmp_path / "in", 10, 10.0)
    write_table(tmp_path / "in" / "a.csv", actions(40), times=np.arange(40) / 40)
    _, said, _, _ = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "more rows than pictures: each picture is there 4.0 times (--fps 10 avoids it)" in said


def test_the_clock_that_is_told_is_that_of_the_first_recording_that_can_be_read(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    (tmp_path / "in" / "a").mkdir(parents=True)
    for number in range(3):
        image.imsave(tmp_path / "in" / "a" / f"{number}.png", frames(3)[number])
    (tmp_path / "in" / "a.csv").write_text("time,dx,dy\n0,1,up\n1,1,2\n2,1,2\n")
    write_recording(tmp_path / "in", "b", 8, times=np.arange(8) / 10)
    report, said, _, _ = converted(tmp_path / "in", tmp_path / "out.h5", skip_damaged=True)
    assert [name for name, _ in report.left_out] == ["a"]
    assert any(one.startswith("row t is the action taken from the picture shown at its time") for one in said)
