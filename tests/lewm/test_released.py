"""Released checkpoints: equal outputs, every layout, and every way in which one can be wrong."""

import json
import pickle

import numpy as np
import pytest
import torch

import lewm
from lewm.checkpoints.frozen import settled, take_frozen
from lewm.checkpoints.released_config import read_released_config
from lewm.checkpoints.released_names import sources
from lewm.config import FrozenEncoder
from lewm.errors import LewmError
from lewm.model import build
from lewm_kernels.rollout import reference as rollout_definition
from lewm_kernels.rollout import rollout

LAYOUTS = ("transformers_4", "transformers_5")


@pytest.fixture(scope="module")
def names(golden):
    return json.loads((golden / "state_dict_keys.json").read_text())


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "lewm_reference.npz")


@pytest.fixture
def released(tmp_path, golden, fill, names):
    """Writes a released folder and returns it; `change` edits the tensors first."""

    def write(layout="transformers_4", form="flat", change=lambda tensors: None, action_width=10):
        tensors = {}
        for name, shape in names[layout].items():
            old = names["v5_to_v4"][name] if layout == "transformers_5" else name
            shape = [10, action_width, 1] if name == "action_encoder.patch_embed.weight" else shape
            values = torch.from_numpy(np.asarray(fill.fill(old, tuple(shape))))
            tensors[name] = values if values.dtype == torch.int64 else values.float()
        change(tensors)
        torch.save(tensors, tmp_path / "weights.pt")
        config = json.loads((golden / f"config_{form}.json").read_text())
        config["action_encoder"]["input_dim"] = action_width
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return write


def read_config(path):
    return read_released_config(path).assumed


def relative_error(ours, theirs):
    return np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()


def test_a_released_encoder_can_be_frozen(released):
    folder = released()
    theirs = lewm.load(folder)
    section = FrozenEncoder(weights=str(folder))
    model = build(settled(theirs.config.model_copy(update={"encoder": section, "projector_hidden": None})))
    take_frozen(model)
    frames = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(model.eval().embed(frames), theirs.embed(frames))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["flat", "hydra"])
def test_outputs_equal_the_released_code(released, fill, reference, layout, form):
    model = lewm.load(released(layout, form))
    frames = torch.from_numpy(fill.reference_pixels())[None]
    candidates = torch.from_numpy(fill.draw("action_candidates", (1, 4, 5, 10))).float()
    history = torch.from_numpy(fill.draw("action_history", (1, 2, 10))).float()
    with torch.inference_mode():
        z = model.encode(frames)
        outputs = {
            "embedding": z[0],
            "action_embedding": model.action_embedder(candidates[0, 0, :3]),
            "prediction": model.predict(z, candidates[:, 0, :3])[0],
        }
        one, three = model.rollout(z[:, :1], candidates)[0], model.rollout(z, candidates, history)[0]
        goal = z[0, 2]
        outputs["cost_1_frame"] = (one[:, -1] - goal).square().sum(dim=-1)
        outputs["cost_3_frames"] = (three[:, -1] - goal).square().sum(dim=-1)
    for name, output in outputs.items():
        assert relative_error(output, reference[name]) < 1e-5, name
    assert relative_error(one, reference["rollout_1_frame"][:, 1:]) < 1e-5
    assert relative_error(three, reference["rollout_3_frames"][:, 3:]) < 1e-5


def test_the_definition_of_a_rollout_equals_the_released_code_in_float64(golden, names, fill, reference):
    config = read_config(golden / "config_flat.json")
    released = {ours: layouts[0] for ours, layouts in sources(config)}
    weights = {}
    for name, tensor in build(config).state_dict().items():
        if name.startswith(("action_embedder.", "predictor.", "prediction_projector.")):
            (theirs,) = released[name]
            values = np.asarray(fill.fill(theirs, tuple(names["transformers_4"][theirs])))
            weights[name] = torch.from_numpy(values).reshape(tensor.shape)
    latents = torch.from_numpy(reference["embedding"])[None]
    candidates = torch.from_numpy(fill.draw("action_candidates", (1, 4, 5, 10)))
    history = torch.from_numpy(fill.draw("action_history", (1, 2, 10)))
    heads = config.predictor.heads
    one = rollout_definition.rollout(weights, latents[:, :1], candidates, heads=heads)[0]
    three = rollout_definition.rollout(weights, latents, candidates, history, heads=heads)[0]
    assert relative_error(one, reference["rollout_1_frame"][:, 1:]) < 1e-9
    assert relative_error(three, reference["rollout_3_frames"][:, 3:]) < 1e-9


@torch.inference_mode()
def test_rollouts_in_bfloat16_are_near_the_released_code(released, fill, reference):
    packed = lewm.load(released()).pack("bf16")
    latents = torch.from_numpy(reference["embedding"]).float()[None]
    candidates = torch.from_numpy(fill.draw("action_candidates", (1, 4, 5, 10))).float()
    history = torch.from_numpy(fill.draw("action_history", (1, 2, 10))).float()
    one = rollout(packed, latents[:, :1], candidates)[0]
    three = rollout(packed, latents, candidates, history)[0]
    assert 1e-5 < relative_error(one, reference["rollout_1_frame"][:, 1:]) < 2e-2
    assert 1e-5 < relative_error(three, reference["rollout_3_frames"][:, 3:]) < 2e-2


