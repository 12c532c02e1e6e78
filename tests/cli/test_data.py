"""`lewm data` as a person and as a program sees it."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import ImageDraw
from typer.testing import CliRunner

from lewm_cli.main import app
from lewm_data.store.change import frameskip_hint
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer
from lewm_data.video.video import Video
from lewm_data.video.video_writer import write_video

OFFICIAL = Path(__file__).parents[1] / "golden" / "official_layout.h5"


def lewm(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with Writer.create(path) as writer:
        for number in range(3):
            pixels = np.full((10, 4, 4, 3), number, np.uint8)
            writer.write_episode({"pixels": pixels, "action": np.zeros((10, 1), np.float32)})
    return path


def test_a_whole_dataset(path):
    result = lewm("data", "verify", path)
    assert result.exit_code == 0
    assert "3 episodes, 30 frames, all as they were written" in result.stdout
    found = json.loads(lewm("data", "verify", path, "--json").stdout)
    assert found["hashes"]
    assert found["differing"] == []
    assert f"fingerprint {found['fingerprint']}" in result.stdout


def test_episodes_that_differ_are_named(path):
    with h5py.File(path, "r+") as file:
        file["pixels"][4] = 9
        file["action"][25] = 9
    result = lewm("data", "verify", path)
    assert result.exit_code == 1
    assert "episodes that are not what was written: 0, 2" in result.stdout
    assert "the frame at step 4 of episode 0" in result.stdout
    assert "fingerprint" not in result.stdout
    result = lewm("data", "verify", path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["differing"] == [0, 2]


def test_episodes_that_differ_are_named_by_their_recordings(tmp_path):
    assert lewm("data", "convert", recordings(tmp_path / "in", "a", "b"), "--out", tmp_path / "out.h5").exit_code == 0
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        file["pixels"][30] = 9
    assert "are not what was written: 1 (b.mp4)\n" in lewm("data", "verify", tmp_path / "out.h5").stdout


def test_a_file_without_hashes():
    result = lewm("data", "verify", OFFICIAL)
    assert result.exit_code == 0
    assert "the file has no hashes to compare them with" in result.stdout
    assert "fingerprint " in result.stdout


def recordings(folder, *names, rows=24):
    """A folder of videos with tables of actions, in which a dot moves."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        steps = np.arange(rows)
        frames = np.full((rows, 24, 32, 3), 230, np.uint8)
        for step, frame in enumerate(frames):
            frame[8:14, (2 * step + 5 * number) % 26 :][:, :6] = (200, 30, 30)
        write_video(folder / f"{name}.mp4", frames, 10.0)
        rows_of = (f"{step / 10},{np.sin(step):.4f},{number}" for step in steps)
        (folder / f"{name}.csv").write_text("\n".join(["time,push,turn", *rows_of]))
    return folder


