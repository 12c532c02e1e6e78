"""Checkpoints of the released code: a directory with `weights.pt` (or `weights_epoch_N.pt`) and `config.json`.

Two layouts of the encoder's names exist (transformers 4 and 5) and two forms of config.json (with Hydra's `_target_`
keys and without); both of each are read. The action statistics are not in the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lewm.checkpoints.faults import BELONGS, refuse_faults, refuse_not_finite
from lewm.checkpoints.tensor_files import read_pickled
from lewm.config import AdalnPredictor, Model, VitEncoder, validate
from lewm.errors import LewmError
from lewm.model import build
from lewm.model.world_model import WorldModel
from lewm.reading import check_file, read_json

WEIGHTS = "weights.pt"
CONFIG = "config.json"
SAFE_PAIR = f"Ask its author for {WEIGHTS} saved from state_dict(), with {CONFIG}; a pickled object is never loaded."

# encoder size of the released code -> width, depth, heads
ENCODERS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
MLP_RATIO = 4  # hidden width / width, in those encoders and in the action embedder
BOTTLENECK = 10  # width of the narrowest layer of the released action embedder
EPOCH = "weights_epoch_"  # the beginning of the names of the files that the released training writes
MODEL = "model."  # the beginning of the tensors' names where a whole training module was saved

FRAMESKIP = 5  # facts of the released training, not stored in its files


def load_official(directory: Path) -> WorldModel:
    """The released model in `directory`, in eval mode, without action statistics.

    Raises:
        LewmError: a file is missing or unreadable, is a pickled object, or its tensors are not those of the model
            (each missing, surplus or misshapen one is named) or are not finite.
    """
    path = weights_in(directory) or directory / WEIGHTS
    model = build(read_config(directory / CONFIG))
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    tensors = read_weights(path, numbers)
    state = _translate(tensors, model, path)
    refuse_not_finite(path, tensors, "Download it again.")
    model.load_state_dict(state, strict=False)
    return model.eval()


def weights_in(directory: Path) -> Path | None:
    """The file of released weights in a directory: weights.pt, or the last weights_epoch_N.pt that training wrote."""
    if (directory / WEIGHTS).is_file():
        return directory / WEIGHTS
    epochs = {int(file.stem[len(EPOCH) :]): file for file in directory.glob(f"{EPOCH}[0-9]*.pt") if _is_epoch(file)}
    return epochs[max(epochs)] if epochs else None


def _is_epoch(file: Path) -> bool:
    number = file.stem[len(EPOCH) :]
    return number.isascii() and number.isdecimal() and file.is_file()


def read_config(path: Path) -> Model:
    """The sizes that a config.json of either form states; where training wrote it, its entry "model" states them.

    What is left out has the default of the released constructors.

    Raises:
        LewmError: it cannot be read, an entry without a default is missing, or a value is wrong; the entry is named.
    """
    tree = read_json(path, f"Put the {CONFIG} that belongs to the weights beside {WEIGHTS}.")
    if isinstance(tree, dict) and "encoder" not in tree and "model" in tree:
        tree = tree["model"]
    encoder, predictor, projector, actions = (
        _Part(path, tree, name) for name in ("encoder", "predictor", "projector", "action_encoder")
    )
    size = encoder.text("size")
    if size not in ENCODERS:
        raise LewmError(f'{path}: encoder size "{size:.80}"', f"Known: {', '.join(ENCODERS)}.")
    width, depth, heads = ENCODERS[size]
    block = actions.number("input_dim", 10)
    frameskip = 1 if block % FRAMESKIP else FRAMESKIP  # where blocks are not of five actions, a block counts as one
    values = {
        "frame_size": encoder.number("image_size"),
        "fit": "crop",  # the published data are square
        "frameskip": frameskip,
        "action_dim": block // frameskip,
        "latent": projector.number("output_dim", projector.values.get("input_dim")),
        "projector_hidden": projector.number("hidden_dim"),
        "encoder": {
            "kind": "vit",
            "patch": encoder.number("patch_size"),
            "width": width,
            "depth": depth,
            "heads": heads,
            "mlp": MLP_RATIO * width,
        },
        "predictor": {
            "kind": "adaln",
            "history": predictor.number("num_frames"),
            "projector_hidden": projector.number("hidden_dim"),
            "width": predictor.number("hidden_dim"),
            "depth": predictor.number("depth"),
            "heads": predictor.number("heads"),
            "head_dim": predictor.number("dim_head", 64),
            "mlp": predictor.number("mlp_dim"),
            "dropout": predictor.values.get("dropout", 0.0),
            "embedding_dropout": predictor.values.get("emb_dropout", 0.0),
        },
        "action_embedder": {
            "bottleneck": actions.number("smoothed_dim", BOTTLENECK),
            "hidden": actions.number("mlp_scale", MLP_RATIO) * actions.number("emb_dim"),
        },
    }
    return validate(Model, values, str(path), f"Give a {CONFIG} with a value that can be.")


class _Part:
    """A table of config.json."""

    def __init__(self, path: Path, tree: Any, name: str) -> None:  # noqa: ANN401
        self.path, self.name = path, name
        values = tree.get(name) if isinstance(tree, dict) else None
        if not isinstance(values, dict):
            raise self._error(name, "a table", values)
        self.values: dict[str, Any] = values

    def number(self, key: str, default: Any = None) -> int:  # noqa: ANN401
        """A whole number above 0; null stands for the default, as it does in the constructors."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._error(f"{self.name}.{key}", "a whole number above 0", value)
        return value

    def text(self, key: str) -> str:
        """A text."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self._error(f"{self.name}.{key}", "a text", value)
        return value

    def _error(self, key: str, expected: str, value: Any) -> LewmError:  # noqa: ANN401
        found = "it is missing" if value is None else f"got {value!r:.80}"
        return LewmError(
            f"{self.path}: not a LeWM configuration: {key}: expected {expected}, {found}",
            f"Give the {CONFIG} that was written with these weights.",
        )


def sources(config: Model) -> Iterator[tuple[str, list[list[str]]]]:
    """Each parameter of ours, and for each name layout the released tensors that it is made of, in order.

    The query, key and value of the encoder are one tensor in our model, stacked along their first dimension.
    """
    assert isinstance(config.encoder, VitEncoder)
    assert isinstance(config.predictor, AdalnPredictor)
    embeddings = {
        "cls_token": "cls_token",
        "positions": "position_embeddings",
        "patch.weight": "patch_embeddings.projection.weight",
        "patch.bias": "patch_embeddings.projection.bias",
    }
    for ours, theirs in embeddings.items():
        yield f"encoder.{ours}", [[f"encoder.embeddings.{theirs}"]]
    for layer in range(config.encoder.depth):
        old, new = f"encoder.encoder.layer.{layer}", f"encoder.layers.{layer}"
        for leaf in ("weight", "bias"):
            block = f"encoder.blocks.{layer}"
            yield (
                f"{block}.qkv.{leaf}",
                [
                    [f"{old}.attention.attention.{part}.{leaf}" for part in ("query", "key", "value")],
                    [f"{new}.attention.{part}_proj.{leaf}" for part in ("q", "k", "v")],
                ],
            )
            for ours, theirs_4, theirs_5 in (
                ("out", "attention.output.dense", "attention.o_proj"),
                ("fc1", "intermediate.dense", "mlp.fc1"),
                ("fc2", "output.dense", "mlp.fc2"),
                ("attention_norm", "layernorm_before", "layernorm_before"),
                ("mlp_norm", "layernorm_after", "layernorm_after"),
            ):
                yield f"{block}.{ours}.{leaf}", [[f"{old}.{theirs_4}.{leaf}"], [f"{new}.{theirs_5}.{leaf}"]]
    affine = {"encoder.norm": "encoder.layernorm", "predictor.norm": "predictor.transformer.norm"}
    affine |= {
        "action_embedder.bottleneck": "action_encoder.patch_embed",
        "action_embedder.hidden": "action_encoder.embed.0",
        "action_embedder.out": "action_encoder.embed.2",
    }
    yield "predictor.positions", [["predictor.pos_embedding"]]
    if config.predictor.width != config.latent:
        for ours, theirs in (("input", "input_proj"), ("condition", "cond_proj"), ("output", "output_proj")):
            affine[f"predictor.{ours}"] = f"predictor.transformer.{theirs}"
    for layer in range(config.predictor.depth):
        block, released = f"predictor.blocks.{layer}", f"predictor.transformer.layers.{layer}"
        yield f"{block}.qkv.weight", [[f"{released}.attn.to_qkv.weight"]]
        affine |= {
            f"{block}.attention_norm": f"{released}.attn.norm",
            f"{block}.out": f"{released}.attn.to_out.0",
            f"{block}.mlp_norm": f"{released}.mlp.net.0",
            f"{block}.fc1": f"{released}.mlp.net.1",
            f"{block}.fc2": f"{released}.mlp.net.4",
            f"{block}.modulation": f"{released}.adaLN_modulation.1",
        }
    for ours, theirs in (("projector", "projector"), ("prediction_projector", "pred_proj")):
        affine |= {f"{ours}.{i}": f"{theirs}.net.{i}" for i in (0, 1, 3)}
        for leaf in ("running_mean", "running_var", "num_batches_tracked"):
            yield f"{ours}.1.{leaf}", [[f"{theirs}.net.1.{leaf}"]]
    for ours, theirs in affine.items():
        for leaf in ("weight", "bias"):
            yield f"{ours}.{leaf}", [[f"{theirs}.{leaf}"]]


def _translate(tensors: dict[str, Tensor], model: WorldModel, path: Path) -> dict[str, Tensor]:
    """The released tensors under our names; every disagreement is collected into one error."""
    expected = model.state_dict()
    state: dict[str, Tensor] = {}
    missing, misshapen, used = [], [], set[str]()
    for ours, layouts in sources(model.config):
        names = next((names for names in layouts if any(name in tensors for name in names)), layouts[0])
        used.update(names)
        absent = [name for name in names if name not in tensors]
        if absent:
            missing += absent
            continue
        shape = expected[ours].shape
        part = torch.Size((shape[0] // len(names), *shape[1:])) if shape else shape
        wanted = [*part, 1] if ours == "action_embedder.bottleneck.weight" else [*part]  # a width-1 convolution
        wrong = [
            f"{name} {list(tensors[name].shape)}, expected {wanted}"
            for name in names
            if [*tensors[name].shape] != wanted
        ]
        misshapen += wrong
        if not wrong:
            state[ours] = torch.cat([tensors[name].reshape(part) for name in names]) if shape else tensors[names[0]]
    refuse_faults(path, missing=missing, surplus=sorted(set(tensors) - used), misshapen=misshapen)
    return state


def read_weights(path: Path, numbers: int) -> dict[str, Tensor]:
    """The tensors of the file of a model that has so many numbers, by the names that they have in the model."""
    check_file(path, f"Put the {WEIGHTS} of the {CONFIG} beside it there.")
    content = read_pickled(path, numbers, BELONGS)
    # a training module holds the model beside the buffers of its loss
    inner = {name.removeprefix(MODEL): tensor for name, tensor in content.items() if name.startswith(MODEL)}
    return inner or content