def test_cls_token_and_positions_interpolated_for_another_size(released, fill, reference):
    model = lewm.load(released())
    frames = torch.from_numpy(fill.reference_pixels()).permute(0, 3, 1, 2) / 255
    cropped = torch.from_numpy(fill.reference_pixels(seed=5))[:1, :196, :196].permute(0, 3, 1, 2) / 255
    normalise = [(pixels - model._pixel_mean) / model._pixel_std for pixels in (frames, cropped)]
    with torch.inference_mode():
        assert relative_error(model.encoder(normalise[0]), reference["cls"]) < 1e-5
        smaller = model.projector(model.encoder(normalise[1]))
    assert relative_error(smaller, reference["embedding_196px"]) < 1e-5


def test_what_a_configuration_leaves_out_has_the_constructors_defaults(released):
    directory = released()
    path = directory / "config.json"
    whole = read_config(path)
    content = json.loads(path.read_text())
    for part, names in (
        ("predictor", ("dim_head", "output_dim", "dropout", "emb_dropout")),
        ("projector", ("output_dim",)),
        ("pred_proj", ("output_dim",)),
    ):
        for name in names:
            del content[part][name]
    content["action_encoder"]["smoothed_dim"] = None
    path.write_text(json.dumps(content))
    short = lewm.load(directory).config
    assert (short.predictor.head_dim, short.latent) == (64, 192)
    assert (short.predictor.dropout, short.predictor.embedding_dropout) == (0, 0)
    unlike = {"predictor": short.predictor.model_copy(update={"dropout": whole.predictor.dropout})}
    assert short.model_copy(update=unlike) == whole


def test_what_training_wrapped_is_the_same_model(released):
    directory = released()
    plain = lewm.load(directory).state_dict()
    tensors = torch.load(directory / "weights.pt", weights_only=True)
    inner = {f"model.{name}": tensor for name, tensor in tensors.items()}
    content = {"epoch": 3, "state_dict": inner | {"sigreg.knots": torch.zeros(17)}}
    torch.save(content, directory / "weights.pt")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({"model": config, "seed": 1}))
    (directory / "weights.pt").rename(directory / "weights_epoch_10.pt")
    (directory / "weights_epoch_9.pt").write_bytes(b"an earlier one")
    wrapped = lewm.load(directory).state_dict()
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(tensor, wrapped[name]) for name, tensor in plain.items() if not name.startswith("action_"))


def test_every_parameter_of_ours_has_a_source_and_every_released_tensor_a_use(golden, names):
    config = read_config(golden / "config_flat.json")
    ours = dict(sources(config))
    expected = set(build(config).state_dict()) - {"action_mean", "action_std", "action_low", "action_high"}
    assert set(ours) == expected
    for number, layout in enumerate(LAYOUTS):
        used = [name for layouts in ours.values() for name in layouts[min(number, len(layouts) - 1)]]
        assert sorted(used) == sorted(names[layout])


@pytest.mark.parametrize("width", [5, 25, 7])
def test_any_action_width(released, width):
    model = lewm.load(released(action_width=width))
    assert model.config.action_block == width
    with torch.inference_mode():
        assert model.rollout(torch.zeros(1, 1, 192), torch.zeros(1, 2, 3, width)).shape == (1, 2, 3, 192)


def test_planning_in_environment_units_needs_action_statistics(released):
    with pytest.raises(LewmError, match="no action statistics"):
        lewm.load(released()).normalize_actions(torch.zeros(1, 10))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_every_missing_surplus_and_misshapen_tensor(released, layout):
    def damage(tensors):
        del tensors["predictor.pos_embedding"]
        del tensors["pred_proj.net.1.running_var"]
        tensors["decoder.weight"] = torch.zeros(1)
        tensors["projector.net.0.bias"] = torch.zeros(7)

    with pytest.raises(LewmError) as caught:
        lewm.load(released(layout, change=damage))
    message = str(caught.value)
    assert "missing predictor.pos_embedding, pred_proj.net.1.running_var" in message
    assert "surplus decoder.weight" in message
    assert "misshapen projector.net.0.bias [7], expected [2048]" in message


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_a_pickle_posing_as_weights_is_refused(released):
    directory = released()
    for write in (lambda f: torch.save({"a": Evil()}, f), lambda f: pickle.dump(Evil(), f)):
        with (directory / "weights.pt").open("wb") as file:
            write(file)
        with pytest.raises(LewmError, match=r"pickled|not a file of tensors"):
            lewm.load(directory)


def test_pickled_objects_are_named_with_the_way_out(tmp_path):
    file = tmp_path / "lewm_object.ckpt"
    file.write_bytes(pickle.dumps({}))
    for path in (file, tmp_path):
        with pytest.raises(LewmError, match=r"state_dict\(\)"):
            lewm.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"hello"])
def test_damaged_weights(released, content):
    directory = released()
    (directory / "weights.pt").write_bytes(content)
    with pytest.raises(LewmError, match=r"weights\.pt"):
        lewm.load(directory)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"encoder": {"size": "giant"}}'])
def test_damaged_config(released, content):
    directory = released()
    (directory / "config.json").write_text(content)
    with pytest.raises(LewmError, match=r"config\.json"):
        lewm.load(directory)
