"""What is written for the released code: bit for bit what was read, and only what it can hold."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import lewm
from lewm import recipes
from lewm.checkpoints.export import export, lost, released_config
from lewm.checkpoints.released_config import read_released_config
from lewm.checkpoints.released_names import LAYOUTS
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.model import build

SIZES = {
    "model.frame_size": 28,
    "model.latent": 6,
    "model.projector_hidden": 7,
    "model.encoder": {"kind": "vit", "patch": 7, "width": 8, "depth": 2, "heads": 2, "mlp": 9},
    "model.predictor.width": 10,
    "model.predictor.depth": 2,
    "model.predictor.heads": 3,
    "model.predictor.head_dim": 4,
    "model.predictor.mlp": 11,
    "model.predictor.projector_hidden": 12,
    "model.action_embedder.bottleneck": 5,
    "model.action_embedder.hidden": 18,
}


def small(**changes):
    """A model of the released kind in which no two widths are equal."""
    changes = {f"model.{key}": value for key, value in changes.items()}
    return build(resolve(recipes.paper("two-room", 2), None, SIZES | changes).model).eval()


def equal(some, others):
    return some.keys() == others.keys() and all(
        some[name].dtype == others[name].dtype and torch.equal(some[name], others[name]) for name in some
    )


def weights(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("source", LAYOUTS)
def test_both_layouts_are_the_same_model_bit_for_bit(golden, tmp_path, source, layout):
    folder = golden / "stable_worldmodel" / source
    model = lewm.load(folder)
    original = torch.load(folder / "weights_epoch_2.pt", weights_only=True)
    export(model, layout, tmp_path / "out")
    assert equal(weights(tmp_path / "out"), original) == (source == layout)
    again = lewm.load(tmp_path / "out")
    assert again.config == model.config
    export(again, source, tmp_path / "back")
    assert equal(weights(tmp_path / "back"), original)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_size_of_the_published_checkpoints(golden, fill, tmp_path, layout):
    """18.03 M parameters in 303 tensors, drawn as those of the golden values are."""
    names = json.loads((golden / "state_dict_keys.json").read_text())
    key = layout.replace("transformers", "transformers_")
    released = {}
    for name, shape in names[key].items():
        values = torch.from_numpy(np.asarray(fill.fill(names["v5_to_v4"].get(name, name), tuple(shape))))
        released[name] = values if values.dtype == torch.int64 else values.float()
    torch.save(released, tmp_path / "weights.pt")
    (tmp_path / "config.json").write_text((golden / "config_flat.json").read_text())
    model = lewm.load(tmp_path, action_dim=2)
    assert sum(parameter.numel() for parameter in model.parameters()) == 18_034_478
    assert export(model, layout, tmp_path / "out") == 303
    assert equal(weights(tmp_path / "out"), released)
    hydra = json.loads((golden / "config_hydra.json").read_text())
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == hydra


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"projector_hidden": None, "latent": 8, "action_embedder.hidden": 24},
        {"predictor.projector_hidden": None},
        {"predictor.width": 6},
        {"encoder.mlp": 768, "encoder.width": 192, "encoder.depth": 12, "encoder.heads": 3},
        {"action_embedder.bottleneck": 10, "action_embedder.hidden": 24},
        {"predictor.dropout": 0.25, "predictor.embedding_dropout": 0.5, "predictor.history": 1},
    ],
    ids=lambda changes: ", ".join(changes) or "all sizes",
)
def test_every_size_is_written_and_read_again(tmp_path, changes):
    model = small(**changes)
    export(model, "transformers4", tmp_path / "out")
    config = read_released_config(tmp_path / "out" / "config.json")
    assert config.of_actions(2, tmp_path, "data") == model.config
    frames = torch.randint(0, 256, (1, 2, 28, 28, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(lewm.load(tmp_path / "out").encode(frames), model.encode(frames))


def test_tensors_are_saved_in_memory_of_their_own(tmp_path):
    export(small(), "transformers5", tmp_path / "out")
    assert all(one.untyped_storage().nbytes() == one.nbytes for one in weights(tmp_path / "out").values())


def test_what_the_released_code_does_not_have(tiny):
    with pytest.raises(LewmError, match="no encoder of the kind conv"):
        released_config(tiny.model)
    residual = {**SIZES, "model.predictor": {**small().config.predictor.model_dump(), "kind": "residual"}}
    with pytest.raises(LewmError, match="no predictor of the kind residual"):
        released_config(resolve(recipes.paper("two-room", 2), None, residual).model)
    with pytest.raises(LewmError, match=r"BatchNorm in its projectors, and model\.projector_norm is none"):
        released_config(small(projector_norm="none").config)
    with pytest.raises(LewmError, match="a multiple of the latent's, 6: 19 is none"):
        released_config(small(**{"action_embedder.hidden": 19}).config)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_there_whole_or_not_at_all(tmp_path, monkeypatch, there):
    out = tmp_path / "above" / "out"
    if there:
        out.mkdir(parents=True)

    def full(tensors, path):
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            export(small(), "transformers4", out)
    assert [path.name for path in out.parent.rglob("*")] == ["out"] * there
    export(small(), "transformers4", out)
    assert sorted(path.name for path in out.parent.rglob("*")) == ["config.json", "out", "weights.pt"]


def test_the_folder_may_be_the_one_that_one_is_in_or_a_link(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(small(), "transformers4", Path())
    assert sorted(path.name for path in Path().iterdir()) == ["config.json", "weights.pt"]
    (tmp_path / "link").symlink_to(tmp_path / "there")
    export(small(), "transformers4", tmp_path / "link")
    assert weights(tmp_path / "here").keys() == weights(tmp_path / "there").keys()


def test_what_the_files_cannot_say_is_said():
    config = small().config
    (statistics,) = lost(config)
    assert "statistics of the actions" in statistics
    assert "model.fit is letterbox" in lost(config.model_copy(update={"fit": "letterbox"}))[1]


def test_numbers_of_half_the_width_become_float32(golden, tmp_path):
    """The values stay, and the type does not."""
    shutil.copytree(golden / "stable_worldmodel" / "transformers4", tmp_path / "half")
    file = tmp_path / "half" / "weights_epoch_2.pt"
    original = torch.load(file, weights_only=True)
    half = {name: one.half() if one.is_floating_point() else one for name, one in original.items()}
    torch.save(half, file)
    export(lewm.load(tmp_path / "half"), "transformers4", tmp_path / "out")
    written = weights(tmp_path / "out")
    assert half["predictor.pos_embedding"].dtype == torch.float16
    assert not equal(written, half)
    assert equal(written, {name: one.float() if one.is_floating_point() else one for name, one in half.items()})


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(LewmError, match="exists and is not an empty folder"):
            export(small(), "transformers4", out)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
