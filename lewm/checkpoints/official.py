"""Checkpoints of the released code: a directory with `weights.pt` and `config.json`.

Two layouts of the encoder's names exist (transformers 4 and 5) and two forms of config.json (with Hydra's `_target_`
keys and without); both of each are read. The action statistics are not in the files.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lewm.checkpoints.faults import refuse_faults, refuse_not_finite
from lewm.config import ActionEmbedder, Model, Predictor, VitEncoder, validate
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel

WEIGHTS = "weights.pt"
CONFIG = "config.json"
SAFE_PAIR = f"Ask its author for {WEIGHTS} saved from state_dict(), with {CONFIG}; a pickled object is never loaded."

# encoder size of the released code -> width, depth, heads
ENCODERS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
MLP_RATIO = 4  # of those encoders, and of the action embedder
BOTTLENECK = 10  # of the released action embedder
FRAMESKIP = 5  # facts of the released training, not stored in its files


def load_official(directory: Path) -> WorldModel:
    """The released model in `directory`, in eval mode, without action statistics.

    Raises:
        LewmError: a file is missing or unreadable, is a pickled object, or its tensors are not those of the model
            (each missing, surplus or misshapen one is named) or are not finite.
    """
    config = read_config(directory / CONFIG)
    model = WorldModel(config)
    tensors = _read_weights(directory / WEIGHTS)
    state = _translate(tensors, model, directory / WEIGHTS)
    refuse_not_finite(directory / WEIGHTS, tensors, "Download it again.")
    model.load_state_dict(state, strict=False)
    return model.eval()


def read_config(path: Path) -> Model:
    """The sizes stated by a config.json of either form."""
    try:
        tree = json.loads(path.read_text())
        encoder, predictor, projector = tree["encoder"], tree["predictor"], tree["projector"]
        actions = tree["action_encoder"]
        if encoder["size"] not in ENCODERS:
            raise LewmError(f'{path}: encoder size "{encoder["size"]}"', f"Known: {', '.join(ENCODERS)}.")
        width, depth, heads = ENCODERS[encoder["size"]]
        values = {
            "frame_size": encoder["image_size"],
            "frameskip": FRAMESKIP,
            "action_dim": max(1, actions["input_dim"] // FRAMESKIP),
            "latent": projector["output_dim"],
            "projector_hidden": projector["hidden_dim"],
            "encoder": VitEncoder(
                patch=encoder["patch_size"], width=width, depth=depth, heads=heads, mlp=MLP_RATIO * width
            ).model_dump(),
            "predictor": Predictor(
                history=predictor["num_frames"],
                width=predictor["hidden_dim"],
                depth=predictor["depth"],
                heads=predictor["heads"],
                head_dim=predictor["dim_head"],
                mlp=predictor["mlp_dim"],
                dropout=predictor["dropout"],
                embedding_dropout=predictor["emb_dropout"],
            ).model_dump(),
            "action_embedder": ActionEmbedder(
                bottleneck=actions.get("smoothed_dim", BOTTLENECK), hidden=MLP_RATIO * actions["emb_dim"]
            ).model_dump(),
        }
        if actions["input_dim"] % FRAMESKIP:  # not blocks of five: the block is the unit
            values |= {"frameskip": 1, "action_dim": actions["input_dim"]}
    except OSError as error:
        raise LewmError(f"{path}: {error.strerror}", f"Put {CONFIG} beside {WEIGHTS}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LewmError(f"{path}: not JSON ({error})", "Download it again.") from error
    except (KeyError, TypeError) as error:
        raise LewmError(f"{path}: not a LeWM configuration ({error} is missing)", "Download it again.") from error
    return validate(Model, values, str(path))


def sources(config: Model) -> Iterator[tuple[str, list[list[str]]]]:
    """Each parameter of ours, and for each name layout the released tensors that it is made of, in order.

    The query, key and value of the encoder are one tensor in our model, stacked along their first dimension.
    """
    assert isinstance(config.encoder, VitEncoder)
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


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise LewmError(f"{path}: no such file", f"Put {WEIGHTS} beside {CONFIG}.")
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickle protocols: what matters is refused below
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LewmError(f"{path}: holds pickled objects, expected only tensors", SAFE_PAIR) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LewmError(f"{path}: not a file of tensors ({reason})", "Download it again.") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise LewmError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}", SAFE_PAIR)
    return content
