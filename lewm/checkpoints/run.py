"""A run directory: what is in it, and how it is written and read.

    config.json            configuration, versions, commit, dataset and its fingerprint
    model.safetensors      weights and action statistics
    training.safetensors   the same weights, optimiser state and step; alone enough to resume
    metrics.jsonl          one line a logged step
    decoder.safetensors    turns latents into pictures: written by "lewm decode"
    reference.safetensors  what is normal, by held-out episodes: a finished run needs no dataset to be surprised

A run may be killed between two files, so `training.safetensors` does not rely on `model.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lewm.checkpoints.faults import refuse_faults
from lewm.config import Config, validate
from lewm.errors import LewmError
from lewm.files import replacing, write_text
from lewm.model.frames import warn_if_stretched
from lewm.model.world_model import WorldModel
from lewm.provenance import commit, versions
from lewm.reading import read_json

CONFIG = "config.json"
MODEL = "model.safetensors"
TRAINING = "training.safetensors"
METRICS = "metrics.jsonl"

FORMAT = 1
LARGEST_FRAME = 2**15  # pixels a side, of the data; larger in a damaged file only
DAMAGED = 'Train again with "lewm train".'


@dataclass(frozen=True)
class DatasetIdentity:
    """Which data a run was trained on."""

    path: str
    fingerprint: str
    frame_size: tuple[int, int]  # Y and X; the model resizes where its own differs


def write_config(run: Path, config: Config, dataset: DatasetIdentity) -> None:
    """Create `run` with its config.json."""
    content = {
        "format": FORMAT,
        "config": json.loads(config.to_json()),
        "dataset": asdict(dataset),
        "versions": versions(),
        "commit": commit(),
    }
    write_text(run / CONFIG, json.dumps(content, indent=2) + "\n")


def read_config(run: Path) -> tuple[Config, DatasetIdentity]:
    """The configuration of a run and the dataset it was trained on.

    Raises:
        LewmError: config.json is missing, damaged or of another format.
    """
    path = run / CONFIG
    if not run.is_dir():
        raise LewmError(f"{run}: no such run", 'Train one with "lewm train", or give --run a directory made by it.')
    if not path.exists():
        raise LewmError(f"{run}: no {CONFIG}, so not a run", 'Give the directory that "lewm train" wrote.')
    content = read_json(path, DAMAGED)
    try:
        if "encoder" in content:
            raise LewmError(
                f"{run}: a released checkpoint, not a run",
                f"Read it with lewm.load in Python, with weights.pt beside {CONFIG}.",
            )
        if content["format"] != FORMAT:
            found = f"format {content['format']!r:.40}, this version reads {FORMAT}"
            raise LewmError(f"{path}: {found}", "Use the version that wrote it.")
        stored, data = content["config"], content["dataset"]
        sides = tuple(side for side in data["frame_size"] if isinstance(side, int) and 0 < side <= LARGEST_FRAME)
        if len(sides) != 2:
            raise TypeError(f"frame_size is {data['frame_size']!r:.80}")
        dataset = DatasetIdentity(str(data["path"]), str(data["fingerprint"]), sides)
    except (KeyError, TypeError) as error:
        raise LewmError(f"{path}: damaged ({error})", DAMAGED) from error
    return validate(Config, stored, str(path), DAMAGED), dataset


def load_run(run: Path) -> WorldModel:
    """The model of a run, in eval mode, on the CPU.

    Raises:
        LewmError: the run is incomplete or its tensors are not those of its configuration.
    """
    config, trained_on = read_config(run)
    path = run / MODEL
    if not path.is_file():
        raise LewmError(
            f"{run}: no {MODEL}: training has not reached its first checkpoint", 'Run "lewm train --resume".'
        )
    side = config.model.frame_size
    warn_if_stretched(*trained_on.frame_size, (side, side))
    model = WorldModel(config.model)
    restore(model, read_tensors(path), path)
    return model.eval()


def weights_sha256(model: WorldModel) -> str:
    """Digest of the model's configuration, weights and buffers."""
    digest = hashlib.sha256(model.config.model_dump_json().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors so that the file is there whole or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=dict(metadata or {}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        LewmError: the file is not one, or is cut short.
    """
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise LewmError(f"{path}: not a safetensors file ({error})", "Restore it, or train again.") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The text beside the tensors of a safetensors file.

    Raises:
        LewmError: the file is not one, or is cut short.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise LewmError(f"{path}: not a safetensors file ({error})", "Restore it, or train again.") from error


def restore(model: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load `tensors` into `model`.

    Raises:
        LewmError: naming every missing, surplus and misshapen tensor.
    """
    expected = model.state_dict()
    misshapen = [
        f"{name} {list(tensors[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    missing = sorted(set(expected) - set(tensors))
    surplus = sorted(set(tensors) - set(expected))
    refuse_faults(path, missing=missing, surplus=surplus, misshapen=misshapen)
    model.load_state_dict(dict(tensors))
