"""Checkpoints of the released code: a file of weights beside a config.json, in a folder or on the Hugging Face Hub.

The weights are tensors by name, written by torch.save or as safetensors. Nothing else in a file is ever loaded. The
action statistics are not in the files, and how many numbers the action of an environment step has is not either.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lewm.checkpoints.faults import BELONGS, refuse_faults, refuse_not_finite
from lewm.checkpoints.hub import HUB, fetch
from lewm.checkpoints.released_config import CONFIG, is_released, read_released_config
from lewm.checkpoints.released_names import Translated, translate, wrapper
from lewm.checkpoints.tensor_files import SAFETENSORS, most_bytes, read_all_safetensors, read_pickled
from lewm.checkpoints.weight_names import ENDINGS, OBJECT, TENSORS, WEIGHTS, chosen, usual
from lewm.config import Model
from lewm.errors import LewmError
from lewm.memory import FLOAT, check_memory
from lewm.model.assembly import build, without_values
from lewm.model.world_model import WorldModel
from lewm.reading import check_file, read_json

log = logging.getLogger(__name__)

SAFE_PAIR = f"Ask its author for {WEIGHTS} saved from state_dict(), with {CONFIG}; a pickled object is never loaded."
PICKLES = (".pkl", ".pickle")
USUAL = f"{WEIGHTS}, weights_epoch_N.pt or {TENSORS}"
TOO_LARGE = "Use a machine with more memory, or give a smaller checkpoint."
LONGEST = 1000  # characters of a name; those of the model have less than 100


@dataclass(frozen=True)
class Released:
    """Where a released checkpoint lies.

    Attributes:
        source: As the user named it.
        weights: The file of weights.
        config: The config.json beside it, which may be missing.
        others: Names of other files of weights in the same folder, which are not read.
        revision: The commit of the repository that it was fetched from; None for a folder.
    """

    source: str
    weights: Path
    config: Path
    others: tuple[str, ...] = ()
    revision: str | None = None


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        tensors: The tensors of the model by name, without what their names began with.
        wrapped: What their names began with.
        aside: Names of tensors that do not belong to the model where it was saved with its training.
    """

    tensors: Mapping[str, Tensor]
    wrapped: str
    aside: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """A released checkpoint that was read: its model, and what is to be said of it."""

    model: WorldModel
    weights: Weights
    translated: Translated


def locate(source: str | Path) -> Released:
    """The files of a released checkpoint.

    In a folder these are weights.pt, else the last weights_epoch_N.pt, else model.safetensors, else the only other file
    of weights.

    Args:
        source: A folder, a file of weights with a config.json beside it, or hf:USER/REPOSITORY[@REVISION].

    Raises:
        LewmError: There is no such file or folder, it has no weights or only pickled objects, or the repository cannot
            be fetched.
    """
    if str(source).startswith(HUB):
        folder, revision = fetch(str(source), most=_most_bytes)
        return _in_folder(str(source), folder, revision)
    path = Path(source).expanduser()
    if not path.is_dir():
        check_file(path, "Give the folder with the weights and their config.json, a file of weights, or hf:USER/REPO.")
        if path.name == CONFIG:
            return _in_folder(str(source), path.parent, None)
        _refuse_object(path)
        return Released(str(source), path, path.parent / CONFIG)
    return _in_folder(str(source), path, None)


def at(path: str | Path) -> bool:
    """Whether a path looks like a released checkpoint rather than a run. Nothing is fetched."""
    if str(path).startswith(HUB):
        return True
    found = Path(path).expanduser()
    if not found.is_dir():
        return (found.suffix in ENDINGS and found.exists()) or (found.name == CONFIG and _states_one(found))
    return usual(_files(found)) is not None or _states_one(found / CONFIG)


def load_released(source: str | Path, action_dim: int | None = None) -> WorldModel:
    """The model of a released checkpoint, in eval mode on the CPU, without action statistics.

    Args:
        source: See `locate`.
        action_dim: Numbers in the action of an environment step. None: a whole action block counts as one action,
            unless the configuration states a frameskip.

    Raises:
        LewmError: A file is missing or unreadable, is a pickled object, or its tensors are not those of the model
            (each missing, surplus or misshapen one is named) or are not finite.
    """
    found = locate(source)
    config = read_released_config(found.config)
    model = config.assumed if action_dim is None else config.of_actions(action_dim, found.config, "action_dim")
    return read(found, model).model


