"""The decoder of a run: decoder.safetensors, which fits the weights that it was trained on and no others."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import torch

from lewm.checkpoints import run as runs
from lewm.decoding.decoder import Decoder, DecoderSettings
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.reading import decoding, parse_json

DECODER = "decoder.safetensors"
METADATA = "decoder"  # the key of the JSON text beside the tensors


def save_decoder(run: Path, decoder: Decoder) -> None:
    """Write a decoder into the run on whose latents it was trained."""
    about = {
        "checkpoint_sha256": sha256(run / runs.MODEL),
        "latent": decoder.latent,
        "frame_size": decoder.frame_size,
        "settings": asdict(decoder.settings),
    }
    runs.save_tensors(run / DECODER, decoder.state_dict(), {METADATA: json.dumps(about)})


def load_decoder(run: Path, device: torch.device) -> Decoder:
    """The decoder of a run, in eval mode.

    Raises:
        LewmError: the run has none, its weights are not those the decoder was trained on, or the file is damaged.
    """
    path = run / DECODER
    if not path.is_file():
        raise LewmError(f"{run}: no {DECODER}, so nothing that turns latents into pictures", _train_one(run))
    tensors, metadata = runs.read_with_metadata(path, _train_one(run))
    with decoding(path, "damaged, or of another version", _train_one(run)):
        about = parse_json(metadata[METADATA], str(path), _train_one(run))
        trained_on = about["checkpoint_sha256"]
        height, width = about["frame_size"]
        settings = DecoderSettings(**about["settings"])
        if settings.depth > len(tensors):
            raise ValueError(f"{settings.depth} layers")
        with torch.device("meta"):  # sizes are believed when the tensors in the file have them
            outline = Decoder(about["latent"], (height, width), settings).state_dict()
        if {name: tensor.shape for name, tensor in outline.items()} != {
            name: tensor.shape for name, tensor in tensors.items()
        }:
            raise ValueError("its tensors have other shapes than it states")
        decoder = Decoder(about["latent"], (height, width), settings)
    if trained_on != sha256(run / runs.MODEL):
        raise LewmError(f"{path}: trained on other weights than {runs.MODEL} has now", _train_one(run))
    runs.restore(decoder, tensors, path, _train_one(run))
    return decoder.to(device).eval()


def _train_one(run: Path) -> str:
    return f'Train one with "lewm decode --run {shlex.quote(str(run))}".'
