"""The config.json of a released checkpoint, read in all of its forms.

The forms are: tables with Hydra's `_target_` keys, tables without, and either in an entry "model" beside the rest of a
training's configuration. What is left out has the default of the released constructors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lewm.config import Model, validate
from lewm.errors import LewmError
from lewm.reading import read_json

CONFIG = "config.json"
FIT = "crop"  # of `model.fit`, which no file states: the published data are square
FRAMESKIP = 5  # of all published trainings; no published file states it

# encoder size of the released code -> width, depth, heads
ENCODERS = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
SIZE, PATCH, SIDE = "tiny", 16, 224  # defaults of its encoder
MLP_RATIO = 4  # hidden width / width, in those encoders and in the action embedder
BOTTLENECK = 10  # width of the narrowest layer of the released action embedder, and its default of the other two
HEAD_DIM = 64

# Keys that say how the encoder computes, with the only value that ours computes with; and keys without an effect on it.
FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "qkv_bias": True, "num_channels": 3}
NO_EFFECT = {
    "pretrained",
    "use_mask_token",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
    "interpolate_pos_encoding",
}
SIZES = {"size", "patch_size", "image_size"}
OVERRIDES = {"width": "hidden_size", "depth": "num_hidden_layers", "heads": "num_attention_heads"}
HIDDEN = "intermediate_size"

VIT = "stable_pretraining.backbone.utils.vit_hf"
NORM = "torch.nn.BatchNorm1d"
BELONGS = f"Give the {CONFIG} that was written with these weights."


@dataclass(frozen=True)
class ReleasedConfig:
    """What a released config.json states.

    Attributes:
        model: The model. An action block counts as the action of a single environment step: see `of_actions`.
        frameskip: Environment steps in an action block, where a training's whole configuration states them.
        form: Which form the file has, in words.
    """

    model: Model
    frameskip: int | None
    form: str

    def of_actions(self, action_dim: int, path: Path, source: str) -> Model:
        """The model, whose action blocks are divided into actions of `action_dim` numbers.

        Args:
            action_dim: Numbers in the action of an environment step.
            path: The configuration's file, for the error.
            source: What says that actions have so many numbers, for the error.

        Raises:
            LewmError: The number is not above 0, or a block is not made of such actions, or of another number of them
                than the file states.
        """
        if not isinstance(action_dim, int) or isinstance(action_dim, bool) or action_dim < 1:
            raise LewmError(
                f"{source}: expected a whole number above 0, got {action_dim!r:.80}",
                "It is how many numbers the action of an environment step has.",
            )
        block = self.model.action_block
        frameskip, rest = divmod(block, action_dim)
        remedy = "Give data of the world that the checkpoint was trained in."
        if rest or not frameskip:
            raise LewmError(
                f"{path}: action blocks of {block} numbers cannot be made of actions of {action_dim}, as in {source}",
                remedy,
            )
        if self.frameskip not in (None, frameskip):
            raise LewmError(
                f"{path}: action blocks of {block} numbers at frameskip {self.frameskip}; of actions of {action_dim} "
                f"numbers, as in {source}, there would be {frameskip}",
                remedy,
            )
        return self.model.model_copy(update={"frameskip": frameskip, "action_dim": action_dim})

    @property
    def assumed(self) -> Model:
        """The model where nothing is known of single actions but what the file states."""
        block, frameskip = self.model.action_block, self.frameskip or 1
        if block % frameskip:
            return self.model
        return self.model.model_copy(update={"frameskip": frameskip, "action_dim": block // frameskip})


def is_released(content: Any) -> bool:  # noqa: ANN401
    """Whether a config.json with this content is that of a released checkpoint, in any form."""
    if not isinstance(content, dict):
        return False
    return "encoder" in content or (isinstance(content.get("model"), dict) and "encoder" in content["model"])


def read_released_config(path: Path) -> ReleasedConfig:
    """What a config.json states.

    Raises:
        LewmError: It cannot be read, an entry without a default is missing, or a value is wrong or not one that our
            model can be built with; the entry is named.
    """
    tree = read_json(path, f"Put the {CONFIG} that belongs to the weights beside them.")
    wrapped = isinstance(tree, dict) and "encoder" not in tree and is_released(tree)
    inner = tree["model"] if wrapped else tree
    form = "Hydra" if isinstance(inner, dict) and "_target_" in inner else "flat"
    model = _model(path, inner)
    return ReleasedConfig(model, _frameskip(path, tree) if wrapped else None, form + ", in model" * wrapped)


def _frameskip(path: Path, tree: Mapping[str, Any]) -> int | None:
    """The frameskip in the configuration of a training's dataset, if it is there."""
    data = tree.get("data")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(dataset, dict) or dataset.get("frameskip") is None:
        return None
    return _Table(path, data, "dataset", "data.").number("frameskip")


