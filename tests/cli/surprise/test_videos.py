"""`lewm surprise VIDEO` as a user meets it."""

import csv
import json
import re
import weakref

import numpy as np
import pytest
import torch

import lewm
from lewm.model.frames import warn_if_reshaped
from lewm.opened_run import open_run
from lewm.surprise.calibration import calibrate
from lewm.surprise.command import SurpriseRequest, watch_video
from lewm.surprise.meter import Meter, blocks_leading_to
from lewm.surprise.reference import of_run
from lewm.surprise.video_pass import TOGETHER, VideoPass
from lewm_data.store.dataset import Dataset
from lewm_data.video.video import Frame
from lewm_data.video.video_writer import write_video
from tests.cli.surprise.commands import call, decoded, newest


def test_a_video_and_a_run_are_all_it_takes(home, run, video, tmp_path):
    code, shown = call("surprise", str(video), "--alpha", "0.05", "--out-video", str(tmp_path / "out" / "a.mp4"))
    assert code == 0, shown
    assert "actions unknown: the least surprise over 192 candidate actions" in re.sub(r"\s+", " ", shown)
    path, report = newest(run)
    assert report["frames"] == 41
    assert report["scored"] == 36
    assert any(event["begin"] <= 25 <= event["end"] for event in report["events"])
    with (path.with_suffix("") / "surprise.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["frame"]) for line in lines] == list(range(41))
    assert [float(line["time"]) for line in lines] == pytest.approx(np.arange(41) / 10)
    assert sum(int(line["flagged"]) for line in lines) == report["flagged"]
    assert {line["p_value"] for line in lines[:5]} == {"nan"}
    jumped = float(lines[25]["surprise"])
    assert jumped > 5 * np.median([float(line["surprise"]) for line in lines[5:25]])
    assert (path.with_suffix("") / "surprise.png").stat().st_size > 10_000
    annotated = decoded(tmp_path / "out" / "a.mp4")
    assert len(annotated) == 41
    assert annotated.shape[1] > annotated.shape[2], "the curve runs under the picture"
    redness = (annotated[:, 2, :, 0].astype(int) - annotated[:, 2, :, 1] > 80).mean(axis=1)
    flagged = np.array([line["flagged"] == "1" for line in lines])
    assert flagged[25]
    assert not flagged.all()
    assert (redness[flagged] > 0.9).all(), "flagged frames have a red border"
    assert (redness[~flagged] < 0.1).all()


def test_an_episode_of_a_dataset_brings_its_actions_which_can_be_left_out_or_given(home, run, tmp_path):
    data = home / "datasets" / "two-room.h5"
    code, shown = call("surprise", f"{data}#3", "--json")
    assert code == 0, shown
    _, own = newest(run)
    assert own["actions"] == "known: of the episode"
    with Dataset.open(data) as dataset:
        actions = dataset.episode(3)["action"]
    np.save(tmp_path / "a.npy", actions[:-1])
    np.savetxt(tmp_path / "a.csv", actions[:-1], delimiter=",")
    for file in ("a.npy", "a.csv"):
        assert call("surprise", f"{data}#3", "--actions", str(tmp_path / file))[0] == 0
        assert newest(run)[1]["events"] == own["events"]
    assert call("surprise", f"{data}#3", "--actions", "none")[0] == 0
    path, unknown = newest(run)
    assert unknown["actions"].startswith("unknown")
    with (path.with_suffix("") / "surprise.csv").open() as file:
        least = [float(line["surprise"]) for line in csv.DictReader(file)][5:]
    model = lewm.load(run)
    with Dataset.open(data) as dataset, torch.inference_mode():
        latents = model.embed(torch.from_numpy(dataset.episode(3)["pixels"]))
        known = Meter(model, 5, blocks_leading_to(model, torch.from_numpy(actions[:-1]))).push(latents)[5:].numpy()
    assert np.median(least) < np.median(known), "some action explains a frame better than the one taken"


def test_frames_can_be_resampled_and_come_from_a_folder(home, run, video, episodes, tmp_path):
    from PIL import Image

    for i, frame in enumerate(episodes[0].frames):
        Image.fromarray(frame).save(tmp_path / f"frame-{i}.png")
    assert call("surprise", str(tmp_path))[0] == 0
    assert newest(run)[1]["frames"] == 41
    assert newest(run)[1]["fps"] is None
    code, shown = call("surprise", str(video), "--fps", "2", "--frameskip", "1")
    assert code == 0, shown
    assert "9/9 frames" in shown
    slower = newest(run)[1]
    assert (slower["frames"], slower["scored"], slower["frameskip"], slower["fps"]) == (9, 8, 1, 2.0)


@pytest.mark.parametrize("rows", [20, 80])
@pytest.mark.parametrize("fps", [None, 5.0])
def test_all_frames_are_read_that_are_expected_where_the_actions_end_early_or_late(run, video, tmp_path, rows, fps):
    log = tmp_path / "log.csv"
    log.write_text("time,dx,dy\n" + "".join(f"{row / 10},0.1,0.2\n" for row in range(rows)))
    told = []
    request = SurpriseRequest(run, str(video), fps, actions=str(log), alpha=0.1)
    report, _ = watch_video(request, torch.device("cpu"), lambda what, done, total: told.append((done, total)))
    assert told[-1] == (report.frames, report.frames)
    assert report.frames == {(20, None): 20, (20, 5.0): 10, (80, None): 41, (80, 5.0): 21}[rows, fps]


def test_output_and_json_say_what_the_threshold_rests_on(home, run, video, caplog):
    code, shown = call("surprise", str(video))
    assert code == 0, shown
    calibration = newest(run)[1]["calibration"]
    assert (calibration["clean_episodes"], calibration["episodes_needed"]) == (30, 99)
    assert calibration["false_alarms_at_most"] == pytest.approx(1.3 / 31)
    assert calibration["held_out"] is True
    assert f"{calibration['clean_frames']} frames of 30 clean episodes: the run's held-out episodes" in shown
    assert "false alarms: at most 4.2% of the frames of a clean video, on average" in shown
    assert [one for one in caplog.messages if "alpha 0.01 needs 99" in one]


def test_frames_unlike_those_of_the_run_are_warned_of(home, tmp_path, caplog, episodes):
    warn_if_reshaped.cache_clear()
    strange, usual = tmp_path / "strange.mp4", tmp_path / "usual.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    write_video(strange, noise, 10.0)
    write_video(usual, episodes[0].frames.repeat(8, axis=1).repeat(8, axis=2), 10.0)
    assert call("surprise", str(usual), "--alpha", "0.05")[0] == 0
    assert not caplog.records
    assert call("surprise", str(strange))[0] == 0
    assert [message for message in caplog.messages if "look unlike those of the run's data" in message]
    assert [message for message in caplog.messages if "64 x 48 frames are cut to their middle, 48 x 48" in message]


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_videos_without_a_frame_to_score_say_how_many_are_needed(run, episodes, tmp_path, frames):
    write_video(tmp_path / "a.mp4", episodes[0].frames[:frames], 10.0)
    code, shown = call("surprise", str(tmp_path / "a.mp4"), "--run", str(run), "--alpha", "0.1")
    assert code == 1
    assert f"{frames} frames; the first 5 only make the context, so at least 6 are needed" in shown


@pytest.mark.parametrize(("frames", "frameskip"), [(6, 5), (8, 5), (9, 5), (12, 5), (20, 17), (40, 39)])
def test_short_videos_and_large_steps(run, episodes, tmp_path, frames, frameskip):
    write_video(tmp_path / "a.mp4", episodes[0].frames[:frames], 10.0)
    options = ("--run", str(run), "--alpha", "0.1", "--frameskip", str(frameskip), "--json")
    code, shown = call("surprise", str(tmp_path / "a.mp4"), *options)
    assert code == 0, shown
    assert json.loads(shown[shown.index("{") :])["scored"] == frames - frameskip


class Counted(np.ndarray):
    """An array of which it can be known whether it is still alive."""


def test_memory_does_not_grow_with_the_length_of_the_video(home, run, episodes):
    from lewm.surprise.meter import ActionSearch
    from lewm.surprise.trace import Detector

    model = lewm.load(run)
    reference = of_run(open_run(run))
    calibration = calibrate(model, reference, with_actions=False, seed=0)
    detector = Detector(Meter(model, 5, ActionSearch(reference.blocks, 0)), calibration, 0.05)
    seen = VideoPass(detector, reference, (16, 16), "crop", "film", None, False)
    alive: list[weakref.ref] = []
    most = 0

    def frames():
        nonlocal most
        for i in range(1500):
            picture = episodes[0].frames[i % 41].copy().view(Counted)
            alive[:] = [one for one in alive if one() is not None]
            alive.append(weakref.ref(picture))
            most = max(most, len(alive))
            yield Frame(i / 10, picture)

    for _ in seen.pieces(frames()):
        pass
    seen.finish()
    assert detector.meter.seen == 1500
    assert most <= 2 * TOGETHER
    assert len(detector.meter._latents) <= 5
    assert len(seen.peaks.kept) <= 6


def test_capital_letters(home, run, video, tmp_path):
    for name, source in (("DATA#1.H5", home / "datasets" / "two-room.h5"), ("JUMP#2.MP4", video)):
        (tmp_path / name).write_bytes(source.read_bytes())
    for name in ("DATA#1.H5#3", "JUMP#2.MP4"):
        code, shown = call("surprise", str(tmp_path / name), "--run", str(run), "--alpha", "0.1")
        assert code == 0, shown
    for number in ("-1", "60"):
        code, shown = call("surprise", f"{tmp_path / 'DATA#1.H5'}#{number}", "--run", str(run))
        assert code == 1
        assert f"no episode {number}, it has 60" in shown
    code, shown = call("surprise", f"{tmp_path / 'DATA#1.H5'}#1e3", "--run", str(run))
    assert "expected the number of an episode" in shown
