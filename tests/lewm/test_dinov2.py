"""DINOv2's encoder equals the code of others, and reads their files; golden/dinov2/write.py made the outputs."""

import json
import re

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from lewm.checkpoints.frozen import settled, take_frozen
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.model import build
from lewm.model.dinov2 import Dinov2

PATCH, GRID, WIDTH = 4, 5, 24
SIDES = (20, 12)  # the positions are those of the first; for the second they are interpolated
SECTION = {"kind": "dinov2", "patch": PATCH, "width": WIDTH, "depth": 3, "heads": 3, "mlp": 48, "grid": GRID}
ENDINGS = ("safetensors", "pth")


def section_of(kind, **changes):
    return {**SECTION, "registers": 4 if kind == "registers" else 0, **changes}


def config_of(tiny, path, kind, side, module="", **changes):
    frozen = {"kind": "frozen", "weights": str(path), "module": module, "encoder": section_of(kind, **changes)}
    model = {"model.frame_size": side, "model.projector_hidden": None, "model.latent": WIDTH * (side // PATCH) ** 2}
    return resolve(tiny, None, {"model.encoder": frozen, "objective.kind": "prediction", **model})


def begun(config):
    """A model as training begins with it."""
    model = build(settled(config.model))
    take_frozen(model)
    return model.eval()


@pytest.fixture
def tensors(golden, fill):
    """Makes the tensors of a file: by the names of the transformers package, or of the released code."""
    names = json.loads((golden / "dinov2" / "names.json").read_text())

    def value(name):
        return torch.from_numpy(np.asarray(fill.fill(name, tuple(names["plain"][name])))).float()

    def by_released_name(name):
        block = re.match(r"blocks\.(\d+)\.(.*)", name)
        if block is None:
            parts = {
                "cls_token": "embeddings.cls_token",
                "pos_embed": "embeddings.position_embeddings",
                "mask_token": "embeddings.mask_token",
                "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
                "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
            }
            return value(parts.get(name, name.replace("norm.", "layernorm.")))
        rest = block[2].replace("attn.proj", "attention.output.dense")
        rest = re.sub(r"ls(.)\.gamma", r"layer_scale\1.lambda1", rest)
        layer = f"encoder.layer.{block[1]}"
        if "attn.qkv" in rest:
            parts = [rest.replace("attn.qkv", f"attention.attention.{part}") for part in ("query", "key", "value")]
            return torch.cat([value(f"{layer}.{part}") for part in parts])
        return value(f"{layer}.{rest}")

    def make(kind):
        if kind == "released":
            return {name: by_released_name(name) for name in names[kind]}
        shapes = names[kind]
        return {name: torch.from_numpy(np.asarray(fill.fill(name, tuple(shapes[name])))).float() for name in shapes}

    return make


@pytest.fixture
def expected(golden, fill):
    """Frames that are normalised, and what the code of others gives for them, flattened channel after channel."""
    outputs = np.load(golden / "dinov2" / "dinov2.npz")

    def of(kind, side):
        pixels = torch.from_numpy(fill.draw(f"pixels {side}", (2, 3, side, side))).float()
        return pixels, torch.from_numpy(outputs[f"{kind} {side}"]).mT.flatten(1)

    return of


def written(path, tensors):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def error(got, exact):
    return ((got - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["plain", "registers"])
@torch.inference_mode()
def test_it_gives_what_transformers_gives(tiny, tensors, expected, tmp_path, kind, side, ending):
    path = written(tmp_path / f"model.{ending}", tensors(kind))
    pixels, tokens = expected(kind, side)
    assert error(begun(config_of(tiny, path, kind, side)).encoder(pixels), tokens) < 1e-5
    assert tokens.std() > 0.3


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("names", ["plain", "chunks", "in a module"])
@torch.inference_mode()
def test_it_gives_what_the_released_code_gives(tiny, tensors, expected, tmp_path, names, ending):
    content, module = tensors("released"), ""
    if names == "chunks":
        content = {
            re.sub(r"blocks\.(\d)", lambda n: f"blocks.{int(n[1]) // 2}.{n[1]}", k): v for k, v in content.items()
        }
        assert "blocks.1.2.norm1.weight" in content
    elif names == "in a module":
        module = "backbone."
        content = {module + name: tensor for name, tensor in content.items()} | {"head.weight": torch.ones(1)}
    path = written(tmp_path / f"model.{ending}", content)
    pixels, tokens = expected("released", SIDES[0])
    assert error(begun(config_of(tiny, path, "released", SIDES[0], module)).encoder(pixels), tokens) < 1e-5


@torch.inference_mode()
def test_where_the_released_code_interpolates_otherwise(tiny, tensors, expected, tmp_path):
    """It scales to sides that are a tenth of a patch larger, and drops what is left over."""
    path = written(tmp_path / "model.pth", tensors("released"))
    model = begun(config_of(tiny, path, "released", SIDES[1]))
    pixels, tokens = expected("released", SIDES[1])
    assert 1e-3 < error(model.encoder(pixels), tokens) < 0.3
    encoder = model.encoder.encoder
    grid = encoder.positions[:, 1:].mT.unflatten(2, (GRID, GRID))
    scaled = F.interpolate(grid, scale_factor=(3.1 / GRID, 3.1 / GRID), mode="bicubic").flatten(2).mT
    encoder._positions = lambda side: (encoder.positions[:, :1], scaled)
    assert error(model.encoder(pixels), tokens) < 1e-5


@torch.inference_mode()
def test_the_file_of_a_module_of_ours_is_read_too(tiny, tensors, tmp_path):
    first = begun(config_of(tiny, written(tmp_path / "model.pth", tensors("registers")), "registers", SIDES[0]))
    path = written(tmp_path / "ours.safetensors", first.encoder.encoder.state_dict())
    second = begun(config_of(tiny, path, "registers", SIDES[0]))
    for name, tensor in first.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(second.state_dict()[name], tensor), name


@pytest.mark.parametrize("ending", ENDINGS)
def test_tensors_that_do_not_fit_are_named_as_the_file_names_them(tiny, tensors, tmp_path, ending):
    content = tensors("plain")
    del content["encoder.layer.1.attention.attention.key.bias"]
    content["encoder.layer.2.norm1.weight"] = torch.zeros(3)
    content["pooler.weight"] = torch.zeros(2)
    path = written(tmp_path / f"model.{ending}", content)
    with pytest.raises(LewmError) as told:
        begun(config_of(tiny, path, "plain", SIDES[0]))
    problem, remedy = str(told.value).split("\n")
    assert "missing encoder.layer.1.attention.attention.key.bias; surplus pooler.weight; misshapen" in problem
    assert "misshapen encoder.layer.2.norm1.weight [3], expected [24]" in problem
    assert remedy.startswith("Set model.encoder.module and model.encoder.encoder")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("registers", {"registers": 0}, "surplus embeddings.register_tokens"),
        ("plain", {"registers": 4}, "missing embeddings.register_tokens"),
        ("registers", {"registers": 3}, "misshapen embeddings.register_tokens [1, 4, 24], expected [1, 3, 24]"),
        ("plain", {"grid": 4}, "misshapen embeddings.position_embeddings [1, 26, 24], expected [1, 17, 24]"),
        ("plain", {"depth": 2}, "surplus encoder.layer.2."),
    ],
)
def test_a_section_of_other_sizes_than_the_file_is_refused(tiny, tensors, tmp_path, ending, kind, changes, words):
    path = written(tmp_path / f"model.{ending}", tensors(kind))
    with pytest.raises(LewmError) as told:
        begun(config_of(tiny, path, kind, SIDES[0], **changes))
    assert words in str(told.value)


def test_weights_that_are_no_numbers_are_refused(tiny, tensors, tmp_path):
    content = tensors("released")
    content["blocks.2.ls2.gamma"][5] = torch.nan
    with pytest.raises(LewmError, match=r"not finite: blocks\.2\.ls2\.gamma"):
        begun(config_of(tiny, written(tmp_path / "model.pth", content), "released", SIDES[0]))


def test_the_defaults_are_the_released_small_model(tiny):
    """Its file has 22,056,576 numbers, of which 384 stand for patches that are hidden."""
    frozen = {"kind": "frozen", "weights": "dinov2_vits14_pretrain.pth", "encoder": {"kind": "dinov2"}}
    changes = {"model.frame_size": 224, "model.projector_hidden": None, "model.latent": 256 * 384}
    config = resolve(tiny, None, {"model.encoder": frozen, "objective.kind": "prediction", **changes})
    encoder = config.model.encoder.encoder
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Dinov2(encoder, 224).parameters()) == 22_056_576 - 384