def refuse_objects(folder: Path) -> None:
    """Raises where a folder holds a pickled model.

    Raises:
        LewmError: It does; says what to ask for instead.
    """
    for name in _files(folder):
        _refuse_object(folder / name)


def advice(file: Path) -> str:
    """What to do with a file that is none of weights."""
    return SAFE_PAIR if file.suffix in PICKLES else "Give the folder it is in."


def read(found: Released, config: Model) -> Read:
    """The model of a released checkpoint with this configuration.

    Raises:
        LewmError: See `load_released`.
    """
    empty = outline(config, found.config)  # the file has to hold such a model before memory is taken for one
    weights = read_weights(found.weights, numbers_in(empty))
    translated = translate(weights.tensors, empty)
    refuse_faults(found.weights, missing=translated.missing, surplus=translated.surplus, misshapen=translated.misshapen)
    refuse_not_finite(found.weights, weights.tensors, "Get it again, or take the weights of an earlier epoch.")
    model = build(config)
    model.load_state_dict(translated.state, strict=False)
    return Read(model.eval(), weights, translated)


def read_weights(path: Path, numbers: int) -> Weights:
    """The tensors of the file of a model that has so many numbers, by the names that they have in the model.

    Raises:
        LewmError: It cannot be read, is too large, or holds something other than tensors by name.
    """
    check_file(path, f"Put the {WEIGHTS} of the {CONFIG} beside it there.")
    read_one = read_all_safetensors if path.suffix == SAFETENSORS else read_pickled
    tensors = read_one(path, numbers, BELONGS)
    longest = max(map(len, tensors), default=0)
    if longest > LONGEST:
        raise LewmError(f"{path}: a tensor has a name of {longest:,} characters, at most {LONGEST:,} are read", BELONGS)
    wrapped = wrapper(tensors)
    # a training module holds the model beside the buffers of its loss
    aside = sorted(name for name in tensors if not name.startswith(wrapped))
    inner = {name.removeprefix(wrapped): one for name, one in tensors.items() if name.startswith(wrapped)}
    return Weights(inner, wrapped, tuple(aside))


def outline(config: Model, path: Path) -> WorldModel:
    """The model of a configuration, without values.

    Args:
        config: The configuration.
        path: Its file, for the error.

    Raises:
        LewmError: The weights of such a model need more memory than the machine has.
    """
    model = without_values(config)
    check_memory(FLOAT * numbers_in(model), torch.device("cpu"), f"the model of {path}", TOO_LARGE)
    return model


def numbers_in(model: WorldModel) -> int:
    """How many numbers the file of a model's weights holds."""
    return sum(tensor.numel() for tensor in model.state_dict().values())


def _states_one(config: Path) -> bool:
    """Whether a config.json is that of a released checkpoint."""
    try:
        return is_released(read_json(config, ""))
    except LewmError:
        return False


def _most_bytes(config: Path) -> int:
    """The most bytes that the weights of a config.json may have."""
    return most_bytes(numbers_in(outline(read_released_config(config).model, config)))


def _refuse_object(file: Path) -> None:
    if file.name.endswith(OBJECT):
        raise LewmError(f"{file}: a pickled object, which is never loaded", SAFE_PAIR)


def _in_folder(source: str, folder: Path, revision: str | None) -> Released:
    names = _files(folder)
    name = chosen(names)
    if name is None:
        refuse_objects(folder)
        which = f"which file of weights is meant, {', '.join(names):.200}, " if names else "no file of weights: "
        raise LewmError(f"{folder}: {which}expected {USUAL}", "Give the file of weights itself.")
    others = tuple(one for one in names if one != name)
    return Released(source, folder / name, folder / CONFIG, others, revision)


def _files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix in ENDINGS and file.is_file())
