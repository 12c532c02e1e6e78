"""Files of a module that is learnt on the latents of a run: its tensors, its sizes, and the run's weights it fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from lewm.checkpoints.run import read_with_metadata, restore, save_tensors
from lewm.reading import decoding, parse_json

CHECKPOINT = "checkpoint_sha256"  # the key of the digest of the run's weights

M = TypeVar("M", bound=nn.Module)


def save_sized(path: Path, module: nn.Module, key: str, sizes: Mapping[str, Any], checkpoint: str | None) -> None:
    """Write a module with a checksum, so that the file is there whole or not at all.

    Args:
        path: The file.
        module: The module.
        key: The name of the text beside the tensors, by which a file of this kind is told from others.
        sizes: From these, `load_sized` makes the module.
        checkpoint: Digest of the file of weights on whose latents the module was trained; None where it is not known.

    Raises:
        OSError: there is no room, or the place cannot be written.
    """
    save_tensors(path, module.state_dict(), {key: json.dumps({**sizes, CHECKPOINT: checkpoint})})


@torch.inference_mode(False)  # no gradient can pass through weights that were made in that mode
def load_sized(
    path: Path, key: str, make: Callable[[Any, int], M], device: torch.device, problem: str, remedy: str
) -> tuple[M, str | None]:
    """A module in eval mode, whose weights ask for no gradient, and the digest of the weights it was trained on.

    Args:
        path: What `save_sized` wrote.
        key: The same name as there.
        make: Makes the module from its sizes and the number of its tensors; wrong sizes are a ValueError.
        device: Where the module is to be.
        problem: What the error says of a file of another kind.
        remedy: The second line of the error.

    Raises:
        LewmError: the file is missing, damaged, or of another kind, or its weights are not finite.
    """
    tensors, metadata = read_with_metadata(path, remedy)
    with decoding(path, problem, remedy):
        about = parse_json(metadata[key], str(path), remedy)
        checkpoint = about[CHECKPOINT]
        with torch.device("meta"):  # sizes are believed when the tensors in the file have them
            outline = make(about, len(tensors)).state_dict()
        if {name: tensor.shape for name, tensor in outline.items()} != {
            name: tensor.shape for name, tensor in tensors.items()
        }:
            raise ValueError("its tensors have other shapes than it states")
        module = make(about, len(tensors))
    restore(module, tensors, path, remedy)
    return module.to(device).eval().requires_grad_(False), checkpoint
