"""The world that a run was trained in, where its simulator is needed."""

from __future__ import annotations

from pathlib import Path

from lewm.config import Config
from lewm.errors import LewmError
from lewm.opened_run import Run
from lewm_data.envs.registry import known_world, plain_name, world
from lewm_data.envs.world import World


def import_named(run: Path, config: Config, named: str, option: str = "--env") -> None:
    """Imports the package of the world that the user named, which has to be the run's.

    Args:
        named: What the user typed, such as "two-room" or "my_package:MyEnv-v0".
        option: The option that it was typed behind.

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


def world_to_act_in(run: Run, instead: str, named: str | None = None, option: str = "--env") -> World:
    """The world that a run was trained in, whose simulator is needed. It draws frames as finely as the run's data.

    Args:
        instead: The remedy where there is no simulator.
        named: The name that the user typed for this world, if they did; its package is imported.
        option: The option that it was typed behind.

    Raises:
        LewmError: lewm has no simulator of the world, its package is not imported, or another world is named.
        DataError: The package that is named cannot be imported, or does not register the world.
    """
    env = run.config.env
    package, _, _ = env.rpartition(":")
    if not package and known_world(env) is None:
        raise LewmError(f"{run.path}: trained on recordings of {env}, of which lewm has no simulator", instead)
    if named is not None:
        import_named(run.path, run.config, named, option)
    place = known_world(env)
    if place is None:
        raise LewmError(
            f"{run.path}: trained in {env}; a package that a run names is imported only where you name it too",
            f"Give {option} {env}, which imports {package} and runs its code.",
        )
    return place.drawn(run.trained_on.detail).fitted(None if place.fit is None else run.fit)
