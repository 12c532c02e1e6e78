"""The decoder of a run: decoder.safetensors, which fits the weights that it was trained on and no others."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lewm.checkpoints.run import MODEL
from lewm.checkpoints.sized import load_sized, save_sized
from lewm.decoding.decoder import Decoder, DecoderSettings
from lewm.errors import LewmError
from lewm.files import sha256

DECODER = "decoder.safetensors"
METADATA = "decoder"  # the key of the JSON text beside the tensors


def save_decoder(run: Path, decoder: Decoder) -> None:
    """Write a decoder into the run on whose latents it was trained."""
    sizes = {"latent": decoder.latent, "frame_size": decoder.frame_size, "settings": asdict(decoder.settings)}
    save_sized(run / DECODER, decoder, METADATA, sizes, sha256(run / MODEL))


def load_decoder(run: Path, device: torch.device) -> Decoder:
    """The decoder of a run, in eval mode.

    Raises:
        LewmError: the run has none, its weights are not those the decoder was trained on, or the file is damaged.
    """
    path, remedy = run / DECODER, _train_one(run)
    if not path.is_file():
        raise LewmError(f"{run}: no {DECODER}, so nothing that turns latents into pictures", remedy)
    decoder, checkpoint = load_sized(path, METADATA, _made, device, "damaged, or of another version", remedy)
    if checkpoint != sha256(run / MODEL):
        raise LewmError(f"{path}: trained on other weights than {MODEL} has now", remedy)
    return decoder


def _made(sizes: Any, tensors: int) -> Decoder:  # noqa: ANN401  # what JSON holds
    height, width = sizes["frame_size"]
    settings = DecoderSettings(**sizes["settings"])
    if settings.depth > tensors:
        raise ValueError(f"{settings.depth} layers")
    return Decoder(sizes["latent"], (height, width), settings)


def _train_one(run: Path) -> str:
    return f'Train one with "lewm decode --run {shlex.quote(str(run))}".'
