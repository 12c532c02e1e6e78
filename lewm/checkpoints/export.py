"""Writes a model as the released code keeps it: weights.pt and config.json, which stable-worldmodel loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lewm.checkpoints.released_config import (
    BOTTLENECK,
    CONFIG,
    ENCODERS,
    FIT,
    HIDDEN,
    MLP_RATIO,
    NORM,
    OVERRIDES,
    SIZE,
    VIT,
)
from lewm.checkpoints.released_names import Layout, released_tensors
from lewm.checkpoints.weight_names import WEIGHTS
from lewm.config import AdalnPredictor, Model, VitEncoder
from lewm.errors import LewmError
from lewm.files import check_new_folder, check_writable, making_folder
from lewm.model.world_model import WorldModel

MODULE = "stable_worldmodel.wm.lewm"
ANOTHER = "Give --out another folder."
LIKE_PAPER = (
    "The released code has a vision transformer, the predictor adaln and projectors with BatchNorm, like the recipe "
    "paper."
)


def export(model: WorldModel, layout: Layout, out: Path) -> int:
    """Write a model into a new folder, which is there whole or not at all. See `lost` for what is not in it.

    Args:
        model: The model.
        layout: Which names its tensors get.
        out: The folder, which is not there yet or is empty.

    Returns:
        The number of tensors.

    Raises:
        LewmError: The released code has no such model, or the folder is not empty or cannot be written.
        OSError: There is no room.
    """
    content = released_config(model.config)
    check_new_folder(out, ANOTHER)
    check_writable(out.resolve().parent, ANOTHER)
    tensors = released_tensors(model, layout)
    with making_folder(out, ANOTHER) as made:
        (made / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        torch.save(tensors, made / WEIGHTS)
    return len(tensors)


def lost(model: Model) -> list[str]:
    """What these files cannot say of a model, in sentences."""
    sentences = ["the statistics of the actions are not in these files: stable-worldmodel computes them from a dataset"]
    if model.fit != FIT:
        sentences.append(f"model.fit is {model.fit}, which is not in these files: give the released code square frames")
    return sentences


def released_config(model: Model) -> dict[str, Any]:
    """The content of a config.json from which stable-worldmodel makes this model.

    Raises:
        LewmError: It has parts that the released code does not have.
    """
    encoder, predictor, embedder, latent = model.encoder, model.predictor, model.action_embedder, model.latent
    if not isinstance(encoder, VitEncoder):
        raise LewmError(f"the released code has no encoder of the kind {encoder.kind}", LIKE_PAPER)
    if not isinstance(predictor, AdalnPredictor) or predictor.kind != "adaln":
        raise LewmError(f"the released code has no predictor of the kind {predictor.kind}", LIKE_PAPER)
    if embedder.hidden is None:
        raise LewmError(
            "the action embedders of the released code have a hidden width, and this one has none", LIKE_PAPER
        )
    if embedder.hidden % latent:
        raise LewmError(
            f"the hidden width of released action embedders is a multiple of the latent's, {latent}: {embedder.hidden} "
            "is none",
            "Train with another model.action_embedder.hidden.",
        )
    content: dict[str, Any] = {
        "_target_": f"{MODULE}.LeWM",
        "encoder": _encoder_table(encoder, model.frame_size),
        "predictor": {
            "_target_": f"{MODULE}.module.Predictor",
            "num_frames": predictor.history,
            "input_dim": latent,
            "hidden_dim": predictor.width,
            "output_dim": latent,
            "depth": predictor.depth,
            "heads": predictor.heads,
            "mlp_dim": predictor.mlp,
            "dim_head": predictor.head_dim,
            "dropout": predictor.dropout,
            "emb_dropout": predictor.embedding_dropout,
        },
        "action_encoder": {
            "_target_": f"{MODULE}.module.Embedder",
            "input_dim": model.action_block,
            "emb_dim": latent,
            **_unless(BOTTLENECK, smoothed_dim=embedder.bottleneck),
            **_unless(MLP_RATIO, mlp_scale=embedder.hidden // latent),
        },
    }
    for name, width, hidden in (
        ("projector", encoder.width, model.projector_hidden),
        ("pred_proj", latent, predictor.projector_hidden),
    ):
        if hidden is not None:
            if model.projector_norm != "batch":
                raise LewmError(
                    f"the released code has BatchNorm in its projectors, and model.projector_norm is "
                    f"{model.projector_norm}",
                    LIKE_PAPER,
                )
            content[name] = {
                "_target_": f"{MODULE}.module.MLP",
                "input_dim": width,
                "output_dim": latent,
                "hidden_dim": hidden,
                "norm_fn": {"_target_": NORM, "_partial_": True},
            }
    return content


def _encoder_table(encoder: VitEncoder, frame_size: int) -> dict[str, Any]:
    """The table of an encoder: the released size that it has, or each of its sizes."""
    own = (encoder.width, encoder.depth, encoder.heads)
    size = next((name for name, sizes in ENCODERS.items() if sizes == own), None)
    sizes: dict[str, Any] = {}
    if size is None or encoder.mlp != MLP_RATIO * encoder.width:
        sizes = dict(zip(OVERRIDES.values(), own, strict=True)) | {HIDDEN: encoder.mlp}
    return {
        "_target_": VIT,
        "size": size or SIZE,
        "patch_size": encoder.patch,
        "image_size": frame_size,
        "pretrained": False,
        "use_mask_token": False,
        **sizes,
    }


def _unless(default: int, **value: int) -> dict[str, int]:
    return {key: number for key, number in value.items() if number != default}
