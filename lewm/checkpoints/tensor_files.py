"""Reads files of tensors that others wrote, of bounded size. No object in them is ever loaded."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from lewm.errors import LewmError
from lewm.reading import check_file, decoding

SAFE = "Ask its author for a file saved from state_dict(): a pickled object is never loaded."
SAVED = "Ask its author for a file with each tensor in memory of its own: tensor.clone()."
AGAIN = "Get it again from where it was written."
NO_TENSORS = "not a file of tensors"
SAFETENSORS = ".safetensors"

# The most bytes that a pickled file may have: numbers in float64, with the two averages of an optimiser and a spare
# copy, and the names and settings beside them. A larger file is a zip bomb, or belongs to another configuration.
WIDEST, COPIES, SLACK = 8, 4, 2**24


def most_bytes(numbers: int) -> int:
    """The most bytes that a file of so many numbers may have."""
    return COPIES * WIDEST * numbers + SLACK


def read_pickled(path: Path, numbers: int, remedy: str) -> dict[str, Tensor]:
    """The tensors of a file that torch.save wrote, by name; those under "state_dict" where it has that key.

    Args:
        path: The file.
        numbers: How many numbers the module has that the tensors are for.
        remedy: The second line of the error where the file is missing or too large for these.

    Raises:
        LewmError: It cannot be read, is too large, or holds something other than tensors by name.
    """
    most = most_bytes(numbers)
    check_file(path, remedy, most)
    with decoding(path, NO_TENSORS, AGAIN), warnings.catch_warnings(action="ignore"):
        # the warnings are about pickle protocols: what matters is refused below
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > most:
                raise LewmError(f"{path}: unpacks to {size:,} bytes, at most {most:,} are read", remedy)
        try:
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise LewmError(f"{path}: holds pickled objects, expected only tensors", SAFE) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(_is_plain(name, value) for name, value in content.items()):
        raise LewmError(f"{path}: expected a dictionary of tensors by name, got something else", SAFE)
    # a view can repeat a number as often as it likes, and any number of tensors can be views of the same memory
    repeated = next((name for name, one in content.items() if one.nbytes > one.untyped_storage().nbytes()), None)
    if repeated is not None:
        raise LewmError(f"{path}: {repeated:.200} has more numbers than the file holds of it", SAVED)
    claimed = sum(one.nbytes for one in content.values())
    if claimed > most:
        raise LewmError(f"{path}: its tensors have {claimed:,} bytes together, at most {most:,} are read", remedy)
    return content


def read_all_safetensors(path: Path, numbers: int, remedy: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; the arguments are those of `read_pickled`.

    Raises:
        LewmError: It cannot be read, or is too large.
    """
    check_file(path, remedy, most_bytes(numbers))
    with decoding(path, NO_TENSORS, AGAIN), safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is not a mapping


def read_module(path: Path, prefix: str, module: torch.nn.Module, remedy: str) -> dict[str, Tensor]:
    """The tensors of a file, safetensors or written by torch.save, whose names begin with `prefix`.

    In a safetensors file only tensors are read that `module` has, of its shapes; others are on the meta device.

    Args:
        path: The file.
        prefix: What the names begin with; they keep it.
        module: What the tensors are for.
        remedy: The second line of the error where the file is missing or too large.

    Raises:
        LewmError: It cannot be read.
    """
    wanted = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    return read_wanted(path, prefix, wanted, sum(tensor.numel() for tensor in wanted.values()), remedy)


def read_wanted(
    path: Path,
    prefix: str,
    wanted: Mapping[str, Tensor],
    numbers: int,
    remedy: str,
    rename: Callable[[str], str] = lambda name: name,
) -> dict[str, Tensor]:
    """The tensors of a file whose names begin with `prefix`; see `read_module`.

    Args:
        path: The file.
        prefix: What the names begin with; they keep it.
        wanted: What is read of a safetensors file: tensors of these names and shapes.
        numbers: How many numbers the module has that the tensors are for.
        remedy: The second line of the error where the file is missing or too large.
        rename: Gives the name in `wanted` and in the result for a name in the file.

    Raises:
        LewmError: It cannot be read.
    """
    if path.suffix != SAFETENSORS:
        content = read_pickled(path, numbers, remedy)
        return {rename(name): tensor for name, tensor in content.items() if name.startswith(prefix)}
    check_file(path, remedy)
    tensors = {}
    with decoding(path, NO_TENSORS, AGAIN), safetensors.safe_open(path, framework="pt") as file:
        for theirs in filter(lambda name: name.startswith(prefix), file.keys()):
            name, shape = rename(theirs), torch.Size(file.get_slice(theirs).get_shape())
            fits = name in wanted and wanted[name].shape == shape
            tensors[name] = file.get_tensor(theirs) if fits else torch.empty(shape, device="meta")
    return tensors


def _is_plain(name: Any, value: Any) -> bool:  # noqa: ANN401
    """Whether it is a name, and a tensor of real numbers that are in memory one after the other."""
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_complex() or value.is_quantized)
    )
