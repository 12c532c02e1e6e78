"""Checksums inside the files of a run, so that one changed bit is found when the file is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

SHA256 = "sha256"  # the key that a checksum has in metadata and in JSON


class SealError(ValueError):
    """A file that does not hold what was written; the text says what is wrong, without the file's name."""


def tensors_sha256(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Digest of the names, types, shapes and bytes of contiguous tensors on the CPU, and of the text beside them.

    Args:
        tensors: All of a file.
        metadata: Likewise; an entry that is a checksum does not count.
    """
    ordered = sorted(tensors.items())
    about = {key: value for key, value in metadata.items() if key != SHA256}
    head = [about, [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in ordered]]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for _, tensor in ordered:
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sealed_json(content: Mapping[str, Any]) -> str:
    """The text of a JSON file with a checksum; an old checksum in `content` is replaced."""
    plain = {key: value for key, value in content.items() if key != SHA256}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return json.dumps({**plain, SHA256: digest}, indent=2) + "\n"


def check_sealed(content: Mapping[str, Any], text: str) -> None:
    """Pass if `text` is byte for byte what `sealed_json` made: spaces and the case of letters in numbers count too.

    Raises:
        SealError: it is not.
    """
    if SHA256 not in content:
        raise SealError("it has no checksum")
    if text != sealed_json(content):
        raise SealError("its checksum is of another content")
