"""The files of a run: one changed bit is found, and numbers that are not finite stop every reader."""

import json

import pytest
import torch

import lewm
from lewm.checkpoints import run
from lewm.decoding.decoder import Decoder, DecoderSettings
from lewm.decoding.decoder_file import DECODER, load_decoder, save_decoder
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.opened_run import open_run
from lewm.sealed import SealError, check_sealed, sealed_json
from lewm.surprise.reference import FILE, Reference, keep, stored

IDENTITY = run.DatasetIdentity("/data/rooms.h5", "ef" * 32, (16, 16), 20, "two-room")
SOME = {
    "a": torch.arange(2, dtype=torch.float32).reshape(1, 2),
    "count": torch.tensor(3),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "none": torch.empty(0, 4),
}


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_tensors_and_text_come_back(tmp_path):
    path = tmp_path / "some.safetensors"
    run.save_tensors(path, SOME, {"step": "7"})
    tensors, metadata = run.read_with_metadata(path)
    assert metadata.pop("sha256")
    assert metadata == {"step": "7"}
    assert tensors.keys() == SOME.keys()
    for name, tensor in SOME.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_the_same_content_is_the_same_file(tmp_path):
    text = {"step": "7", "an": 'a "quoted" \\ line\n', "é": "\x1f\x7f€"}
    paths = [tmp_path / f"{i}.safetensors" for i in range(8)]
    for path in paths:
        run.save_tensors(path, SOME, text)
    assert len({path.read_bytes() for path in paths}) == 1
    metadata = run.read_with_metadata(paths[0])[1]
    assert metadata.pop("sha256")
    assert metadata == text


def test_every_flipped_bit_of_a_tensor_file_is_found(tmp_path):
    path = tmp_path / "some.safetensors"
    run.save_tensors(path, SOME, {"step": "7"})
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        path.write_bytes(flipped(data, bit))
        with pytest.raises(LewmError, match=r"some\.safetensors"):
            run.read_tensors(path)
    path.write_bytes(data)
    assert run.read_tensors(path)


def test_flipped_bits_of_a_configuration_are_found(tiny, tmp_path):
    run.write_config(tmp_path, tiny, IDENTITY)
    path = tmp_path / run.CONFIG
    data = path.read_bytes()
    for bit in range(0, 8 * len(data), 11):  # 11 and 8 have no common factor: every place in a byte
        path.write_bytes(flipped(data, bit))
        with pytest.raises(LewmError, match=r"config\.json: (damaged|is not)"):
            run.read_config(tmp_path)
    path.write_bytes(data)
    assert run.read_config(tmp_path) == (tiny, IDENTITY)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * 100_000, "not JSON"),
        (b"9" * 6000, "not JSON"),
        (b'{"a": ' + b"9" * 6000 + b"}", "not JSON"),
        (b"\xff\xfe{}", "not text"),
        (b"[1]", "damaged"),
        (b"1", "damaged"),
        (b'"' + b"a" * 2_000_000 + b'"', "2,000,002 bytes"),
    ],
)
def test_hostile_json_is_refused_in_words(tmp_path, data, words):
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(LewmError, match=words):
        run.read_config(tmp_path)


def test_a_seal_is_renewed_and_required():
    text = sealed_json({"a": 1.5e-7, "b": "é"})
    content = json.loads(text)
    check_sealed(content, text)
    check_sealed(content | {"a": 2}, sealed_json(content | {"a": 2}))
    with pytest.raises(SealError, match="no checksum"):
        check_sealed({"a": 1}, '{"a": 1}')
    for other in (text.replace("e-", "E-"), text.replace(": ", ":  ", 1), text + " "):
        with pytest.raises(SealError, match="another content"):
            check_sealed(content, other)


def test_a_file_without_a_checksum_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file(SOME, tmp_path / "plain.safetensors")
    with pytest.raises(LewmError, match="has no checksum"):
        run.read_tensors(tmp_path / "plain.safetensors")


