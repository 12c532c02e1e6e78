"""Whether a run and a dataset belong together."""

from __future__ import annotations

from lewm.checkpoints.run import DatasetIdentity
from lewm.config import Config
from lewm.errors import LewmError
from lewm_data.store import Dataset


def check_belongs(dataset: Dataset, config: Config, trained_on: DatasetIdentity, option: str = "--data") -> None:
    """Raises unless the model can be shown the dataset's frames.

    Args:
        option: What named the dataset on the command line.

    Raises:
        LewmError: its world, actions or frames are others than those of training.
    """
    env = dataset.attributes.get("env", config.env)  # published files do not say
    if env != config.env:
        raise LewmError(
            f"{dataset.path}: is of the world {env}, the run was trained in {config.env}",
            f"Give {option} a dataset of the run's world, or --run a run of this one.",
        )
    if dataset.action_dim != config.model.action_dim:
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, the model expects "
            f"{config.model.action_dim}",
            f"Give {option} a dataset of the model's environment.",
        )
    if dataset.frame_size != trained_on.frame_size:
        ours, theirs = (f"{y} x {x} pixels" for y, x in (dataset.frame_size, trained_on.frame_size))
        raise LewmError(
            f"{dataset.path}: frames of {ours}, the run was trained on {theirs}",
            f"Give {option} a dataset collected with the same --frame-size.",
        )
