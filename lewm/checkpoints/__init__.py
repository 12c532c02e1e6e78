"""Reading models: runs of this project and checkpoints of the released code."""

from __future__ import annotations

from pathlib import Path

from lewm.checkpoints import released, run
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel


def load(path: str | Path, action_dim: int | None = None) -> WorldModel:
    """The model of a run or of a released checkpoint, in eval mode on the CPU.

    Args:
        path: A run; a folder with a released checkpoint (config.json, and weights.pt, the last of weights_epoch_N.pt or
            model.safetensors); its file of weights; or hf:USER/REPOSITORY. A released checkpoint has no action
            statistics, so planning in environment units needs them set from a dataset: "lewm checkpoint import" makes a
            run that has them.
        action_dim: For a released checkpoint, the numbers in the action of an environment step, which its files do not
            state. None: a whole action block counts as one action.

    Raises:
        LewmError: Nothing loadable is there, or its tensors are not those of its configuration (each missing,
            surplus or misshapen one is named), or its blocks are not made of such actions. Pickled objects are refused,
            never loaded.
    """
    if released.at(path):
        return released.load_released(path, action_dim)
    directory = Path(path).expanduser()
    if directory.is_file():
        raise LewmError(f"{directory}: not a file of weights", released.advice(directory))
    if directory.is_dir() and not (directory / run.CONFIG).is_file():
        released.refuse_objects(directory)
    return run.load_run(directory)
