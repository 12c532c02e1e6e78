"""The worlds that `lewm` knows by name.

They are imported when they are asked for, and need their extras only when one is made.
"""

import functools
import importlib

import gymnasium

from lewm_data.envs.env import SimulatorEnv
from lewm_data.envs.gymnasium_world import gymnasium_world, nearest_ids
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.envs.world import World
from lewm_data.errors import unknown

# Name to where the `World` is.
WORLDS = {
    "two-room": "lewm_data.envs.two_room.definition:TWO_ROOM",
    "push-t": "lewm_data.envs.push_t.definition:PUSH_T",
    "reacher": "lewm_data.envs.reacher.definition:REACHER",
    "cube": "lewm_data.envs.cube.definition:CUBE",
}


@functools.cache
def world(name: str) -> World:
    """The world called `name`, by its own name or its Gymnasium id; any other id of Gymnasium's is a world too.

    Raises:
        DataError: An unknown name, with the nearest known one, or an environment that cannot be used.
    """
    for known, place in WORLDS.items():
        if name in (known, gymnasium_id(known)):
            module, _, constant = place.partition(":")
            found: World = getattr(importlib.import_module(module), constant)
            return found
    if ":" in name or name in gymnasium.registry:
        return gymnasium_world(name)
    raise unknown("environment", name, [*WORLDS, *nearest_ids(name)])


def gymnasium_id(name: str) -> str:
    """What Gymnasium calls a world, "lewm/PushT-v0" for "push-t"."""
    return f"lewm/{name.title().replace('-', '')}-v0"


def register() -> None:
    """Has Gymnasium know every world by its id."""
    for name in WORLDS:
        if gymnasium_id(name) not in gymnasium.registry:  # Two-Room is; a second registration would warn
            gymnasium.register(
                id=gymnasium_id(name),
                entry_point="lewm_data.envs.registry:make_env",
                vector_entry_point="lewm_data.envs.registry:make_vector_env",
                kwargs={"world_name": name},
            )


def make_env(world_name: str, frame_size: int = 64, render_mode: str | None = "rgb_array") -> SimulatorEnv:
    """One environment of a world, for `gymnasium.make`. It truncates its episodes itself."""
    env = make_vector_env(world_name, 1, frame_size)
    return SimulatorEnv(env.simulators[0], env.max_episode_steps, env.terminates, render_mode)


def make_vector_env(world_name: str, num_envs: int = 1, frame_size: int = 64) -> SimulatorVectorEnv:
    """A vector environment of a world, for `gymnasium.make_vec`."""
    env = world(world_name).make(num_envs, frame_size, True)
    assert isinstance(env, SimulatorVectorEnv)
    return env