@pytest.fixture
def made(tiny, make_model, tmp_path):
    """A run with a configuration and weights, and the model."""
    model = make_model({})
    run.write_config(tmp_path, tiny, IDENTITY)
    run.save_tensors(tmp_path / run.MODEL, model.state_dict(), {"step": "6"})
    return tmp_path, model


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["projector.0.weight", "projector.1.running_var"])
def test_weights_that_are_not_finite_are_refused_with_their_names(made, name, value):
    directory, model = made
    tensors = model.state_dict()
    tensors[name][0] = value
    run.save_tensors(directory / run.MODEL, tensors, {"step": "6"})
    with pytest.raises(LewmError) as caught:
        lewm.load(directory)
    problem, remedy = str(caught.value).splitlines()
    assert problem == f"{directory / run.MODEL}: not finite: {name}"
    assert f"lewm train --resume --out {directory}" in remedy


def test_large_weights_are_finite_and_unknown_action_statistics_are_allowed(made):
    directory, model = made
    tensors = model.state_dict()
    tensors["action_mean"][:] = torch.nan
    tensors["projector.0.weight"][:] = 3e38
    run.save_tensors(directory / run.MODEL, tensors)
    assert lewm.load(directory).action_mean.isnan().all()


def test_a_decoder_that_is_damaged_or_not_finite_is_refused_with_its_own_remedy(made):
    directory, _ = made
    decoder = Decoder(8, (16, 16), DecoderSettings())
    save_decoder(directory, decoder)
    data = (directory / DECODER).read_bytes()
    (directory / DECODER).write_bytes(flipped(data, 8 * len(data) - 2))
    with pytest.raises(LewmError, match=rf"decoder\.safetensors: damaged.*\n.*lewm decode --run {directory}"):
        load_decoder(directory, torch.device("cpu"))
    with torch.no_grad():
        next(decoder.parameters())[0] = torch.nan
    save_decoder(directory, decoder)
    with pytest.raises(LewmError, match=rf"decoder\.safetensors: not finite.*\n.*lewm decode --run {directory}"):
        load_decoder(directory, torch.device("cpu"))


def test_a_damaged_reference_is_not_used_and_said_aloud(made, caplog):
    directory, _ = made
    run.save_tensors(directory / FILE, {"latents": torch.zeros(3)})
    (directory / FILE).write_bytes(flipped((directory / FILE).read_bytes(), 70))
    assert stored(open_run(directory)) is None
    assert "reference.safetensors" in caplog.text


@pytest.mark.parametrize("limit", ["CLEAN_FRAMES", "CONTEXTS", "BLOCKS", "THUMBNAILS"])
def test_a_reference_that_was_made_in_another_way_is_not_used(made, monkeypatch, limit):
    directory, model = made
    keep(directory, Reference(**whole_reference(model)))
    assert stored(open_run(directory)) is not None
    monkeypatch.setattr(f"lewm.surprise.reference.{limit}", 7)
    assert stored(open_run(directory)) is None


def test_a_reference_that_does_not_say_how_it_was_made_is_not_used(made):
    directory, model = made
    digest = sha256(directory / "model.safetensors")
    run.save_tensors(directory / FILE, whole_reference(model), {"checkpoint_sha256": digest})
    assert stored(open_run(directory)) is None


def whole_reference(model):
    return {
        "latents": torch.zeros(5, 8),
        "actions": torch.zeros(5, model.config.action_dim),
        "lengths": torch.tensor([2, 3]),
        "blocks": torch.zeros(3, model.config.action_block),
        "thumbnails": torch.zeros(3, 768, dtype=torch.uint8),
        "distances": torch.zeros(3),
    }


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("latents", torch.zeros(1, 5, 8), "latents: not"),
        ("latents", torch.zeros(5, 7), "latents: not"),
        ("latents", torch.zeros(5, 8, dtype=torch.int32), "latents: not"),
        ("actions", torch.zeros(4, 2), "lengths states"),
        ("lengths", torch.tensor([2, 4]), "lengths states"),
        ("lengths", torch.tensor([6, -1]), "lengths states"),
        ("lengths", torch.tensor(5), "lengths: not"),
        ("blocks", torch.zeros(0, 4), "blocks: not"),
        ("thumbnails", torch.zeros(3, 5, dtype=torch.uint8), "thumbnails: not"),
    ],
)
def test_a_reference_of_other_shapes_is_not_used_although_its_checksum_is_right(made, caplog, name, tensor, said):
    directory, model = made
    whole = whole_reference(model)
    keep(directory, Reference(**whole))
    _, metadata = run.read_with_metadata(directory / FILE)
    assert stored(open_run(directory)) is not None
    run.save_tensors(directory / FILE, whole | {name: tensor}, metadata)
    assert stored(open_run(directory)) is None
    assert said in caplog.text