def _model(path: Path, tree: Any) -> Model:  # noqa: ANN401
    frame_size, encoder = _encoder(path, tree)
    predictor, actions = (_Table(path, tree, name) for name in ("predictor", "action_encoder"))
    latent, projector_hidden = _mlp(path, tree, "projector", encoder["width"])
    predictor.expect("input_dim", latent)
    predictor.expect("output_dim", latent, default=latent)
    actions.expect("emb_dim", latent, default=BOTTLENECK)
    last, prediction_hidden = _mlp(path, tree, "pred_proj", latent)
    if last != latent:
        raise LewmError(f"{path}: pred_proj gives {last} numbers, expected latents of {latent}", BELONGS)
    values = {
        "frame_size": frame_size,
        "fit": FIT,
        "frameskip": 1,
        "action_dim": actions.number("input_dim", BOTTLENECK),
        "latent": latent,
        "projector_hidden": projector_hidden,
        "encoder": encoder,
        "predictor": {
            "kind": "adaln",
            "history": predictor.number("num_frames"),
            "projector_hidden": prediction_hidden,
            "width": predictor.number("hidden_dim"),
            "depth": predictor.number("depth"),
            "heads": predictor.number("heads"),
            "head_dim": predictor.number("dim_head", HEAD_DIM),
            "mlp": predictor.number("mlp_dim"),
            "dropout": predictor.values.get("dropout", 0.0),
            "embedding_dropout": predictor.values.get("emb_dropout", 0.0),
        },
        "action_embedder": {
            "bottleneck": actions.number("smoothed_dim", BOTTLENECK),
            "hidden": actions.number("mlp_scale", MLP_RATIO) * latent,
        },
    }
    return validate(Model, values, str(path), "No model can be built with this value: give another checkpoint.")


def _encoder(path: Path, tree: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
    """The side of its frames and the section of the encoder; what the released encoder takes beyond ours is refused."""
    table = _Table(path, tree, "encoder")
    target = table.values.get("_target_", VIT)
    if not isinstance(target, str) or target.rpartition(".")[2] != VIT.rpartition(".")[2]:
        raise LewmError(f"{path}: encoder: expected {VIT}, got {target!r:.80}", "Only this encoder can be read.")
    known = {"_target_", *SIZES, *OVERRIDES.values(), HIDDEN, *FIXED, *NO_EFFECT}
    unknown = sorted(key for key in table.values if key not in known)
    other = [key for key, value in FIXED.items() if table.values.get(key, value) != value]
    if unknown or other:
        key = (unknown + other)[0]
        raise LewmError(
            f"{path}: encoder.{key:.80} is {table.values[key]!r:.80}, which our encoder does not have",
            f"Encoders can be read that are like those of the published checkpoints, at any of these sizes: "
            f"{', '.join(sorted({*SIZES, *OVERRIDES.values(), HIDDEN}))}.",
        )
    size = table.values.get("size", SIZE)
    if not isinstance(size, str) or size not in ENCODERS:
        raise LewmError(f"{path}: encoder.size: expected a name, got {size!r:.80}", f"Known: {', '.join(ENCODERS)}.")
    usual = dict(zip(OVERRIDES, ENCODERS[size], strict=True))
    sizes = {ours: table.number(theirs, usual[ours]) for ours, theirs in OVERRIDES.items()}
    section = {"kind": "vit", "patch": table.number("patch_size", PATCH), **sizes}
    return table.number("image_size", SIDE), section | {"mlp": table.number(HIDDEN, MLP_RATIO * usual["width"])}


def _mlp(path: Path, tree: Any, name: str, width: int) -> tuple[int, int | None]:  # noqa: ANN401
    """The width of what a projector gives, and its hidden width; None where there is no projector."""
    if isinstance(tree, dict) and tree.get(name) is None:
        return width, None
    table = _Table(path, tree, name)
    table.expect("input_dim", width)
    norm = table.values.get("norm_fn")
    target = norm.get("_target_") if isinstance(norm, dict) else norm
    if target is not None and (not isinstance(target, str) or target.rpartition(".")[2] != "BatchNorm1d"):
        raise LewmError(f"{path}: {name}.norm_fn: expected {NORM}, got {target!r:.80}", "Only this one can be read.")
    if table.values.get("act_fn") is not None:
        raise LewmError(f"{path}: {name}.act_fn: expected none, which is GELU", "Only GELU can be read.")
    return table.number("output_dim", width), table.number("hidden_dim")


class _Table:
    """A table of config.json."""

    def __init__(self, path: Path, tree: Any, name: str, above: str = "") -> None:  # noqa: ANN401
        self.path, self.name = path, above + name
        values = tree.get(name) if isinstance(tree, dict) else None
        if not isinstance(values, dict):
            raise self._error(self.name, "a table", values)
        self.values: dict[str, Any] = values

    def number(self, key: str, default: Any = None) -> int:  # noqa: ANN401
        """A whole number above 0; null stands for the default, as it does in the constructors."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._error(f"{self.name}.{key}", "a whole number above 0", value)
        return value

    def expect(self, key: str, wanted: int, default: Any = None) -> None:  # noqa: ANN401
        """Raises unless the number is the one that the other tables ask for."""
        value = self.number(key, default)
        if value != wanted:
            raise self._error(f"{self.name}.{key}", f"{wanted}, as the tables before give it", value)

    def _error(self, key: str, expected: str, value: Any) -> LewmError:  # noqa: ANN401
        found = "it is missing" if value is None else f"got {value!r:.80}"
        return LewmError(f"{self.path}: not a LeWM configuration: {key}: expected {expected}, {found}", BELONGS)
