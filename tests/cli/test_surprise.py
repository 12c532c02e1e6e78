"""`lewm surprise` as a user meets it, on a model that has hardly been trained."""

import csv
import dataclasses
import json
import re
import weakref

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lewm
from lewm.checkpoints import run as runs
from lewm.errors import LewmError
from lewm.model.frames import warn_if_reshaped
from lewm.opened_run import open_run
from lewm.sealed import sealed_json
from lewm.surprise.calibration import calibrate
from lewm.surprise.meter import Meter, blocks_leading_to
from lewm.surprise.reference import FILE, build, of_run
from lewm.surprise.video_pass import TOGETHER, VideoPass
from lewm_cli import output
from lewm_cli.main import app
from lewm_data.collection.record_episodes import record
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from lewm_data.video.video import Frame
from lewm_data.video.video_writer import write_video

COLLECT = ["collect", "--episodes", "60", "--frame-size", "16"]
TRAIN = [
    *("train", "--steps", "150", "--batch-size", "64"),
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=32"),
    *("--set", "model.predictor.projector_hidden=32"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.predictor.depth=1"),
    *("--lambda", "0.09"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.held_out=0.5"),
]


def call(*arguments):
    """Run a command in this process; failures come back as (exit code, two lines)."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEWM_HOME", str(path))
        assert call(*COLLECT)[0] == 0
        assert call(*TRAIN)[0] == 0
        yield path


@pytest.fixture(scope="module")
def run(home):
    return home / "runs" / "two-room-small"


@pytest.fixture(scope="module")
def episodes():
    return record(world("two-room"), range(40), 16, 40)


@pytest.fixture
def video(tmp_path, episodes):
    """An episode that jumps into another one at frame 25, enlarged so that compression spares it."""
    frames = np.concatenate([episodes[0].frames[:25], 255 - episodes[1].frames[25:]])
    write_video(tmp_path / "jump.mp4", frames.repeat(8, axis=1).repeat(8, axis=2), 10.0)
    return tmp_path / "jump.mp4"


def newest(run, pattern="surprise-2*.json"):
    path = max(run.glob(pattern), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return path, json.loads(path.read_text())


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


def decoded(path):
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


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
    assert call("surprise", str(video), "--fps", "2", "--frameskip", "1")[0] == 0
    slower = newest(run)[1]
    assert (slower["frames"], slower["scored"], slower["frameskip"], slower["fps"]) == (9, 8, 1, 2.0)


def test_false_alarms_on_fresh_clean_episodes_are_at_alpha(run):
    """Calibrated on some clean episodes, tested on others, that training saw none of."""
    model = lewm.load(run)
    alpha = 0.05

    def latents(episode):
        with torch.inference_mode():
            return model.embed(torch.from_numpy(episode.frames))

    clean, fresh = record(world("two-room"), range(1000, 1300), 16, 60), record(world("two-room"), range(200), 16, 60)
    reference = dataclasses.replace(
        of_run(open_run(run)),
        latents=torch.cat([latents(episode) for episode in clean]),
        actions=torch.from_numpy(np.concatenate([np.pad(episode.actions, ((0, 1), (0, 0))) for episode in clean])),
        lengths=torch.full((300,), 61),
    )
    calibration = calibrate(model, reference, with_actions=True, seed=0)
    shares = []
    for episode in fresh:
        blocks = blocks_leading_to(model, torch.from_numpy(episode.actions))
        scores = Meter(model, 5, blocks).push(latents(episode)).double().numpy()
        shares.append(calibration.flags(scores, 5, alpha)[5:].mean())
    # frames of an episode are alike, so episodes are counted: these, and the half of the clean ones that are ranked
    error = np.std(shares, ddof=1) * (1 / 200 + 1 / 150) ** 0.5
    assert abs(np.mean(shares) - alpha) < 2.6 * error
    assert error < alpha / 3, "otherwise the test says nothing"


def test_calibration_is_remembered_and_forgotten_with_the_weights(home, run, monkeypatch):
    model = lewm.load(run)
    reference = of_run(open_run(run))
    first = calibrate(model, reference, with_actions=False, seed=0)
    monkeypatch.setattr("lewm.surprise.calibration.score_clean", lambda *_: pytest.fail("scored again"))
    again = calibrate(model, reference, with_actions=False, seed=0)
    assert (again.clean == first.clean).all()
    with torch.no_grad():
        model.projector[0].bias += 1
    with pytest.raises(pytest.fail.Exception, match="scored again"):
        calibrate(model, reference, with_actions=False, seed=0)


def test_calibration_that_cannot_be_kept_is_made_all_the_same(home, run, tmp_path, monkeypatch, caplog):
    model = lewm.load(run)
    reference = of_run(open_run(run))
    (tmp_path / "cache").touch()  # a file, where a folder would have to be
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    made = calibrate(model, reference, with_actions=True, seed=0)
    assert "cannot be written, so it is made again the next time" in caplog.text
    monkeypatch.undo()
    assert (calibrate(model, reference, with_actions=True, seed=0).clean == made.clean).all()


def test_a_run_without_its_dataset_still_knows_what_is_normal(home, run, video, tmp_path):
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    config = json.loads((run / "config.json").read_text())
    config["dataset"]["path"] = str(tmp_path / "gone.h5")
    (alone / "config.json").write_text(sealed_json(config))
    for name in ("model.safetensors", FILE):
        (alone / name).write_bytes((run / name).read_bytes())
    assert call("surprise", str(video), "--run", str(alone))[0] == 0
    (alone / FILE).unlink()
    code, shown = call("surprise", str(video), "--run", str(alone))
    assert code == 1
    assert "--calibrate" in shown
    code, shown = call(
        "surprise", str(video), "--run", str(alone), "--calibrate", str(home / "datasets" / "two-room.h5")
    )
    assert code == 0, shown


def test_the_reference_is_the_held_out_episodes_and_is_made_again_for_new_weights(home, run, tmp_path):
    stored = of_run(open_run(run))
    assert len(stored.lengths) == 30
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors", FILE):
        (copy / name).write_bytes((run / name).read_bytes())
    tensors = runs.read_tensors(copy / "model.safetensors")
    tensors["projector.3.bias"] = tensors["projector.3.bias"] + 1
    runs.save_tensors(copy / "model.safetensors", tensors)
    made = of_run(open_run(copy))
    torch.testing.assert_close(made.latents, stored.latents + 1, rtol=1e-3, atol=1e-3)
    assert (made.blocks == stored.blocks).all()
    assert (of_run(open_run(copy)).latents == made.latents).all()


def test_blocks_of_the_reference_are_those_of_training_episodes(home, run):
    model = lewm.load(run)
    with Dataset.open(home / "datasets" / "two-room.h5") as dataset:
        reference = build(model, dataset, clean=np.arange(3), seen=np.array([5, 7]), seed=0)
        rows = np.concatenate([dataset.column("action", np.array([e]))[:-1] for e in (5, 7)])
    blocks = model.denormalize_actions(reference.blocks).reshape(-1, 5, 2).numpy()
    known = np.lib.stride_tricks.sliding_window_view(rows, (5, 2))[:, 0]
    assert all(np.abs(known - block).max(axis=(1, 2)).min() < 1e-5 for block in blocks[:20])


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


def test_the_suite_reports_every_perturbation_with_known_and_unknown_actions(home, run):
    code, shown = call("surprise", "--suite", "two-room", "--episodes", "6")
    assert code == 0, shown
    path, report = newest(run, "surprise-suite-*.json")
    names = list(world("two-room").perturbations)
    assert [(one["perturbation"], one["actions"]) for one in report["outcomes"]] == [
        (name, actions) for actions in ("known", "unknown") for name in names
    ]
    outcome = {(one["perturbation"], one["actions"]): one for one in report["outcomes"]}
    assert outcome["floor recoloured", "known"]["auroc"] == 1
    assert outcome["floor recoloured", "known"]["detected"] > 0.5
    assert outcome["floor recoloured", "known"]["delay"] == 0
    swapped = outcome["action swapped", "unknown"]
    assert (swapped["auroc"], swapped["p_value"]) == (0.5, None), "frames alone cannot tell"
    assert outcome["action swapped", "known"]["surprise"] > outcome["action swapped", "known"]["untouched"]
    folder = path.with_suffix("")
    videos = {file.stem for file in folder.glob("*.mp4")}
    assert videos == {"untouched", *(name.replace(" ", "-") for name in names)}
    assert (folder / "suite.png").stat().st_size > 50_000
    assert len(decoded(folder / "agent-teleported.mp4")) == 61


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
        ([str(video), "--alpha", "0.00001"], ["alpha 1e-05 needs 99999", "--calibrate"]),
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
    assert [message for message in caplog.messages if "48 x 64 frames are cut to their middle, 48 x 48" in message]


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


def test_output_and_json_say_what_the_threshold_rests_on(home, run, video, caplog):
    code, shown = call("surprise", str(video))
    assert code == 0, shown
    calibration = newest(run)[1]["calibration"]
    assert (calibration["clean_episodes"], calibration["episodes_needed"]) == (30, 99)
    assert calibration["false_alarms_at_most"] == pytest.approx(1.3 / 31)
    assert calibration["held_out"] is True
    assert f"{calibration['clean_frames']} frames of 30 clean episodes: the run's held-out episodes" in shown
    assert "false alarms: at most 4.2% of clean frames on average" in shown
    assert [one for one in caplog.messages if "alpha 0.01 needs 99" in one]


def test_long_episodes_are_calibrated_on_in_pieces(home, run, monkeypatch):
    model = lewm.load(run)
    monkeypatch.setattr("lewm.surprise.reference.PIECE", 12)
    with Dataset.open(home / "datasets" / "two-room.h5") as dataset:
        pieces = build(model, dataset, clean=np.arange(3), seen=np.array([5]), seed=0)
        assert pieces.lengths.tolist() == [12, 12, 12]
        for episode, (latents, actions) in enumerate(pieces.episodes()):
            there = dataset.episode(episode)
            with torch.inference_mode():
                each = model.embed(torch.from_numpy(there["pixels"])).float()
            (begin,) = [
                i for i in range(len(each) - 11) if torch.allclose(each[i : i + 12], latents, rtol=1e-4, atol=1e-4)
            ]
            np.testing.assert_array_equal(actions.numpy(), there["action"][begin : begin + 11].astype(np.float32))


def test_too_few_clean_episodes_are_said(home, run):
    model = lewm.load(run)
    with Dataset.open(home / "datasets" / "two-room.h5") as dataset:
        alone = build(model, dataset, clean=np.arange(1), seen=np.arange(2), seed=0)
    with pytest.raises(LewmError, match="long enough to be scored: 1; calibration needs 2"):
        calibrate(model, alone, with_actions=True, seed=0)
