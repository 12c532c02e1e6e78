"""Worlds by name: the names that a user types, and the names in files.

A world is imported when it is asked for, and needs its extra only when an environment is made. `world` may import
another package and is for names that the user typed. Names from a file or a configuration go through `known_world`.
"""

import difflib
import functools
import importlib
import logging
import re
import sys

import gymnasium

from lewm_data.envs.env import SimulatorEnv
from lewm_data.envs.gymnasium.world import gymnasium_world, unregistered
from lewm_data.envs.two_room.vector_env import MAX_EPISODE_STEPS
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.envs.world import World

logger = logging.getLogger(__name__)

# Name to the module and the variable of the `World`.
WORLDS = {
    "two-room": "lewm_data.envs.two_room.definition:TWO_ROOM",
    "push-t": "lewm_data.envs.push_t.definition:PUSH_T",
    "reacher": "lewm_data.envs.reacher.definition:REACHER",
    "cube": "lewm_data.envs.cube.definition:CUBE",
}

RECORDING = "recording"  # the name of a world that the data do not name; a folder of data may be called so, too
NAME_BYTES = 120  # the longest name: with a recipe's name added, it still fits a directory's name (255)
NEAR = 0.7  # similarity above which one name may be a typing error for another


@functools.cache
def world(name: str) -> World:
    """The world called `name`, by its own name or its Gymnasium id; any other Gymnasium id is a world too.

    "package:Id-v0" imports the package and so runs its code: give only a name that the user typed.

    Raises:
        DataError: The name is unknown (the nearest known one is suggested, and an installed package that registers such
            ids), or the environment cannot be used.
    """
    if own := _own_name(name):
        module, _, constant = WORLDS[own].partition(":")
        found: World = getattr(importlib.import_module(module), constant)
        return found
    if ":" in name or name in gymnasium.registry:
        return gymnasium_world(name)
    raise unregistered(name, WORLDS)


def known_world(name: str | None) -> World | None:
    """The world that a file or a configuration names, if it is known without importing a package.

    The known worlds are lewm's own, by name or Gymnasium id, and the ids in Gymnasium's registry whose code is imported
    already: "CartPole-v1", and "package:Id-v0" once the user has typed it or a program has imported the package.

    Returns:
        The world; None for any other name and, with a warning, where a known world cannot be made here.
    """
    return _usable(name) if name is not None and _imports_nothing(name) else None


def plain_name(said: str | None) -> str:
    """The plain name of the world that a file's attribute or an option names.

    Letters, digits and "_./:-" stay, other characters become "-", and a name longer than NAME_BYTES is cut. A Gymnasium
    id of one of lewm's own worlds becomes the world's name. The plain name is RECORDING where `said` is None or empty.
    """
    kept = re.sub(r"[^\w./:-]+", "-", said or "")
    kept = kept.encode()[:NAME_BYTES].decode(errors="ignore").strip("-")
    return (_own_name(kept) or kept) if names_world(kept) else RECORDING


def names_world(said: str | None) -> bool:
    """Whether a file's attribute or an option names a world at all."""
    return said is not None and re.search(r"\w", said) is not None


def nearest_world(name: str) -> str | None:
    """The known world whose name is nearest to `name`; None where no name is similar."""
    near = difflib.get_close_matches(name, [*WORLDS, *gymnasium.registry], n=1, cutoff=NEAR)
    return near[0] if near else None


def gymnasium_id(name: str) -> str:
    """The Gymnasium id of a world: "lewm/PushT-v0" for "push-t"."""
    return f"lewm/{name.title().replace('-', '')}-v0"


def register() -> None:
    """Registers every world with Gymnasium by its id."""
    if "lewm/TwoRoom-v0" not in gymnasium.registry:  # a second registration would cause a warning
        gymnasium.register(
            id="lewm/TwoRoom-v0",
            entry_point="lewm_data.envs.two_room.env:TwoRoomEnv",
            vector_entry_point="lewm_data.envs.two_room.vector_env:TwoRoomVectorEnv",
            max_episode_steps=MAX_EPISODE_STEPS,
        )
    for name in WORLDS:
        if gymnasium_id(name) not in gymnasium.registry:
            gymnasium.register(
                id=gymnasium_id(name),
                entry_point="lewm_data.envs.registry:make_env",
                vector_entry_point="lewm_data.envs.registry:make_vector_env",
                kwargs={"world_name": name},
            )


def make_env(
    world_name: str, frame_size: int = 64, render_mode: str | None = "rgb_array", detail: str | None = None
) -> SimulatorEnv:
    """One environment of a world, for `gymnasium.make`. It truncates its episodes itself."""
    env = make_vector_env(world_name, 1, frame_size, detail)
    return SimulatorEnv(env.simulators[0], env.max_episode_steps, env.terminates, render_mode)


def make_vector_env(
    world_name: str, num_envs: int = 1, frame_size: int = 64, detail: str | None = None
) -> SimulatorVectorEnv:
    """A vector environment of a world, for `gymnasium.make_vec`."""
    env = world(world_name).drawn(detail).make(num_envs, frame_size, True)
    assert isinstance(env, SimulatorVectorEnv)
    return env


def _own_name(name: str) -> str | None:
    """The name in `WORLDS` for which a name or a Gymnasium id stands, else None."""
    return next((known for known in WORLDS if name in (known, gymnasium_id(known))), None)


def _imports_nothing(name: str) -> bool:
    """Whether `world(name)` runs only code of lewm, of Gymnasium and of packages that are imported already."""
    if _own_name(name):
        return True
    package, colon, registered = name.rpartition(":")
    if (colon and package not in sys.modules) or registered not in gymnasium.registry:
        return False
    entry_point = gymnasium.registry[registered].entry_point
    if isinstance(entry_point, str):
        return re.split("[.:]", entry_point, maxsplit=1)[0] in sys.modules
    return entry_point is not None


@functools.cache
def _usable(name: str) -> World | None:
    try:
        return world(name)
    except Exception as error:  # a Gymnasium environment may raise anything when it is made
        logger.warning("%s cannot be used here, so it is treated as unknown: %s", name, " ".join(str(error).split()))
        return None
