"""Tests of every kind of encoder and predictor in the tables."""

from typing import Literal

import pytest
import torch

from lewm import config as cfg
from lewm.checkpoints.info import describe_run
from lewm.checkpoints.run import DatasetIdentity, load_run, save_tensors, write_config
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.model import ENCODERS, PREDICTORS, build
from lewm.model.assembly import frozen_count, parameter_count
from lewm.model.frozen import Frozen
from lewm.model.parts import Predictor
from lewm_kernels.rollout import reference

SIDE = 16
VIT = {"kind": "vit", "patch": 4, "width": 24, "depth": 2, "heads": 3, "mlp": 32}
FROZEN = {
    "kind": "frozen",
    "weights": "nowhere",
    "encoder": VIT,
    "projector": {"hidden": 32, "latent": 12},
}
KEYPOINTS = {"kind": "conv", "channels": [4], "width": 16, "dilations": [1, 2], "keypoints": 3, "features": 5}
SECTIONS = {
    "vit": VIT,
    "conv": {"kind": "conv", "channels": [4, 8], "width": 16},
    "efficientnet": {"kind": "efficientnet"},
    "dinov2": {"kind": "dinov2", "patch": 4, "width": 24, "depth": 2, "heads": 3, "mlp": 32, "registers": 1, "grid": 3},
    "impala": {"kind": "impala", "channels": [4, 8], "blocks": 2, "width": 16},
    "frozen": FROZEN,
    "joined": {
        "kind": "joined",
        "parts": [{"kind": "joined", "parts": [VIT, FROZEN]}, KEYPOINTS],
    },
}


