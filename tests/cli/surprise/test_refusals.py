"""What `lewm surprise` refuses, and says."""

import json

import numpy as np
import pytest

from lewm.sealed import sealed_json
from lewm_data.video.video_writer import write_video
from tests.cli.surprise.commands import call


def test_bad_input_is_told_and_leaves_nothing(home, run, video, episodes, tmp_path):
    short, long = tmp_path / "short.npy", tmp_path / "long.npy"
    np.save(short, episodes[0].actions[:30])
    np.save(long, np.concatenate([episodes[0].actions, episodes[0].actions[:2]]))
    np.save(tmp_path / "wide.npy", np.zeros((40, 3)))
    brief = tmp_path / "brief.mp4"
    write_video(brief, np.zeros((5, 16, 16, 3), np.uint8), 10.0)
    before = set(run.iterdir())
    for arguments, words in (
        ([str(video), "--actions", str(short)], ["more than 31 frames, but 30 actions"]),
        ([str(video), "--actions", str(long)], ["41 frames, but 42 actions"]),
        ([str(video), "--actions", str(tmp_path / "wide.npy")], ["(40, 3)", "(T, 2)"]),
        ([str(video), "--actions", str(short), "--frameskip", "2"], ["--frameskip 2", "--actions none"]),
        ([str(video), "--alpha", "0.00001"], ["alpha 1e-05 needs 99999", "30,000 clean frames are the most"]),
        ([str(video), "--alpha", "2"], ["alpha is 2"]),
        ([str(brief)], ["5 frames; the first 5 only make the context"]),
        ([str(video), "--calibrate", str(video)], ["not an HDF5 file"]),
        ([str(video), "--out-video", str(tmp_path / "a.avi")], [".mp4"]),
        (["missing.mp4"], ["missing.mp4"]),
        (["--suite", "push-tt"], ["a run of two-room, not of push-tt", "--suite two-room"]),
    ):
        code, shown = call("surprise", *arguments)
        assert code == 1, (arguments, shown)
        assert len(shown.splitlines()) == 2, shown
        assert all(word in shown for word in words), shown
    assert set(run.iterdir()) == before
    for arguments in ([], [str(video), "--suite", "two-room"], ["--suite", "two-room", "--fps", "3"]):
        assert call("surprise", *arguments)[0] == 2


def test_a_run_or_data_of_another_world_is_refused(home, run, video, tmp_path, monkeypatch):
    config = json.loads((run / "config.json").read_text())
    config["config"]["env"] = config["dataset"]["env"] = "cube"
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(sealed_json(config))
    (other / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    code, shown = call("surprise", "--suite", "two-room", "--run", str(other))
    assert code == 1
    assert "a run of cube, not of two-room" in shown
    code, shown = call(
        "surprise", str(video), "--run", str(other), "--calibrate", str(home / "datasets" / "two-room.h5")
    )
    assert code == 1
    assert "the run was trained in cube" in shown


def test_numbers_that_no_video_has_are_said_before_any_work(run, video, monkeypatch):
    monkeypatch.setattr("lewm.surprise.command.calibrate", lambda *_: pytest.fail("it was calibrated"))
    for option, value, words in [
        ("--alpha", "0", "alpha is 0.0, expected above 0"),
        ("--alpha", "1", "alpha is 1.0, expected above 0 and below 1"),
        ("--alpha", "nan", "alpha is nan"),
        ("--frameskip", "1000000000", "--frameskip is 1000000000, expected 1 to 1000"),
        ("--fps", "1e9", "1e+09 frames a second asked for"),
        ("--fps", "1e-9", "1e-09 frames a second asked for"),
        ("--fps", "-1", "-1 frames a second asked for"),
        ("--fps", "nan", "nan frames a second asked for"),
    ]:
        code, shown = call("surprise", str(video), "--run", str(run), option, value)
        assert code == 1
        assert words in shown
