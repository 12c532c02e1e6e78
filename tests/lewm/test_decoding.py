"""A decoder shows what is in the latents, and what is shown is what the model said."""

import json
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from lewm import load
from lewm.checkpoints.run import read_tensors, read_with_metadata, save_tensors
from lewm.decoding import command as decoding
from lewm.decoding.command import DecodeRequest, decode_run
from lewm.decoding.decoder import Decoder, DecoderSettings
from lewm.decoding.decoder_file import DECODER, load_decoder, save_decoder
from lewm.decoding.open_loop import OpenLoop, long_enough, open_loops, step_errors
from lewm.decoding.panels import BORDER, enlarge, shown_at
from lewm.decoding.pictures import CAPTION, HOLD
from lewm.decoding.training import (
    Examples,
    draw_rows,
    encode_rows,
    measure_fidelity,
    shown_size,
    shrink,
    train_decoder,
)
from lewm.errors import LewmError
from lewm.report_files import read_report
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.clips import split_episodes
from lewm_data.store.dataset import Dataset

CPU = torch.device("cpu")
SMALL = DecoderSettings(width=16, depth=1, heads=2, mlp=32, memory=2, memory_hidden=16, frames=64, steps=20, batch=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 20, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=20)
    return path


@pytest.fixture(scope="module")
def dataset(data):
    with Dataset.open(data) as opened:
        yield opened


@pytest.fixture
def run(tiny, data, tmp_path):
    train(tiny, data, tmp_path / "tiny", CPU)
    return tmp_path / "tiny"


def examples(count=32, size=(10, 14), seed=0):
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (count, *size, 3)).astype(np.uint8)
    return Examples(torch.eye(count), torch.from_numpy(frames))


