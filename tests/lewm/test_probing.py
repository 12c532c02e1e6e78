"""From a run to a report: features and their cache, what the report says, and what is refused."""

import json
import re
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lewm.checkpoints import load
from lewm.checkpoints.run import MODEL, save_tensors
from lewm.config import FrozenEncoder, FrozenProjector, resolve
from lewm.errors import LewmError
from lewm.files import home
from lewm.model.world_model import WorldModel
from lewm.probing import features, probes, space
from lewm.probing.command import ProbeRequest, probe_run
from lewm.probing.features import embed, pixel_components, random_encoder
from lewm.probing.report import FEATURES
from lewm.probing.sample import MIN_EPISODES, draw_sample
from lewm.report_files import read_report
from lewm.sealed import sealed_json
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.clips import split_episodes
from lewm_data.store.dataset import Dataset

CPU = torch.device("cpu")
WORLD = world("two-room")
EPISODES = 24


def made(path, **changes):
    settings = {"policy": "expert", "noise": 2.0, "frame_size": 16, "seed": 0, "num_envs": EPISODES} | changes
    collect(WORLD, path, EPISODES, **settings)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made(tmp_path_factory.mktemp("data") / "two-room.h5")


@pytest.fixture(scope="module")
def config(tiny):
    return resolve(tiny, None, {"training.held_out": 0.5})


@pytest.fixture(scope="module")
def trained(config, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(config, data, out, CPU)
    return out


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(32, 32), steps=40, validate_every=10))


@pytest.fixture
def dataset(data):
    with Dataset.open(data) as opened:
        yield opened


@pytest.fixture
def sample(dataset):
    return draw_sample(dataset, np.arange(EPISODES), 12, seed=0)


def nothing(share):
    pass


def request(run, data=None, targets=None, episodes=300, seed=0, tsne=False):
    return ProbeRequest(run, data, targets or {}, episodes, seed, tsne)


def cached():
    return sorted((home() / "cache" / "embeddings").iterdir())


def test_embeddings_are_the_models_and_are_made_once(dataset, sample, trained, monkeypatch):
    model = load(trained)
    shares = []
    first = embed(model, dataset, sample.rows, shares.append)
    with torch.inference_mode():
        expected = model.embed(torch.from_numpy(dataset.frames(sample.rows)))
    np.testing.assert_allclose(first, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert shares[-1] == 1
    monkeypatch.setattr(WorldModel, "embed", lambda *_: pytest.fail("encoded again"))
    assert np.array_equal(embed(load(trained), dataset, sample.rows, nothing), first)


def test_the_cache_is_keyed_by_weights_frames_and_data(dataset, sample, trained, tmp_path):
    model = load(trained)
    first = embed(model, dataset, sample.rows, nothing)
    assert np.array_equal(embed(model, dataset, sample.rows[::-1].copy(), nothing), first[::-1])
    with torch.no_grad():
        model.projector[0].bias += 1
    assert not np.array_equal(embed(model, dataset, sample.rows, nothing), first)
    with Dataset.open(made(tmp_path / "other.h5", seed=1)) as other:
        rows = np.minimum(sample.rows, other.num_steps - 1)
        embed(load(trained), other, rows, nothing)
    assert len(cached()) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"nonsense",
        lambda whole: whole[:-100],
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    ],
)
def test_a_damaged_cache_file_is_made_again(dataset, sample, trained, damage):
    model = load(trained)
    first = embed(model, dataset, sample.rows, nothing)
    file = cached()[0]
    file.write_bytes(damage(file.read_bytes()))
    assert np.array_equal(embed(model, dataset, sample.rows, nothing), first)
    assert np.array_equal(load_file(file)["embeddings"], first)


def test_a_frozen_encoder_is_as_random_and_normalised_as_any(config, dataset, sample):
    inner = config.model.encoder
    projector = FrozenProjector(hidden=16, latent=config.model.latent)
    frozen = FrozenEncoder(weights="nowhere", encoder=inner, projector=projector)
    settings = config.model.model_copy(update={"encoder": frozen, "projector_hidden": None})
    model = random_encoder(settings, dataset, sample, seed=0)
    inputs = []
    model.encoder.projector[1].register_forward_hook(lambda _, args, out: inputs.append(out))
    with torch.inference_mode():
        model.encode(torch.from_numpy(dataset.frames(sample.rows[sample.train]))[None])
    np.testing.assert_allclose(inputs[0].mean(dim=0), 0, atol=0.02)
    np.testing.assert_allclose(inputs[0].std(dim=0), 1, atol=0.05)


def test_a_random_encoder_is_normalised_by_train_frames(config, dataset, sample):
    model = random_encoder(config.model, dataset, sample, seed=0)
    inputs = []
    model.projector[1].register_forward_hook(lambda _, args, out: inputs.append((args[0], out)))
    with torch.inference_mode():
        model.encode(torch.from_numpy(dataset.frames(sample.rows[sample.train]))[None])
    normalised = inputs[0][1]
    np.testing.assert_allclose(normalised.mean(dim=0), 0, atol=0.02)
    np.testing.assert_allclose(normalised.std(dim=0), 1, atol=0.05)
    same, other = (random_encoder(config.model, dataset, sample, seed).encoder.state_dict() for seed in (0, 1))
    assert all(torch.equal(same[name], tensor) for name, tensor in model.encoder.state_dict().items())
    assert any(not torch.equal(other[name], tensor) for name, tensor in same.items())


