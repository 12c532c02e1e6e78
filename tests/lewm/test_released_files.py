"""Which file of a folder is read, in which form, and what of a configuration is refused."""

import os
import pickle
import shutil

import pytest
import safetensors.torch
import torch

import lewm
from lewm.checkpoints import released
from lewm.checkpoints.info import describe
from lewm.checkpoints.released_config import read_released_config
from lewm.errors import LewmError
from tests.lewm.released_folders import WEIGHTS, change_config, copied, same, tensors


@pytest.fixture
def folder(tmp_path, golden):
    return copied(golden, tmp_path)


def configured(folder, change):
    return read_released_config(change_config(folder, change)).model


@pytest.mark.parametrize("name", ["model.safetensors", "lewm.pt", "last.ckpt", "weights.pth"])
def test_the_only_file_of_weights_is_read(folder, name):
    model = lewm.load(folder)
    if name.endswith(".safetensors"):
        safetensors.torch.save_file(dict(tensors(folder)), folder / name)
        (folder / WEIGHTS).unlink()
    else:
        (folder / WEIGHTS).rename(folder / name)
    assert same(lewm.load(folder), model)
    assert same(lewm.load(folder / name), model)
    assert released.at(folder)


def test_the_last_epoch_is_read_and_the_others_are_named(folder):
    for name in ("weights_epoch_1.pt", "weights_epoch_x.pt", "lewm_object.ckpt", "model.safetensors"):
        (folder / name).write_bytes(b"another")
    found = released.locate(folder)
    assert found.weights.name == WEIGHTS
    assert found.others == ("lewm_object.ckpt", "model.safetensors", "weights_epoch_1.pt", "weights_epoch_x.pt")
    (folder / "weights.pt").write_bytes(b"the final one")
    assert released.locate(folder).weights.name == "weights.pt"


def test_two_files_of_which_neither_is_meant(folder):
    (folder / WEIGHTS).rename(folder / "a.pt")
    shutil.copy(folder / "a.pt", folder / "b.pt")
    with pytest.raises(LewmError, match=r"which file of weights is meant, a\.pt, b\.pt"):
        lewm.load(folder)
    assert lewm.load(folder / "a.pt")


def test_a_file_of_weights_without_its_configuration(folder):
    (folder / "config.json").unlink()
    for path in (folder, folder / WEIGHTS):
        with pytest.raises(LewmError, match=r"config\.json: No such file"):
            lewm.load(path)
    found = describe(str(folder))
    assert (found.tensors, found.model) == (68, None)
    assert any("config.json" in fault for fault in found.faults)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("name", ["weights.pt", "model.safetensors", "lewm_object.ckpt", "weights.ckpt"])
@pytest.mark.parametrize("read", [lewm.load, describe])
def test_no_object_is_ever_executed(folder, name, read):
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(Evil()))
    for path in (folder, folder / name):
        with pytest.raises(LewmError, match=r"pickled|not a file of tensors"):
            read(str(path))


@pytest.mark.parametrize("name", ["weights.pt", "model.safetensors"])
def test_files_of_absurd_sizes_are_refused_before_they_are_read(folder, name):
    with (folder / name).open("wb") as file:
        file.truncate(2**34)
    for read in (lewm.load, describe):
        with pytest.raises(LewmError, match="17,179,869,184 bytes, at most"):
            read(str(folder / name))


def test_a_pipe_in_place_of_weights(folder):
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    with pytest.raises(LewmError, match="is a named pipe"):
        lewm.load(folder / WEIGHTS)


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        ("encoder", "_target_", "timm.create_model", "expected stable_pretraining"),
        ("encoder", "hidden_act", "relu", "encoder.hidden_act is 'relu'"),
        ("encoder", "layer_norm_eps", 1e-6, "encoder.layer_norm_eps is 1e-06"),
        ("encoder", "qkv_bias", False, "encoder.qkv_bias is False"),
        ("encoder", "num_register_tokens", 4, "encoder.num_register_tokens is 4"),
        ("encoder", "intermediate_size", 10**9, "encoder.mlp: Input should be less"),
        ("encoder", "num_attention_heads", 5, "width 12 is not a multiple of heads 5"),
        (
            "projector",
            "norm_fn",
            {"_target_": "torch.nn.LayerNorm"},
            "projector.norm_fn: expected",
        ),
        ("projector", "act_fn", {"_target_": "torch.nn.ReLU"}, "projector.act_fn"),
        ("projector", "input_dim", 13, "projector.input_dim: expected 12"),
        ("pred_proj", "output_dim", 9, "pred_proj gives 9 numbers, expected latents of 8"),
        ("predictor", "output_dim", 14, "predictor.output_dim: expected 8"),
        ("predictor", "input_dim", 14, "predictor.input_dim: expected 8"),
        ("action_encoder", "emb_dim", 10, "action_encoder.emb_dim: expected 8"),
    ],
)
def test_a_model_that_ours_is_not(folder, table, key, value, words):
    with pytest.raises(LewmError) as caught:
        configured(folder, lambda content: content[table].update({key: value}))
    assert words in caught.value.problem


def test_what_makes_no_difference_may_be_there(folder):
    plain = read_released_config(folder / "config.json").model
    more = {"use_mask_token": True, "hidden_dropout_prob": 0.1, "hidden_act": "gelu", "initializer_range": 0.02}
    assert configured(folder, lambda content: content["encoder"].update(more)) == plain
    torch.save(dict(tensors(folder)) | {"encoder.embeddings.mask_token": torch.zeros(1, 1, 12)}, folder / WEIGHTS)
    assert lewm.load(folder).config.encoder == plain.encoder


def test_left_out_keys_have_the_constructors_defaults(folder):
    def shorten(content):
        content["encoder"] = {}
        content["projector"] = {"input_dim": 192, "hidden_dim": 18}
        content["predictor"] = {
            "num_frames": 3,
            "input_dim": 192,
            "hidden_dim": 8,
            "depth": 1,
            "heads": 1,
            "mlp_dim": 8,
        }
        content["action_encoder"] = {"emb_dim": 192}
        del content["pred_proj"]

    model = configured(folder, shorten)
    encoder, predictor = model.encoder, model.predictor
    assert (model.frame_size, encoder.patch, encoder.width, encoder.depth, encoder.mlp) == (224, 16, 192, 12, 768)
    assert (predictor.head_dim, predictor.dropout, predictor.projector_hidden) == (64, 0, None)
    assert (model.latent, model.action_block, model.action_embedder.bottleneck) == (192, 10, 10)
    assert model.action_embedder.hidden == 768


def test_info_names_every_fault_and_raises_none(folder):
    changed = dict(tensors(folder))
    del changed["predictor.pos_embedding"]
    changed["decoder.weight"] = torch.zeros(1)
    changed["projector.net.0.bias"] = torch.full((7,), torch.nan)
    wrapped = {f"model.{name}": one for name, one in changed.items()} | {"sigreg.t": torch.zeros(3)}
    torch.save({"state_dict": wrapped}, folder / WEIGHTS)
    found = describe(str(folder))
    assert found.layout == "transformers4"
    assert "tensor predictor.pos_embedding" in found.missing
    assert found.faults == (
        "surplus decoder.weight",
        "misshapen projector.net.0.bias [7], expected [18]",
        "not finite projector.net.0.bias",
    )
    assert found.aside == ("sigreg.t",)
    assert (found.action_dim, found.frameskip, found.model.action_block) == (None, None, 10)
    facts = found.facts()
    assert facts["actions"].startswith("blocks of 10 numbers; frameskip and numbers an action not stated")
    assert "to use it" not in facts
