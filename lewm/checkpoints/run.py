"""A run directory: what is in it, and how it is written and read.

    config.json                    configuration, versions, commit, dataset and its fingerprint, origin of an import
    model.safetensors              weights and action statistics
    training.safetensors           the same weights and those of the objective, optimiser state, step; enough to resume
    training-previous.safetensors  the training checkpoint before, in case that one is damaged
    metrics.jsonl                  one line a logged step
    decoder.safetensors            turns latents into pictures: written by "lewm decode"
    embeddings.json                the distribution of held-out embeddings at the end of training
    reference.safetensors          what is normal, by held-out episodes: surprise then needs no dataset
    head.safetensors               tells the steps between two latents: written by "lewm train-head"
    policy-KIND.safetensors        tells the action from a latent to another: written by "lewm train-policy"
    stages/NAME                    a run for each training that came before: read by --resume and by "lewm report"

All but the log hold a checksum of their own, which is compared whenever they are read. A run may be killed between two
files, so `training.safetensors` does not rely on `model.safetensors`. Who writes a run holds its lock: `lewm.locks`.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lewm.checkpoints import released
from lewm.checkpoints.digest import tensors_sha256
from lewm.checkpoints.faults import BELONGS, refuse_faults, refuse_not_finite
from lewm.checkpoints.identity import DatasetIdentity as DatasetIdentity
from lewm.checkpoints.identity import Recorded as Recorded
from lewm.checkpoints.origin import Origin, import_command
from lewm.config import Config, validate
from lewm.errors import LewmError
from lewm.files import replacing, write_text
from lewm.model import build
from lewm.model.frames import warn_if_reshaped
from lewm.model.world_model import WorldModel
from lewm.provenance import commit, versions
from lewm.reading import parse_json, read_text
from lewm.sealed import SHA256, SealError, check_sealed, sealed_json

CONFIG = "config.json"
MODEL = "model.safetensors"
TRAINING = "training.safetensors"
PREVIOUS = "training-previous.safetensors"
METRICS = "metrics.jsonl"
STAGES = "stages"
ORIGIN = "origin"  # the key in config.json of an imported run

FORMAT = 4
DAMAGED = 'Restore the file as it was, or train again with "lewm train".'


def resume_command(run: Path) -> str:
    """The command that goes on with a run, or with the run that has it as a stage, and that repairs it."""
    return f"lewm train --resume --out {shlex.quote(str(whole_run(run)))}"


def whole_run(directory: Path) -> Path:
    """The run that has the run in `directory` as a stage; `directory` itself where none has."""
    above = directory.parent
    return above.parent if above.name == STAGES and (above.parent / CONFIG).is_file() else directory


def repair(run: Path) -> str:
    """What to do where a file of the run is damaged: a sentence."""
    try:
        origin = read_origin(run)
    except LewmError:
        origin = None
    if origin is None:
        return f'Repair it with "{resume_command(run)}".'
    return f'Import it again: "{origin.command}".'


def write_config(run: Path, config: Config, dataset: DatasetIdentity, origin: Origin | None = None) -> None:
    """Create `run` with its config.json."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "config": json.loads(config.to_json()),
        "dataset": asdict(dataset),
        "versions": versions(),
        "commit": commit(),
    }
    if origin is not None:
        content[ORIGIN] = asdict(origin)
    write_text(run / CONFIG, sealed_json(content))


def read_config(run: Path) -> tuple[Config, DatasetIdentity]:
    """The configuration of a run and the dataset it was trained on; that of an imported run, the one it was given.

    Raises:
        LewmError: config.json is missing, damaged, changed since it was written, or of another format.
    """
    content = _read_content(run)
    try:
        stored, dataset = content["config"], DatasetIdentity.of(content["dataset"])
    except (KeyError, TypeError) as error:
        raise _damaged(run, error) from error
    return validate(Config, stored, str(run / CONFIG), DAMAGED), dataset


def read_origin(run: Path) -> Origin | None:
    """Where an imported run's weights are from; None for a run that was trained here.

    Raises:
        LewmError: See `read_config`.
    """
    said = _read_content(run).get(ORIGIN)
    try:
        return None if said is None else Origin.of(said)
    except (KeyError, TypeError) as error:
        raise _damaged(run, error) from error


def _read_content(run: Path) -> dict[str, Any]:
    """What config.json holds, after its checksum and its format were looked at."""
    path = run / CONFIG
    if released.at(run):
        raise LewmError(f"{run}: a released checkpoint, not a run", f'Make a run of it: "{import_command(run)}".')
    if not run.is_dir():
        raise LewmError(f"{run}: no such run", 'Train one with "lewm train", or give the directory that it wrote.')
    if not path.exists():
        raise LewmError(f"{run}: no {CONFIG}, so not a run", 'Give the directory that "lewm train" wrote.')
    text = read_text(path, DAMAGED)
    content: dict[str, Any] = parse_json(text, str(path), DAMAGED)
    try:
        check_sealed(content, text)
        if content["format"] != FORMAT:
            found = f"format {content['format']!r:.40}, this version reads {FORMAT}"
            raise LewmError(f"{path}: {found}", "Use the version that wrote it.")
    except (SealError, KeyError, TypeError) as error:
        raise _damaged(run, error) from error
    return content