def test_pixel_components_are_those_of_the_train_frames(dataset, sample):
    components = pixel_components(dataset, sample, 6, 0, nothing)
    pixels = dataset.frames(sample.rows).reshape(len(sample.rows), -1) / 255  # 16 pixels a side are not shrunk
    centred = pixels - pixels[sample.train].mean(axis=0)
    _, values, axes = np.linalg.svd(centred[sample.train], full_matrices=False)
    expected = centred @ axes[:6].T
    signs = np.sign((components * expected).sum(axis=0))
    np.testing.assert_allclose(components[:, :4] * signs[:4], expected[:, :4], atol=2e-2 * values[0] / 10)
    assert np.array_equal(components, pixel_components(dataset, sample, 6, 0, nothing))


def test_large_frames_are_shrunk_by_averaging():
    frames = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    means = frames.double().reshape(2, 32, 2, 32, 3, 3).mean(dim=(2, 4)).permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(features._shrink(frames), means.flatten(1), rtol=1e-5)


def test_the_report_says_everything_and_is_written_with_its_pictures(trained, data, config, monkeypatch):
    monkeypatch.setattr(space, "TSNE_FRAMES", 60)
    shares = []
    report, path = probe_run(
        request(trained, targets={"agent": "state", "x": "state[0]"}, tsne=True), CPU, lambda s, w: shares.append(s)
    )
    written = read_report(path)
    assert written == json.loads(json.dumps(report.as_dict()))
    assert [(one["property"], one["features"]) for one in written["probed"]] == [
        (name, kind) for name in ("agent", "x") for kind in FEATURES
    ]
    assert len(written["comparisons"]) == 2 * 2 * 2
    assert [space["features"] for space in written["spaces"]] == list(FEATURES)
    assert written["held_out"] is True
    assert written["episodes"] == {"train": 8, "validation": 2, "test": 2}
    with Dataset.open(data) as opened:
        _, held_out = split_episodes(EPISODES, config.training.held_out, config.training.seed)
        assert sum(written["frames"].values()) == opened.lengths[held_out].sum()
        assert written["dataset_fingerprint"] == opened.fingerprint()
    assert written["settings"]["mlp"]["hidden"] == [32, 32]
    pictures = {file.name for file in path.with_suffix("").iterdir()}
    assert pictures == {"scatter.png", "distances.png", "neighbours.png", "map.png", "space.png", "tsne.png"}
    assert shares[-1] == 1
    assert shares == sorted(shares)


def test_the_same_request_gives_the_same_report(trained):
    first, again, other = (probe_run(request(trained, seed=seed), CPU)[0].as_dict() for seed in (0, 0, 1))
    assert first == again
    assert first["probed"] != other["probed"]


def test_data_that_training_did_not_see_are_used_whole(trained, tmp_path):
    report, _ = probe_run(request(trained, made(tmp_path / "other.h5", seed=5), episodes=20), CPU)
    assert report.held_out is False
    assert report.episodes == {"train": 12, "validation": 4, "test": 4}


def test_a_quantity_that_the_latents_hold_is_found(trained, tmp_path):
    """Latents written into a column of the data are a linear function of themselves."""
    path = made(tmp_path / "told.h5", seed=7)
    with Dataset.open(path) as opened, torch.inference_mode():
        latents = load(trained).embed(torch.from_numpy(opened.frames(np.arange(opened.num_steps)))).numpy()
    with h5py.File(path, "a") as file:
        file["latent"] = latents[:, :2]
        file["noise"] = np.random.default_rng(0).normal(size=(len(latents), 1))
    report, _ = probe_run(request(trained, path, {"told": "latent", "noise": "noise"}), CPU)
    told, noise = (next(one for one in report.probed if one.property == name) for name in ("told", "noise"))
    assert told.linear.r.value > 0.9999
    assert told.linear.r2.value > 0.999
    assert abs(noise.linear.r.value) < 0.2
    assert abs(noise.linear.r2.value) < 0.1
    verdicts = {(one.property, one.probe, one.baseline): one.verdict for one in report.comparisons}
    assert verdicts["told", "linear", "random encoder"] == "better"


def test_collapsed_latents_are_reported_not_refused(trained, data, tmp_path):
    model = load(trained)
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "config.json").write_text((trained / "config.json").read_text())
    tensors = {name: torch.zeros_like(t) if "projector.3" in name else t for name, t in model.state_dict().items()}
    save_tensors(flat / MODEL, tensors)
    report, _ = probe_run(request(flat), CPU)
    assert report.probed[0].linear.r.value == 0
    assert report.spaces[0].straightness is None
    assert all(one.verdict == "worse" for one in report.comparisons if one.baseline == "pixel PCA")


