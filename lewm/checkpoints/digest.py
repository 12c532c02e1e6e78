"""A checksum of tensors, which the files of a run hold, so that one changed bit is found when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from lewm.sealed import SHA256


def tensors_sha256(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Digest of the names, types, shapes and bytes of contiguous tensors on the CPU, and of the text beside them.

    Args:
        tensors: All tensors of a file.
        metadata: All text beside them; an entry that is a checksum does not count.
    """
    ordered = sorted(tensors.items())
    about = {key: value for key, value in metadata.items() if key != SHA256}
    head = [about, [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in ordered]]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for _, tensor in ordered:
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