def _damaged(run: Path, error: Exception) -> LewmError:
    return LewmError(f"{run / CONFIG}: damaged, or changed since it was written ({error})", DAMAGED)


def load_run(run: Path) -> WorldModel:
    """The model of a run, in eval mode, on the CPU.

    Raises:
        LewmError: the run is incomplete, its weights are damaged or not finite, or its tensors are not those of its
            configuration.
    """
    config, trained_on = read_config(run)
    path = run / MODEL
    if not path.is_file():
        if read_origin(run) is not None:
            raise LewmError(f"{run}: no {MODEL}", repair(run))
        raise LewmError(
            f"{run}: no {MODEL}: training has not reached its first checkpoint", f'Run "{resume_command(run)}".'
        )
    side = config.model.frame_size
    warn_if_reshaped(*trained_on.frame_size, (side, side), config.model.fit)
    model = build(config.model)
    restore(model, read_tensors(path), path)
    return model.eval()


def holds_weights(run: Path, model: WorldModel) -> bool:
    """Whether the run's model.safetensors has the weights of `model`: a training may have gone on since it was read.

    Raises:
        LewmError: the file is damaged or missing.
    """
    return same_weights(read_tensors(run / MODEL), model)


def same_weights(tensors: Mapping[str, Tensor], model: WorldModel) -> bool:
    """Whether `tensors` are those of `model`, bit for bit."""
    return tensors_sha256(tensors, {}) == tensors_sha256(_on_the_host(model.state_dict()), {})


def weights_sha256(model: WorldModel) -> str:
    """Digest of the model's configuration, weights and buffers."""
    digest = hashlib.sha256(model.config.model_dump_json().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, with a checksum, so that the file is there whole or not at all.

    Raises:
        OSError: there is no room, or the place cannot be written.
    """
    contiguous = _on_the_host(tensors)
    about = dict(metadata or {})
    about[SHA256] = tensors_sha256(contiguous, about)
    with replacing(path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=about)
        _sort_metadata(temporary)


def read_tensors(path: Path, remedy: str | None = None) -> dict[str, Tensor]:
    """All tensors of a safetensors file, after its checksum was compared.

    Args:
        path: What `save_tensors` wrote.
        remedy: The second line of the error; how to repair a run if None.

    Raises:
        LewmError: the file is not one, is cut short, or holds another content than was written.
    """
    return read_with_metadata(path, remedy)[0]


def read_with_metadata(path: Path, remedy: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, see `read_tensors`, and the text beside them."""
    remedy = remedy or repair(path.parent)
    if not path.is_file():
        raise LewmError(f"{path}: no such file", remedy)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is not a mapping
    except (safetensors.SafetensorError, OSError) as error:
        raise LewmError(f"{path}: not a safetensors file, or cut short ({error})", remedy) from error
    if SHA256 not in metadata:
        raise LewmError(f"{path}: has no checksum, so it is not as lewm wrote it", remedy)
    if metadata[SHA256] != tensors_sha256(tensors, metadata):
        raise LewmError(f"{path}: damaged: its checksum is of another content", remedy)
    return tensors, metadata


def restore(
    model: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path, remedy: str | None = None, prefix: str = ""
) -> None:
    """Load `tensors` into `model`.

    Args:
        model: A model of the configuration that is beside the tensors.
        tensors: All tensors of `path`.
        path: Where they are from, for the error.
        remedy: The second line of the error; how to repair a run if None.
        prefix: What the names in `tensors` begin with, before their names in the model.

    Raises:
        LewmError: naming every missing, surplus and misshapen tensor, or those that are not finite.
    """
    expected = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    misshapen = [
        f"{name} {list(tensors[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    missing = sorted(set(expected) - set(tensors))
    surplus = sorted(set(tensors) - set(expected))
    refuse_faults(path, remedy or BELONGS, missing=missing, surplus=surplus, misshapen=misshapen)
    refuse_not_finite(path, tensors, remedy or repair(path.parent))
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})


def _on_the_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sort_metadata(path: Path) -> None:
    """Put the text beside the tensors in alphabetical order: safetensors writes it in another order each time.

    Source: the format of safetensors: 8 bytes with the length of the header, which is JSON padded with spaces.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length
        file.seek(8)
        file.write(text.ljust(length))
