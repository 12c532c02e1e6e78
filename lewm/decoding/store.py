"""The decoder of a run: decoder.safetensors, good for the weights it was trained on and no others."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from lewm.checkpoints import run as runs
from lewm.decoding.decoder import Decoder, DecoderSettings
from lewm.errors import LewmError
from lewm.files import sha256

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
    try:
        about = json.loads(metadata[METADATA])
        trained_on = about["checkpoint_sha256"]
        height, width = about["frame_size"]
        decoder = Decoder(about["latent"], (height, width), DecoderSettings(**about["settings"]))
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise LewmError(f"{path}: damaged, or of another version ({error})", _train_one(run)) from error
    if trained_on != sha256(run / runs.MODEL):
        raise LewmError(f"{path}: trained on other weights than {runs.MODEL} has now", _train_one(run))
    runs.restore(decoder, tensors, path, _train_one(run))
    return decoder.to(device).eval()


def _train_one(run: Path) -> str:
    return f'Train one with "lewm decode --run {run}".'