def dot(frames):
    """Centre of what is clearly red, in pixels."""
    red = frames[..., 0].astype(float) - frames[..., 1]
    red *= red > 0.3 * red.max(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    return np.stack([(red * axis).sum(axis=(1, 2)) / red.sum(axis=(1, 2)) for axis in (y, x)], axis=1)


def test_a_small_thing_is_decoded_where_the_latent_says(dataset):
    frames = torch.from_numpy(dataset.frames(np.arange(dataset.num_steps)))
    states = torch.from_numpy(dataset.column("state")).float()
    seen, unseen = slice(0, None, 2), slice(1, None, 2)
    settings = replace(SMALL, width=32, memory_hidden=64, steps=200, batch=64, learning_rate=1e-2)
    decoder = train_decoder(Examples(states[seen], frames[seen]), settings)
    fidelity = measure_fidelity(decoder, Examples(states[unseen], frames[unseen]))
    assert fidelity.error < 0.25 * fidelity.mean_image
    apart = dot(decoder.frames(states[unseen])) - dot(frames[unseen].numpy())
    assert np.abs(apart).max(axis=1).mean() < 0.4


def test_patches_fit_together_where_sides_are_no_multiples():
    given = examples(4)
    decoder = train_decoder(given, replace(SMALL, width=32, steps=300, learning_rate=1e-2))
    assert decoder.patch == (2, 2)
    fidelity = measure_fidelity(decoder, given)
    assert fidelity.error < 0.1 * fidelity.mean_image


def test_fidelity_is_the_mean_square_over_everything():
    given = examples(300)  # more than a chunk
    decoder = train_decoder(given, SMALL)
    fidelity = measure_fidelity(decoder, given)
    frames = given.frames.double() / 255
    assert fidelity.error == pytest.approx(float((decoder(given.latents).detach() - frames).square().mean()), rel=1e-5)
    assert fidelity.mean_image == pytest.approx(float(frames.var(dim=0, correction=0).mean()), rel=1e-5)


def test_frames_are_the_rounded_pixels():
    given = examples(300)
    decoder = train_decoder(given, SMALL)
    pixels = decoder(given.latents)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    np.testing.assert_allclose(decoder.frames(given.latents), pixels.detach().numpy() * 255, atol=0.501)


def test_training_is_a_function_of_its_arguments():
    state = torch.get_rng_state()
    first, again, other = (train_decoder(examples(), replace(SMALL, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["queries"], other["queries"])
    assert torch.equal(state, torch.get_rng_state())


def test_equal_frames_and_constant_latents_are_no_trouble():
    given = Examples(torch.ones(8, 3), torch.full((8, 16, 16, 3), 51, dtype=torch.uint8))
    decoder = train_decoder(given, SMALL)
    assert (decoder.frames(given.latents) == 51).all()


def test_large_frames_are_shown_smaller():
    assert shown_size((64, 64), 128) == (64, 64)
    assert shown_size((224, 224), 128) == (128, 128)
    assert shown_size((100, 400), 128) == (32, 128)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8))
    assert shrink(frames, (8, 8)) is frames
    flat = torch.full((1, 8, 8, 3), 200, dtype=torch.uint8)
    assert (shrink(flat, (3, 5)) == torch.full((1, 3, 5, 3), 200)).all()


def test_rows_are_drawn_once_each_from_the_episodes(dataset):
    rows = draw_rows(dataset, np.array([2, 5]), 50, seed=0)
    assert len(set(rows.tolist())) == 50
    assert set(rows.tolist()) <= set(dataset.rows(np.array([2, 5])).tolist())
    assert not np.array_equal(rows, draw_rows(dataset, np.array([2, 5]), 50, seed=1))
    assert len(draw_rows(dataset, np.array([2]), 10**6, seed=0)) == dataset.lengths[2]


def test_rows_are_encoded_as_one_by_one(dataset, model):
    rows = np.arange(300)
    encoded = encode_rows(model, dataset, rows, (8, 8))
    frames = torch.from_numpy(dataset.frames(rows))
    assert torch.equal(encoded.frames, shrink(frames, (8, 8)))
    with torch.inference_mode():
        torch.testing.assert_close(encoded.latents, model.embed(frames))


def test_an_open_loop_is_the_rollout_of_the_recorded_actions(dataset, model):
    model.action_mean.fill_(0.1)
    loops = open_loops(model, dataset, [3, 0, 7], (16, 16))
    assert list(loops) == [3, 0, 7]
    assert len({len(loop.frames) for loop in loops.values()}) > 1
    skip, history = model.config.frameskip, model.history
    for episode, loop in loops.items():
        recorded = dataset.episode(episode)
        np.testing.assert_array_equal(loop.frames, recorded["pixels"][::skip])
        blocks = recorded["action"][: (len(loop.frames) - 1) * skip].reshape(1, -1, skip * 2)
        blocks = model.normalize_actions(torch.from_numpy(blocks).float())
        with torch.inference_mode():
            latents = model.embed(loop.frames)
            expected = model.rollout(latents[None, :history], blocks[:, None, history - 1 :], blocks[:, : history - 1])
        assert loop.context == history
        torch.testing.assert_close(loop.latents, latents)
        torch.testing.assert_close(loop.predicted[:history], latents[:history])
        torch.testing.assert_close(loop.predicted[history:], expected[0, 0])


def test_episodes_without_anything_to_predict_are_left_out(dataset, model):
    needed = model.history * model.config.frameskip
    lengths = dataset.lengths
    dataset.lengths = np.array([needed, needed + 1])
    try:
        assert long_enough(dataset, np.array([0, 1]), model).tolist() == [1]
    finally:
        dataset.lengths = lengths


def test_step_errors_are_means_over_the_episodes_that_last():
    frames = torch.zeros(4, 2, 2, 3, dtype=torch.uint8)
    line = torch.tensor([[0.0, 0], [3, 4], [6, 8], [9, 12]])
    long = OpenLoop(0, 1, frames, line, torch.zeros(4, 2))
    short = OpenLoop(1, 1, frames[:2], line[:2], line[:2])
    errors = step_errors([long, short])
    assert [(e.blocks, e.episodes, e.rollout, e.still) for e in errors] == [
        (1, 2, 2.5, 5.0),
        (2, 1, 10.0, 10.0),
        (3, 1, 15.0, 15.0),
    ]


def test_a_saved_decoder_is_the_same_bit_by_bit(run):
    decoder = train_decoder(examples(), replace(SMALL, seed=7))
    save_decoder(run, decoder)
    loaded = load_decoder(run, CPU)
    assert loaded.settings == decoder.settings
    assert loaded.frame_size == (10, 14)
    assert not loaded.training
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_decoders_that_are_missing_damaged_or_of_other_weights_are_refused(run, tiny, data):
    with pytest.raises(LewmError, match=r"no decoder\.safetensors(?s:.)*lewm decode"):
        load_decoder(run, CPU)
    save_decoder(run, Decoder(3, (8, 8), SMALL))
    good = (run / DECODER).read_bytes()
    (run / DECODER).write_bytes(good[:-4])
    with pytest.raises(LewmError, match="not a safetensors file"):
        load_decoder(run, CPU)
    (run / DECODER).write_bytes((run / "model.safetensors").read_bytes())
    with pytest.raises(LewmError, match="damaged, or of another version"):
        load_decoder(run, CPU)
    (run / DECODER).write_bytes(good)
    tensors, metadata = read_with_metadata(run / DECODER)
    about = json.loads(metadata["decoder"])
    for changes in (
        {"latent": 10**12},
        {"frame_size": [10**6, 10**6]},
        {"frame_size": 3},
        {"settings": about["settings"] | {"depth": 10**9}},
        {"settings": about["settings"] | {"grid": 0}},
        {"settings": about["settings"] | {"width": "wide"}},
    ):
        save_tensors(run / DECODER, tensors, {"decoder": json.dumps(about | changes)})
        with pytest.raises(LewmError, match="damaged, or of another version"):
            load_decoder(run, CPU)
    (run / DECODER).write_bytes(good)
    (run / "model.safetensors").write_bytes((run / "training.safetensors").read_bytes())
    with pytest.raises(LewmError, match="trained on other weights"):
        load_decoder(run, CPU)


def film(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_decode_leaves_a_report_pictures_and_a_film(run, dataset, tiny):
    shares = []
    report, path = decode_run(DecodeRequest(run, steps=8), CPU, shares.append)
    assert report.trained
    assert shares == [(i + 1) / 8 for i in range(8)]
    assert read_report(path) == json.loads(json.dumps(report.as_dict()))
    assert {file.name for file in path.with_suffix("").iterdir()} == {
        "reconstructions.png",
        "rollout.png",
        "rollout.mp4",
    }
    _, held_out = split_episodes(20, tiny.training.held_out, tiny.training.seed)
    assert set(report.episodes) <= set(held_out.tolist())
    blocks = max(-(-int(dataset.lengths[episode]) // 5) for episode in report.episodes)
    shown = film(path.with_suffix("") / "rollout.mp4")
    side = 256 + 2 * BORDER
    assert len(shown) == blocks + HOLD
    assert {frame.shape for frame in shown} == {(CAPTION + len(report.episodes) * side, 3 * side, 3)}
    truth = enlarge(dataset.episode(report.episodes[0])["pixels"][5:6], (256, 256))[0].astype(int)
    left = shown[1][CAPTION + BORDER : CAPTION + BORDER + 256, BORDER : BORDER + 256]
    assert np.abs(left - truth).mean() < 8


def test_what_is_imagined_in_the_film_is_the_decoded_rollout(run, dataset):
    report, path = decode_run(DecodeRequest(run, steps=8), CPU)
    episode = report.episodes[0]
    loop = open_loops(load(run), dataset, [episode], (16, 16))[episode]
    shown = film(path.with_suffix("") / "rollout.mp4")[len(loop.frames) - 1]
    for latent, left in ((loop.latents[-1], 256 + 3 * BORDER), (loop.predicted[-1], 512 + 5 * BORDER)):
        expected = enlarge(load_decoder(run, CPU).frames(latent[None]), (256, 256))[0].astype(int)
        panel = shown[CAPTION + BORDER : CAPTION + BORDER + 256, left : left + 256]
        assert np.abs(panel - expected).mean() < 8


def test_a_decoder_is_trained_once_until_asked_or_the_weights_change(run, monkeypatch):
    monkeypatch.setattr(decoding, "_draw", lambda *_: None)
    first, _ = decode_run(DecodeRequest(run, steps=8), CPU)
    written = (run / DECODER).read_bytes()
    again, _ = decode_run(DecodeRequest(run), CPU, lambda share: pytest.fail("trained"))
    assert (first.trained, again.trained) == (True, False)
    assert again.fidelity == first.fidelity
    assert decode_run(DecodeRequest(run, steps=8, retrain=True), CPU)[0].trained
    assert (run / DECODER).read_bytes() == written
    assert decode_run(DecodeRequest(run, steps=9), CPU)[0].decoder.steps == 9
    other, _ = decode_run(DecodeRequest(run, steps=8, seed=1, retrain=True), CPU)
    assert other.decoder.seed == 1
    tensors = read_tensors(run / "model.safetensors")
    tensors["projector.0.bias"] += 1
    save_tensors(run / "model.safetensors", tensors)
    assert decode_run(DecodeRequest(run, steps=8), CPU)[0].trained


def test_decode_shows_the_held_out_episode_asked_for(run, tiny):
    seen, held_out = split_episodes(20, tiny.training.held_out, tiny.training.seed)
    report, _ = decode_run(DecodeRequest(run, steps=1, episode=int(held_out[-1])), CPU)
    assert report.episodes == (held_out[-1],)
    with pytest.raises(LewmError, match=rf"episode {seen[0]} is not one(?s:.)*one of these: {held_out[0]}"):
        decode_run(DecodeRequest(run, steps=1, episode=int(seen[0])), CPU)


def test_decode_needs_the_data_of_training(run, tmp_path):
    other = tmp_path / "other.h5"
    collect(world("two-room"), other, 20, policy="expert", noise=2.0, frame_size=16, seed=5, num_envs=20)
    with pytest.raises(LewmError, match="what it held out is not known"):
        decode_run(DecodeRequest(run, data=other), CPU)


@pytest.mark.parametrize(("module", "extra"), [("av", "video"), ("matplotlib.figure", "plot")])
def test_decode_says_what_to_install_before_it_works(run, monkeypatch, module, extra):
    before = set(run.iterdir())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf'pip install -e "\.\[{extra}\]"'):
        decode_run(DecodeRequest(run), CPU)
    assert set(run.iterdir()) == before


def test_panels_are_whole_multiples_and_even():
    assert shown_at(64, 64) == (256, 256)
    assert shown_at(224, 224) == (448, 448)
    assert shown_at(300, 200) == (300, 200)
    assert shown_at(61, 64) == (366, 384)
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    np.testing.assert_array_equal(enlarge(frames, (6, 12)), frames.repeat(2, axis=1).repeat(3, axis=2))


def test_no_more_is_measured_than_there_is(run, monkeypatch):
    monkeypatch.setattr(decoding, "MEASURED_EPISODES", 1)
    report, _ = decode_run(DecodeRequest(run, steps=1), CPU)
    assert report.open_loop[0].episodes == 1
