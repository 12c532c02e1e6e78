"""What is normal: the clean episodes of a run, and the calibration on them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import lewm
from lewm import recipes
from lewm.checkpoints import run as runs
from lewm.checkpoints.origin import Origin
from lewm.errors import LewmError
from lewm.opened_run import open_run
from lewm.sealed import sealed_json
from lewm.surprise.calibration import calibrate
from lewm.surprise.clean_data import CleanData, reference_of
from lewm.surprise.meter import Meter, blocks_leading_to
from lewm.surprise.reference import CLEAN_FRAMES, FILE, build, of_run, shortest_piece
from lewm_data.collection.record_episodes import record
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from tests.cli.surprise.commands import call


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
    with monkeypatch.context() as patch:
        patch.setenv("LEWM_HOME", str(tmp_path))
        made = calibrate(model, reference, with_actions=True, seed=0)
    assert "cannot be written, so it is made again the next time" in caplog.text
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


def test_the_more_clean_episodes_the_shorter_the_pieces_until_no_more_fit(home, run, monkeypatch):
    """So all clean episodes count as long as there is room for a piece of each, and then nobody asks for more."""
    model = lewm.load(run)
    shortest = shortest_piece(model.history, model.config.frameskip)
    monkeypatch.setattr("lewm.surprise.reference.CLEAN_FRAMES", 4 * shortest)
    with Dataset.open(home / "datasets" / "two-room.h5") as dataset:
        assert (dataset.lengths > 2 * shortest).all()
        for clean, lengths in ((2, [2 * shortest] * 2), (4, [shortest] * 4), (5, [shortest] * 4)):
            reference = build(model, dataset, clean=np.arange(clean), seen=np.array([5]), seed=0)
            assert reference.lengths.tolist() == lengths
            assert reference.has_room(model) == (clean < 4)


def test_a_rate_of_one_in_a_thousand_is_within_reach():
    model = recipes.paper("push-t", 2).model
    assert CLEAN_FRAMES // shortest_piece(model.predictor.history, model.frameskip) >= 999


def test_blocks_of_the_reference_are_those_of_training_episodes(home, run):
    model = lewm.load(run)
    with Dataset.open(home / "datasets" / "two-room.h5") as dataset:
        reference = build(model, dataset, clean=np.arange(3), seen=np.array([5, 7]), seed=0)
        rows = np.concatenate([dataset.column("action", np.array([e]))[:-1] for e in (5, 7)])
    blocks = model.denormalize_actions(reference.blocks).reshape(-1, 5, 2).numpy()
    known = np.lib.stride_tricks.sliding_window_view(rows, (5, 2))[:, 0]
    assert all(np.abs(known - block).max(axis=(1, 2)).min() < 1e-5 for block in blocks[:20])


def test_long_episodes_are_calibrated_on_in_pieces(home, run, monkeypatch):
    model = lewm.load(run)
    monkeypatch.setattr("lewm.surprise.reference.CONTEXTS", 1)
    monkeypatch.setattr("lewm.surprise.reference.CLEAN_FRAMES", 36)
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


@pytest.mark.parametrize("origin", [None, Origin("folder", "weights.pt", "0", "transformers5")])
def test_the_data_of_training_are_known_wherever_they_lie(home, run, tmp_path, origin):
    """Calibrated on its own training's data by name, a run rests on no more than without a name."""
    copy = tmp_path / "copy.h5"
    copy.write_bytes((home / "datasets" / "two-room.h5").read_bytes())
    opened = dataclasses.replace(open_run(run), origin=origin)
    unnamed, itself = reference_of(opened, None)
    named, source = reference_of(opened, copy)
    assert (named.latents == unnamed.latents).all()
    assert itself.held_out is source.held_out is (origin is None)
    words = "held-out episodes" if origin is None else "episodes that the model's training may have seen"
    assert (itself.name, source.name) == (f"the run's {words}", f"{words} of {copy}")


def test_other_data_are_clean_as_a_whole(home, run, tmp_path):
    assert (
        call("collect", "--episodes", "4", "--frame-size", "16", "--seed", "9", "--out", str(tmp_path / "new.h5"))[0]
        == 0
    )
    reference, source = reference_of(open_run(run), tmp_path / "new.h5")
    assert len(reference.lengths) == 4
    assert source == CleanData(str(tmp_path / "new.h5"), None, True)


def test_too_few_clean_episodes_are_said(home, run):
    model = lewm.load(run)
    with Dataset.open(home / "datasets" / "two-room.h5") as dataset:
        alone = build(model, dataset, clean=np.arange(1), seen=np.arange(2), seed=0)
    with pytest.raises(LewmError, match="long enough to be scored: 1; calibration needs 2"):
        calibrate(model, alone, with_actions=True, seed=0)
