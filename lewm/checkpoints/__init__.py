"""Reading models: runs of this project and checkpoints of the released code."""

from __future__ import annotations

from pathlib import Path

from lewm.checkpoints import official, run
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel


def load(path: str | Path) -> WorldModel:
    """The model in a directory, in eval mode on the CPU.

    Args:
        path: A run, or an official directory (config.json, and weights.pt or the last of weights_epoch_N.pt). The
            latter has no action statistics, so planning in environment units needs them set from a dataset.

    Raises:
        LewmError: nothing loadable is there, or its tensors are not those of its configuration (each missing,
            surplus or misshapen one is named). Pickled objects are refused, never loaded.
    """
    directory = Path(path).expanduser()
    if directory.is_file():
        raise LewmError(f"{directory}: expected a directory, got a file", _advice(directory))
    if official.weights_in(directory) is not None:
        return official.load_official(directory)
    pickles = sorted(directory.glob("*_object.ckpt")) if directory.is_dir() else []
    if pickles and not (directory / run.CONFIG).is_file():
        raise LewmError(f"{pickles[0]}: a pickled object, which is never loaded", official.SAFE_PAIR)
    return run.load_run(directory)


def _advice(file: Path) -> str:
    return official.SAFE_PAIR if file.suffix in (".ckpt", ".pkl", ".pickle") else "Give the directory it is in."
