"""Names of files of released weights, and which of several is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

WEIGHTS = "weights.pt"
TENSORS = "model.safetensors"
EPOCH = re.compile(r"weights_epoch_([0-9]{1,9})\.pt")  # what the released training writes after each epoch
ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")  # of files that may hold weights
OBJECT = "_object.ckpt"  # the end of the names of pickled models


def usual(names: Iterable[str]) -> str | None:
    """weights.pt, or the last weights_epoch_N.pt; None where neither is there. No run has files of these names."""
    names = list(names)
    if WEIGHTS in names:
        return WEIGHTS
    epochs = {int(found[1]): name for name in names if (found := EPOCH.fullmatch(name))}
    return epochs[max(epochs)] if epochs else None


def chosen(names: Iterable[str]) -> str | None:
    """The usual name, else model.safetensors, else the only other file of weights; None where that is not clear."""
    names = [name for name in names if PurePath(name).suffix in ENDINGS]
    if found := usual(names):
        return found
    if TENSORS in names:
        return TENSORS
    others = [name for name in names if not name.endswith(OBJECT)]
    return others[0] if len(others) == 1 else None