def frames(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


def config_of(tiny, kind, **changes):
    return resolve(tiny, None, {"model.encoder": SECTIONS[kind], **changes})


@pytest.fixture(params=sorted(ENCODERS))
def encoding(request, tiny):
    """A configuration for each kind of encoder."""
    return config_of(tiny, request.param)


def trained(config):
    """A model whose BatchNorm has statistics of frames, in training mode."""
    torch.manual_seed(0)
    model = build(config.model)
    model.encode(frames(32)[None]).sum().backward()
    return model


def test_each_kind_of_the_configuration_can_be_built():
    assert set(cfg.Encoder.kinds) == set(ENCODERS) == set(SECTIONS)
    assert set(cfg.Predictor.kinds) == set(PREDICTORS)


def test_an_encoder_says_how_wide_its_embedding_is(encoding):
    model = build(encoding.model)
    assert model.encoder.width == encoding.model.encoder.width_at(SIDE)
    assert model.encoder(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, model.encoder.width)


@pytest.fixture
def set_threads():
    """Sets how many threads PyTorch has, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
@torch.inference_mode()
def test_an_embedding_is_the_same_alone_and_in_any_batch(encoding, threads, set_threads):
    """With one thread to the last bit; several threads divide a product in ways that depend on its size."""
    set_threads(threads)
    with torch.inference_mode(False):
        model = trained(encoding).eval()
    pixels = frames(70)
    together = model.encode(pixels[None])[0]
    assert together.std(dim=0).min() > 0
    error = 0 if threads == 1 else 1e-5
    for some in (slice(0, 1), slice(5, 7), slice(3, 20), slice(1, 67)):
        torch.testing.assert_close(model.encode(pixels[None, some])[0], together[some], rtol=error, atol=error)


def test_gradients_reach_the_parameters_that_are_trained_and_no_others(encoding):
    model = trained(encoding)
    frozen = {
        parameter
        for module in model.encoder.modules()
        if isinstance(module, Frozen)
        for parameter in module.parameters()
    }
    assert all((parameter.grad is None) == (parameter in frozen) for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.projector.parameters())
    assert frozen_count(encoding.model) == sum(parameter.numel() for parameter in frozen)
    learnt = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert parameter_count(encoding.model) == learnt


def test_a_run_comes_back_with_its_configuration_and_embeddings(encoding, tmp_path):
    model = trained(encoding).eval()
    write_config(tmp_path, encoding, DatasetIdentity("data.h5", "0", (SIDE, SIDE), 2, None))
    save_tensors(tmp_path / "model.safetensors", model.state_dict())
    again = load_run(tmp_path)
    assert again.config == encoding.model
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again.embed(frames(3)), model.embed(frames(3)))


def test_info_says_where_projectors_have_no_batch_norm(tiny, tmp_path):
    said = {}
    for norm in ("batch", "none"):
        config = resolve(tiny, None, {"model.projector_norm": norm})
        (tmp_path / norm).mkdir()
        write_config(tmp_path / norm, config, DatasetIdentity("data.h5", "0", (SIDE, SIDE), 2, None))
        save_tensors(tmp_path / norm / "model.safetensors", build(config.model).state_dict())
        said[norm] = describe_run(tmp_path / norm).facts().get("projectors")
    assert said == {"batch": None, "none": "without BatchNorm"}


def test_a_frame_that_the_encoder_cannot_take_is_refused(encoding):
    size = SIDE + 1
    with pytest.raises(LewmError, match=f"frame_size {size}"):
        resolve(encoding, None, {"model.frame_size": size})


def test_a_frame_that_a_part_cannot_take_names_the_part(tiny):
    parts = [KEYPOINTS, {**KEYPOINTS, "channels": [4] * 5}]
    with pytest.raises(LewmError, match=r"model: parts\.1: frame_size 16 cannot be halved 5 times"):
        resolve(tiny, None, {"model.encoder": {"kind": "joined", "parts": parts}})


def test_joined_parts_stand_side_by_side_in_their_order(tiny):
    encoder = build(config_of(tiny, "joined").model).encoder.eval()
    pixels = torch.randn(3, 3, SIDE, SIDE)
    first, second = encoder.parts
    with torch.inference_mode():
        assert torch.equal(encoder(pixels), torch.cat([first(pixels), second(pixels)], dim=1))


@pytest.mark.parametrize("kind", ["vit", "conv"])
def test_without_a_projector_the_latent_is_the_embedding(tiny, kind):
    width = SECTIONS[kind]["width"]
    config = config_of(tiny, kind, **{"model.projector_hidden": None, "model.latent": width})
    model = build(config.model).eval()
    normalised = torch.randn(2, 3, SIDE, SIDE)
    model._pixels = lambda _: normalised
    with torch.inference_mode():
        assert torch.equal(model.encode(frames(2)[None])[0], model.encoder(normalised))
    with pytest.raises(LewmError, match=f"latent {width + 1}, expected {width}.*projector_hidden is none"):
        resolve(config, None, {"model.latent": width + 1})


def rolled_out_by_hand(model, latents, candidates, history):
    """One candidate at a time, one block after the other."""
    B, S, H, _ = candidates.shape
    out = torch.empty(B, S, H, latents.shape[-1])
    for b in range(B):
        for s in range(S):
            seen, blocks = latents[b], torch.cat([history[b], candidates[b, s]])
            for h in range(H):
                first = max(0, len(seen) - model.history)
                following = model.predict(seen[None, first:], blocks[None, first : len(seen)])[0, -1]
                out[b, s, h] = following
                seen = torch.cat([seen, following[None]])
    return out


@pytest.fixture(params=sorted(PREDICTORS))
def predicting(request, tiny, make_model):
    """Makes a model for each kind of predictor, with weights that all matter."""
    section = {**tiny.model.predictor.model_dump(), "kind": request.param, "history": 3}
    if request.param == "patches":
        section = {"kind": "patches", "patches": 4, "depth": 2, "heads": 3, "head_dim": 5, "mlp": 16}
    return lambda changes: make_model({"model.predictor": section, **changes})


@pytest.fixture(params=sorted(set(PREDICTORS) - {"patches"}))
def projected(request, tiny, make_model):
    """The same for the kinds that a projector may follow."""
    section = {**tiny.model.predictor.model_dump(), "kind": request.param, "history": 3}
    return lambda changes: make_model({"model.predictor": section, **changes})


@pytest.mark.parametrize("L", [1, 2, 3])
def test_every_way_of_rolling_out_takes_the_steps_that_predict_takes(predicting, L):
    model = predicting({})
    inputs = torch.randn(2, L, 8), torch.randn(2, 3, 4, 10), torch.randn(2, L - 1, 10)
    with torch.inference_mode():
        expected = rolled_out_by_hand(model, *inputs)
        assert model.packs == (model.config.predictor.kind != "patches")
        torch.testing.assert_close(model.rollout(*inputs), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.roll_by_steps(*inputs), expected, rtol=1e-4, atol=1e-5)
        by_steps = reference.step_by_step(model.predict, *inputs, longest=model.history)
        torch.testing.assert_close(by_steps, expected, rtol=1e-4, atol=1e-5)
    with_gradient = model.rollout(*inputs)
    assert with_gradient.requires_grad
    torch.testing.assert_close(with_gradient.detach(), expected, rtol=1e-4, atol=1e-5)


def test_only_a_residual_predictor_adds_to_the_latent_of_each_step(predicting):
    model = predicting({})
    latents, actions = torch.randn(2, 3, 8), torch.randn(2, 3, 10)
    with torch.inference_mode():
        made = model.prediction_projector(model.predictor(latents, model.action_embedder(actions)))
        added = model.predict(latents, actions) - made
    expected = latents if model.config.predictor.kind == "residual" else torch.zeros_like(latents)
    torch.testing.assert_close(added, expected)


def test_a_residual_predictor_begins_with_no_change(tiny):
    section = {**tiny.model.predictor.model_dump(), "kind": "residual", "history": 3}
    model = build(resolve(tiny, None, {"model.predictor": section}).model)
    latents, candidates = torch.randn(2, 3, 8), torch.randn(2, 3, 4, 10)
    assert torch.equal(model.predict(latents, candidates[:, 0, :3]), latents)
    rolled_out = model.eval().rollout(latents[:, :1], candidates)
    assert torch.equal(rolled_out, latents[:, :1, None].expand_as(rolled_out))


def test_a_predictor_without_projector_is_rolled_out_by_steps(projected):
    model = projected({"model.encoder.width": 16, "model.latent": 16, "model.predictor.projector_hidden": None})
    inputs = torch.randn(2, 2, 16), torch.randn(2, 3, 4, 10), torch.randn(2, 1, 10)
    assert not model.packs
    with torch.inference_mode():
        torch.testing.assert_close(model.rollout(*inputs), rolled_out_by_hand(model, *inputs), rtol=1e-5, atol=1e-5)
    with pytest.raises(LewmError, match="cannot be packed: no projector follows the predictor"):
        model.pack()


@pytest.mark.parametrize("L", [1, 3])
def test_projectors_without_batch_norm_are_packed_and_need_no_other_frames(projected, L):
    model = projected({"model.projector_norm": "none"})
    assert model.config.projector_norm == "none"  # the command line and its files read the word as None
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules())
    inputs = torch.randn(2, L, 8), torch.randn(2, 3, 4, 10), torch.randn(2, L - 1, 10)
    assert model.packs
    with torch.inference_mode():
        expected = rolled_out_by_hand(model, *inputs)
        torch.testing.assert_close(model.rollout(*inputs), expected, rtol=1e-4, atol=1e-5)
    with_gradient = model.rollout(*inputs)
    assert with_gradient.requires_grad
    torch.testing.assert_close(with_gradient.detach(), expected, rtol=1e-4, atol=1e-5)
    model.train()
    pixels = frames(8)[None]
    torch.testing.assert_close(model.encode(pixels)[:, :2], model.encode(pixels[:, :2]))


def test_a_model_that_packs_has_no_obstacle(model):
    assert model.packs
    assert model.packing_obstacle is None


@pytest.fixture
def mean_predictor(monkeypatch):
    """A kind of predictor that the operators do not know, for the length of a test."""

    class MeanSection(cfg.Predictor):
        kind: Literal["mean"] = "mean"

    class Mean(Predictor):
        """The mean of the latents so far, moved by the action."""

        def __init__(self, section, latent):
            super().__init__()
            self.history = section.history
            self.move = torch.nn.Linear(latent, latent)

        def forward(self, latents, actions):
            counts = torch.arange(1, latents.shape[1] + 1)[:, None]
            return latents.cumsum(dim=1) / counts + self.move(actions)

    monkeypatch.setitem(PREDICTORS, "mean", Mean)
    yield
    del cfg.Predictor.kinds["mean"]


@pytest.mark.usefixtures("mean_predictor")
def test_a_kind_of_predictor_needs_a_section_and_a_line(tiny):
    model = build(resolve(tiny, None, {"model.predictor": {"kind": "mean", "history": 2}}).model).eval()
    latents, candidates, history = torch.randn(2, 2, 8), torch.randn(2, 3, 4, 10), torch.randn(2, 1, 10)
    with torch.no_grad():
        expected = rolled_out_by_hand(model, latents, candidates, history)
        torch.testing.assert_close(model.rollout(latents, candidates, history), expected, rtol=1e-5, atol=1e-5)
    candidates.requires_grad_()
    model.rollout(latents, candidates, history).sum().backward()
    assert (candidates.grad != 0).any(dim=-1).all()
    with pytest.raises(LewmError, match='there is no kernel for the predictor "mean"'):
        model.pack()
