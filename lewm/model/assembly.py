"""Puts the parts of a world model together, whatever their kinds: the only place that makes a world model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lewm import config as cfg
from lewm.errors import LewmError
from lewm.memory import FLOAT, check_memory
from lewm.model.actions import ActionEmbedder
from lewm.model.adaln import AdalnTransformer, ResidualTransformer
from lewm.model.conv_encoder import ConvolutionalEncoder
from lewm.model.dinov2 import Dinov2
from lewm.model.efficientnet import EfficientnetMap
from lewm.model.frozen import Frozen
from lewm.model.impala import Impala
from lewm.model.joined import Joined
from lewm.model.parts import Encoder, Predictor, Projector
from lewm.model.patches import PatchTransformer
from lewm.model.vision_transformer import VisionTransformer
from lewm.model.world_model import WorldModel


def _frozen(section: cfg.FrozenEncoder, frame_size: int) -> Frozen:
    if section.encoder is None:
        raise LewmError(
            f"a frozen encoder, {section.weights}: what it is built of is not known yet",
            "Give the configuration to lewm.checkpoints.frozen.settled first, as training does.",
        )
    encoder, projector = _encoder(section.encoder, frame_size), section.projector
    if projector is None:
        return Frozen(encoder, None, encoder.width)
    after = Projector(encoder.width, projector.hidden, projector.latent, projector.norm)
    return Frozen(encoder, after, projector.latent)


def _joined(section: cfg.JoinedEncoder, frame_size: int) -> Joined:
    return Joined([_encoder(part, frame_size) for part in section.parts])


# Makes an encoder from a section of its kind and the frame's side in pixels.
ENCODERS: dict[str, Callable[[Any, int], Encoder]] = {
    "vit": VisionTransformer,
    "conv": ConvolutionalEncoder,
    "efficientnet": EfficientnetMap,
    "dinov2": Dinov2,
    "impala": Impala,
    "frozen": _frozen,
    "joined": _joined,
}

# Makes a predictor from a section of its kind and the latent's width.
PREDICTORS: dict[str, Callable[[Any, int], Predictor]] = {
    "adaln": AdalnTransformer,
    "residual": ResidualTransformer,
    "patches": PatchTransformer,
}


def build(config: cfg.Model) -> WorldModel:
    """A world model with weights drawn from PyTorch's default generator, in training mode on the default device.

    Raises:
        LewmError: The weights need more memory than the machine has.
    """
    remedy = "Lower the sizes in model: frame_size, and the widths, depths and heads of its parts."
    needed = FLOAT * sum(parameter.numel() for parameter in without_values(config).parameters())
    check_memory(needed, torch.device("cpu"), "the model", remedy)
    return _assemble(config)


def parameter_count(config: cfg.Model) -> int:
    """How many numbers are learnt in a model of this configuration; none is allocated."""
    return sum(parameter.numel() for parameter in without_values(config).parameters() if parameter.requires_grad)


def frozen_count(config: cfg.Model) -> int:
    """How many numbers stay as they are in a frozen encoder of a model of this configuration; none is allocated."""
    return sum(parameter.numel() for parameter in without_values(config).parameters() if not parameter.requires_grad)


def without_values(config: cfg.Model) -> WorldModel:
    """A world model whose tensors have shapes and types, and take no memory."""
    with torch.device("meta"):
        return _assemble(config)


def _encoder(section: cfg.Encoder, frame_size: int) -> Encoder:
    return cfg.line_of(ENCODERS, "ENCODERS", section)(section, frame_size)


def _assemble(config: cfg.Model) -> WorldModel:
    """Makes the parts. Their order decides which random numbers each is drawn from."""
    encoder = _encoder(config.encoder, config.frame_size)
    projector = _projector(config, encoder.width, config.projector_hidden)
    action_embedder = _action_embedder(config)
    predictor = cfg.line_of(PREDICTORS, "PREDICTORS", config.predictor)(config.predictor, config.latent)
    prediction_projector = _projector(config, config.latent, config.predictor.projector_hidden)
    if predictor.residual and isinstance(prediction_projector, Projector):
        # At first the next latent is the latent itself, which is nearer than a latent with a random change. On frozen
        # latents of Two-Room and Push-T the held-out error is then lower early in training, and alike at its end.
        for parameter in prediction_projector[-1].parameters():
            nn.init.zeros_(parameter)
    return WorldModel(config, encoder, projector, action_embedder, predictor, prediction_projector)


def _action_embedder(config: cfg.Model) -> ActionEmbedder:
    width = config.predictor.embedded_action(config.latent)
    return ActionEmbedder(config.action_embedder, config.action_block, width)


def _projector(config: cfg.Model, width: int, hidden: int | None) -> nn.Module:
    return nn.Identity() if hidden is None else Projector(width, hidden, config.latent, config.projector_norm)