def with_attribute(path, **attributes):
    with h5py.File(path, "a") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


def test_runs_and_data_that_do_not_belong_together_are_refused(trained, tmp_path, golden):
    with pytest.raises(LewmError, match="32 x 32 pixels, the run was trained on 16 x 16 pixels"):
        probe_run(request(trained, made(tmp_path / "large.h5", frame_size=32)), CPU)
    foreign = with_attribute(made(tmp_path / "foreign.h5"), env="push-t")
    with pytest.raises(LewmError, match="of the world push-t, the run was trained in two-room"):
        probe_run(request(trained, foreign), CPU)
    wide = made(tmp_path / "wide.h5")
    with h5py.File(wide, "a") as file:
        action = np.zeros((len(file["action"]), 3), np.float32)
        del file["action"]
        file["action"] = action
    with pytest.raises(LewmError, match="actions have 3 dimensions, the model expects 2"):
        probe_run(request(trained, wide), CPU)
    with pytest.raises(LewmError, match=r"4 of the 12 episodes held out of training .*\nGive --episodes 5"):
        probe_run(request(trained, episodes=4), CPU)


@pytest.fixture
def moon(trained, tmp_path):
    """A run of a world that nobody knows, and other data of it."""
    run = tmp_path / "unknown"
    run.mkdir()
    (run / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    content = json.loads((trained / "config.json").read_text())
    content["config"]["env"] = content["dataset"]["env"] = "moon"
    (run / "config.json").write_text(sealed_json(content))
    return run, with_attribute(made(tmp_path / "moon.h5"), env="moon")


def test_of_an_unknown_world_every_column_is_probed_for_that_can_be(moon, caplog):
    run, data = moon
    with h5py.File(data, "a") as file:
        rows = len(file["state"])
        file["height"] = file["state"][:, 1].astype(np.float32)
        file["still"] = np.ones(rows)
        file["depth"] = np.zeros((rows, 9, 9))
        file["gaps"] = np.full(rows, np.nan)
        file["odd[0]"] = np.arange(rows)
    report, path = probe_run(request(run, data), CPU)
    assert {one.property: one.expression for one in report.probed} == {"height": "height", "state": "state"}
    assert report.spaces[0].distance_correlation is None
    assert not (path.with_suffix("") / "distances.png").exists()
    for words in (
        "depth has 81 numbers",
        "still: constant",
        "gaps: not finite",
        "shortest paths of moon are not known",
    ):
        assert words in caplog.text, words
    report, _ = probe_run(request(run, data, {"agent": "state[0]"}), CPU)
    assert {one.property for one in report.probed} == {"agent"}


def test_where_no_column_can_be_probed_for_the_columns_are_listed(moon):
    run, data = moon
    with h5py.File(data, "a") as file:
        del file["state"]
    with pytest.raises(LewmError, match=r"no column to probe for\nGive --target NAME=COLUMN, .* action, episode_idx"):
        probe_run(request(run, data), CPU)


def test_five_episodes_are_enough_to_probe(trained):
    report, _ = probe_run(request(trained, episodes=5), CPU)
    assert report.episodes == {"train": 2, "validation": 1, "test": 2}
    for one in report.probed:
        low, high = one.linear.mse.interval_95
        assert low < high


@pytest.mark.parametrize("count", range(MIN_EPISODES, EPISODES + 1))
def test_a_sample_leaves_each_part_what_it_needs(dataset, count):
    found = draw_sample(dataset, np.arange(count), count, 0).episodes
    assert sum(found.values()) == count
    assert found["train"] >= 2
    assert found["validation"] >= 1
    assert found["test"] >= 2
    if count >= 10:
        assert found["validation"] == found["test"] == round(0.2 * count)


def test_too_few_held_out_episodes_are_met_with_a_share_that_holds_out_enough(data, dataset, tiny, tmp_path):
    with pytest.raises(LewmError, match=r"4 of the 4 episodes held out .*\n.*training.held_out=0.21") as raised:
        draw_sample(dataset, np.arange(4), 300, 0, held_out=True)
    assert "--episodes" not in str(raised.value)
    share = float(re.search(r"held_out=([0-9.]+)", str(raised.value))[1])
    run = tmp_path / "run"
    train(resolve(tiny, None, {"training.held_out": share}), data, run, CPU)
    assert sum(probe_run(request(run), CPU)[0].episodes.values()) == MIN_EPISODES
    with pytest.raises(LewmError, match=r"4 of the 4 episodes in it .*\nGive --data a dataset of more episodes"):
        draw_sample(dataset, np.arange(4), 300, 0)


def test_missing_packages_are_named_before_anything_is_done(trained, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(LewmError, match=r'pip install -e "\.\[plot\]"'):
            probe_run(request(trained), CPU)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(LewmError, match=r'pip install -e "\.\[tsne\]"'):
        probe_run(request(trained, tsne=True), CPU)
    assert not (home() / "cache").exists()
