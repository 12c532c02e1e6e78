"""Whether a run, its data and a world belong together."""

from __future__ import annotations

from pathlib import Path

from lewm.checkpoints.run import DatasetIdentity
from lewm.config import Config
from lewm.errors import LewmError
from lewm_data.envs.registry import known_world, plain_name, world
from lewm_data.envs.world import World
from lewm_data.store.dataset import Dataset


def said_name(dataset: Dataset) -> str | None:
    """What a dataset calls its world; None where it does not say, as published files."""
    said = dataset.attributes.get("env")
    return None if said is None else plain_name(said)


def check_belongs(dataset: Dataset, config: Config, trained_on: DatasetIdentity, option: str = "--data") -> None:
    """Raises unless the model can be shown the dataset's frames.

    Args:
        option: What named the dataset on the command line.

    Raises:
        LewmError: its world, actions or frames are others than those of training.
    """
    said = said_name(dataset)
    if said not in (None, config.env, trained_on.env):
        raise LewmError(
            f"{dataset.path}: is of the world {said}, the run was trained in {config.env}",
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


def check_action_width(dataset: Dataset, env: str) -> None:
    """Raises where `env` is a known world whose actions are wider or narrower than those of the dataset.

    Raises:
        LewmError: The model could neither plan in that world nor be tested in it.
    """
    place = known_world(env)
    if place is not None and place.action_dim != dataset.action_dim:
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, those of {env} have {place.action_dim}",
            "Where the data are of another world, name it, or think of a name for it: --env my-robot.",
        )


def import_named(run: Path, config: Config, named: str, option: str = "--env") -> None:
    """Imports the package of the world that the user named, which has to be the run's.

    Args:
        named: What the user typed: "two-room", "my_package:MyEnv-v0".
        option: Behind what.

    Raises:
        LewmError: The run is of another world.
        DataError: The package cannot be imported, or does not register it.
    """
    if plain_name(named) != config.env:
        raise LewmError(
            f"{run}: a run of {config.env}, not of {plain_name(named)}",
            f"Give {option} {config.env}, or another --run.",
        )
    if ":" in named:
        world(named)


def world_to_act_in(run: Path, config: Config, instead: str, named: str | None = None, option: str = "--env") -> World:
    """The world that a run was trained in, whose simulator is needed.

    Args:
        instead: What to do where there is no simulator, for the message.
        named: The same world as the user named it, if they did: its package is imported.
        option: Behind what.

    Raises:
        LewmError: It is no world that lewm has a simulator of, its package is not imported, or another one is named.
        DataError: The package that is named cannot be imported, or does not register the world.
    """
    package, _, _ = config.env.rpartition(":")
    if not package and known_world(config.env) is None:
        raise LewmError(f"{run}: trained on recordings of {config.env}, of which lewm has no simulator", instead)
    if named is not None:
        import_named(run, config, named, option)
    place = known_world(config.env)
    if place is None:
        raise LewmError(
            f"{run}: trained in {config.env}; a package that a run names is imported only where you name it too",
            f"Give {option} {config.env}, which imports {package} and runs its code.",
        )
    return place