def test_a_folder_of_recordings_becomes_a_dataset_that_the_other_commands_know(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    source = recordings(tmp_path / "my robot", "a", "b", "c")
    out = tmp_path / "home" / "datasets" / "my-robot.h5"
    result = lewm("data", "convert", source, "--frameskip-hint")
    assert result.exit_code == 0, result.output
    assert f"{out}: 3 episodes, 72 frames" in result.stdout
    assert "times as fast as recorded" in result.stdout
    assert re.search(r"frameskip \d+ suits \(lewm train --set model\.frameskip=\d+\)", result.stdout)
    for words in ("my robot: recordings with tables of actions, 3 episodes", "actions: push, turn", "--fit letterbox"):
        assert words in result.stderr
    assert lewm("data", "convert", source).exit_code == 1
    again = json.loads(lewm("data", "convert", source, "--overwrite", "--fps", "5", "--json").stdout)
    assert (again["episodes"], again["frames"]) == (3, 36)
    assert again["plan"]["assumptions"][0] == "actions: push, turn (2 numbers)"

    shown = lewm("data", "info")
    assert f"newest dataset: {out}" in shown.stderr
    assert "3 episodes of 12 to 12 steps (median 12), 36 steps, 5 a second, 7 s together" in shown.stdout
    assert re.search(r"action\s+float32\s+2\s+-[01][.\d]*\s+2\s+8\.3%", shown.stdout)
    assert out.with_name("my-robot-frames.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(lewm("data", "info", "--json", "--picture", tmp_path / "grid.png").stdout)
    assert "frameskip_hint" not in found  # it takes time: only where it is asked for
    assert (tmp_path / "grid.png").exists()
    assert (found["episodes"], found["fps"], found["seconds"], found["frame_size"]) == (3, 5.0, 6.6, [24, 24])

    assert "recordings: a.mp4, b.mp4, c.mp4 (lewm data info --json names that of each episode)" in shown.stdout
    assert "an action is push, turn" in shown.stdout
    assert (found["sources"], found["action_names"]) == (["a.mp4", "b.mp4", "c.mp4"], ["push", "turn"])
    assert not {"sources", "action_names"} & set(found["attributes"])
    assert lewm("data", "view", "--episode", "1").stdout.strip().endswith("episode-1.mp4 (b.mp4)")
    filmed = json.loads(lewm("data", "view", "--episode", "2", "--json").stdout)
    (film,) = filmed["videos"]
    assert filmed["sources"] == ["c.mp4"]
    assert film == str(out.with_name("my-robot-view") / "episode-2.mp4")
    with Video.open(film) as video:
        frames = list(video.frames())
        assert (len(frames), video.fps) == (12, 5.0)
        assert video.height > video.width  # the curves are under the frame
        assert not np.array_equal(frames[3].pixels[-60:], frames[9].pixels[-60:])
    assert lewm("data", "view", "--episode", "9").exit_code == 1


@pytest.mark.parametrize(("stored", "shown"), [(np.inf, 10.0), (1e12, 10.0), (1e-4, 0.1), (30, 30.0)])
def test_a_film_has_a_rate_that_players_show(path, stored, shown):
    with h5py.File(path, "a") as file:
        file.attrs["fps"] = stored
    found = lewm("data", "view", path, "--episode", "0", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["fps"] == shown


def test_parts_are_merged(tmp_path):
    source = recordings(tmp_path / "in", "a", "b", "c", rows=6)
    parts = [tmp_path / "1.h5", tmp_path / "2.h5"]
    for number, part in enumerate(parts, 1):
        assert lewm("data", "convert", source, "--out", part, "--part", f"{number}/2").exit_code == 0
    result = lewm("data", "merge", *parts, "--out", tmp_path / "all.h5")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'all.h5'}: 3 episodes, 18 frames" in result.stdout
    whole = lewm("data", "convert", source, "--out", tmp_path / "whole.h5")
    assert whole.exit_code == 0
    fingerprints = [
        json.loads(lewm("data", "verify", tmp_path / name, "--json").stdout) for name in ("all.h5", "whole.h5")
    ]
    assert fingerprints[0]["fingerprint"] == fingerprints[1]["fingerprint"]
    assert lewm("data", "convert", source, "--out", tmp_path / "3.h5", "--part", "two").exit_code == 2


def test_verify_says_what_a_repair_does_and_does_it(tmp_path):
    path = tmp_path / "theirs.h5"
    with h5py.File(OFFICIAL) as theirs, h5py.File(path, "w") as file:
        for name in theirs:
            file[name] = theirs[name][:]
        ends = file["ep_offset"][:] + file["ep_len"][:] - 1
        actions = file["action"][:]
        actions[ends] = actions[file["ep_offset"][:]]
        file["action"][:] = actions
    result = lewm("data", "verify", path)
    assert result.exit_code == 0
    assert "the last row of an episode has its first action, as stable-worldmodel 0.1.1 writes it" in result.stdout
    assert f'"lewm data verify {path} --repair" writes it as lewm does' in result.stderr
    with h5py.File(path, "r+") as file:
        del file["ep_offset"]
    result = lewm("data", "verify", path)
    assert result.exit_code == 1
    assert "no column 'ep_offset' of integers" in str(result.exception)
    assert f'"lewm data verify {path} --repair" keeps 4 episodes.' in str(result.exception)
    result = lewm("data", "verify", path, "--repair")
    assert result.exit_code == 0, result.output
    assert "4 episodes, 83 frames" in result.stdout
    result = lewm("data", "verify", path)
    assert result.exit_code == 0
    assert "all as they were written" in result.stdout
    assert lewm("data", "verify", path, "--repair").exit_code == 1


def test_a_hint_is_the_frameskip_after_which_frames_have_changed_enough(tmp_path):
    speeds = {}
    for speed in (1, 4):
        with Writer.create(tmp_path / f"{speed}.h5") as writer:
            for shift in range(8):
                frames = np.zeros((40, 64, 64, 3), np.uint8)
                for step, frame in enumerate(frames):
                    left = (speed * step + 8 * shift) % 56
                    frame[:, left : left + 8] = 255
                writer.write_episode({"pixels": frames, "action": np.zeros((40, 1), np.float32)})
        with Dataset.open(tmp_path / f"{speed}.h5") as dataset:
            speeds[speed] = frameskip_hint(dataset)
    assert speeds[1].frameskip in (5, 7)  # a bar of 8 pixels has left half of its place after 4 steps of 1
    assert speeds[4].frameskip in (1, 2)
    assert speeds[1].changes[1] == pytest.approx(speeds[1].changes[2] / 2, rel=0.2)


def test_a_conversion_that_is_not_finished_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    source = recordings(tmp_path / "in", "a", "b", "c")
    (source / "c.csv").write_text("push,turn\n1,up\n")
    result = lewm("data", "convert", source, "--out", tmp_path / "out.h5")
    assert result.exit_code == 1
    assert "not finished: 1 episodes are not converted yet" in lewm("data", "info", tmp_path / "out.h5").stdout
    assert "Not finished: 1 episodes are not converted yet" in lewm("data", "verify", tmp_path / "out.h5").stderr
    tiny = [
        "--steps",
        "1",
        "--batch-size",
        "4",
        "--set",
        "model.frame_size=16",
        "--set",
        "model.encoder.channels=[4, 8]",
    ]
    result = lewm("train", "--data", tmp_path / "out.h5", "--out", tmp_path / "run", *tiny)
    assert "out.h5: 1 episodes are not converted yet" in result.stderr


def test_what_a_conversion_left_out_is_shown_with_the_dataset(tmp_path):
    source = recordings(tmp_path / "in", "a", "b", "c")
    (source / "c.csv").write_text("time,push,turn\n0,1,up\n")
    done = lewm("data", "convert", source, "--out", tmp_path / "out.h5", "--skip-damaged")
    assert done.exit_code == 0
    assert "left out: 1 episodes that cannot be read" in done.stdout
    shown = lewm("data", "info", tmp_path / "out.h5").stdout
    assert "left out, as they could not be read: c.mp4" in shown
    assert "not finished" not in shown
    (found,) = json.loads(lewm("data", "info", tmp_path / "out.h5", "--json").stdout)["left_out"]
    assert (found["number"], found["name"]) == (2, "c.mp4")
    again = lewm("data", "convert", source, "--out", tmp_path / "out.h5", "--skip-damaged")
    assert "out.h5: is complete already, without 1 episodes that could not be read" in str(again.exception)


def test_errors_of_a_folder_that_is_trained_on_name_the_command_that_has_the_option(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    source = tmp_path / "in"
    source.mkdir()
    for camera in ("front", "wrist"):
        recordings(source / camera, "a")
    (source / "wrist" / "a.csv").unlink()
    result = lewm("train", "--data", source)
    assert result.exit_code == 1
    assert f"Name one: lewm data convert {source} --camera front" in str(result.exception)
    assert lewm("data", "convert", source, "--camera", "front").exit_code == 0
    tiny = ["--steps", "1", "--batch-size", "4", "--set", "model.frame_size=16"]
    tiny += ["--set", "model.encoder.channels=[4, 8]", "--set", "training.held_out=0.5"]
    result = lewm("train", "--data", source, "--out", tmp_path / "run", *tiny)
    assert "was converted before" in result.stderr
    recordings(source / "front", "b")
    (source / "wrist" / "a.mp4").unlink()
    result = lewm("train", "--data", source)
    assert result.exit_code == 1
    assert f'Convert it anew, "lewm data convert {source} --overwrite"' in str(result.exception)


@pytest.mark.parametrize(
    ("stored", "asked", "said"), [(None, None, "step 3 of 9"), (None, 5, "step 3 of 9"), (2.0, 5, "step 3 of 9, 1.5 s")]
)
def test_a_film_says_seconds_only_where_the_dataset_has_a_rate(path, monkeypatch, stored, asked, said):
    words = []
    draw_text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, *more, **how: (words.append(text), draw_text(self, at, text, *more, **how)),
    )
    if stored is not None:
        with h5py.File(path, "a") as file:
            file.attrs["fps"] = stored
    result = lewm("data", "view", path, "--episode", "0", *([] if asked is None else ["--fps", asked]))
    assert result.exit_code == 0, result.output
    assert [one for one in words if one.startswith("step 3 ")] == [said]
    assert "action[0] +0" in words


def test_a_film_calls_the_numbers_of_an_action_by_their_names(path, monkeypatch):
    words = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, *more, **how: words.append(text))
    with h5py.File(path, "a") as file:
        file.attrs["action_names"] = '["shoulder_pan.pos"]'
    assert lewm("data", "view", path, "--episode", "0").exit_code == 0
    assert "shoulder_p +0" in words


def test_a_dataset_that_is_there_has_the_hint_of_its_conversion(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    source = recordings(tmp_path / "in", "a", "b")
    made = lewm("data", "convert", source, "--frameskip-hint").stdout
    hint = re.search(r"frameskip \d+ suits \(lewm train --set model\.frameskip=(\d+)\): .*\n  change: .*\n", made)
    assert hint[0] in lewm("data", "info", "--frameskip-hint").stdout
    found = json.loads(lewm("data", "info", "--frameskip-hint", "--json").stdout)
    assert found["frameskip_hint"]["frameskip"] == int(hint[1])


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "in", "--out"],
        ["merge", "a.h5", "b.h5", "--out"],
        ["view", "a.h5", "--out"],
        ["info", "a.h5", "--picture"],
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_any_work(path, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    (tmp_path / "file").write_text("")
    (tmp_path / "b.h5").write_bytes(path.read_bytes())
    recordings(tmp_path / "in", "a")
    for name in ("convert.convert.open_source", "store.dataset.Dataset.open"):
        monkeypatch.setattr(f"lewm_data.{name}", lambda *_: pytest.fail("it worked before it knew where to write"))
    result = lewm("data", *command, "file/deeper/out")
    assert result.exit_code == 1
    problem, remedy = str(result.exception).split("\n")
    deeper = "file/deeper/out" if command[0] == "view" else "file/deeper"
    assert problem == f"{deeper}: cannot be written to: Not a directory"
    assert remedy.startswith(f"Give {command[-1]} ")
    assert not result.stderr


def test_a_folder_that_is_not_there_is_made(path, tmp_path):
    source = recordings(tmp_path / "in", "a")
    out = tmp_path / "new" / "deeper"
    assert lewm("data", "convert", source, "--out", out / "made.h5").exit_code == 0
    assert lewm("data", "convert", source, "--fps", "5", "--env", "in", "--out", out / "other.h5").exit_code == 0
    assert lewm("data", "view", path, "--episode", "0", "--out", out / "films").exit_code == 0
    assert lewm("data", "info", path, "--picture", out / "more" / "grid.png").exit_code == 0
    assert {one.name for one in out.rglob("*.*")} == {"made.h5", "other.h5", "episode-0.mp4", "grid.png"}


@pytest.mark.parametrize(
    "command", [["convert", "none"], ["merge", "none", "none", "--out", "x.h5"], ["verify", "none"]]
)
def test_an_early_error_comes_without_a_bar(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    result = lewm("data", *command)
    assert result.exit_code == 1
    assert result.stderr == ""
    assert not list(tmp_path.iterdir())
