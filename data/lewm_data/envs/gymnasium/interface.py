"""The properties of a Gymnasium environment that hold in all its episodes, found by trying it.

Letters: A action width, K actions, V and U the sides of the picture that an environment draws.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, UInt8

from lewm_data.envs.gymnasium.drawing import drawn, open_env
from lewm_data.envs.gymnasium.origin import all_installed
from lewm_data.envs.gymnasium.spaces import array_leaves, flat_actions, to_action
from lewm_data.errors import DataError
from lewm_data.store.schema import is_numbers

# An instance is used again this often, with so few steps each time. Memory that Box2D uses again makes the third
# episode of an instance of BipedalWalker-v3 another one, from its first step on, and the ninth of the hardcore one.
TIMES_USED, STEPS_USED = 12, 3

STEPS_DRAWN = 10  # steps after which the picture is compared with the one where every step was drawn


@dataclass(frozen=True)
class Interface:
    """The properties of an environment that hold in all its episodes.

    Attributes:
        gymnasium_id: Its Gymnasium id, "CartPole-v1".
        actions: The space of its actions.
        observation: The arrays of numbers that it observes, with their shapes; see `numeric_leaves`.
        choices: Which of these are choices, which are the same or not, and no quantities that may be near.
        info: The numbers in its `info`, with their shapes: those that the first two moments have.
        success: The entry of `info` that says whether its own task is done; None if there is none.
        fresh: Whether each episode needs a new instance: one that was used before gives other episodes.
        drawing_counts: Whether a picture depends on what was drawn before it. Every moment is then drawn.
        picture: Y and X of the pictures that it draws.
        installed: Whether all its code is of installed packages, whose versions say what it is.
    """

    gymnasium_id: str
    actions: spaces.Space[Any]
    observation: Mapping[str, tuple[int, ...]]
    choices: frozenset[str]
    info: Mapping[str, tuple[int, ...]]
    success: str | None
    fresh: bool
    drawing_counts: bool
    picture: tuple[int, int]
    installed: bool


def inspect(gymnasium_id: str) -> Interface:
    """Tries the first moments of an environment, in new instances and in one that is used again.

    Raises:
        DataError: It cannot be made or drawn, has actions of an unsupported kind, or the same seed and actions give
            another episode in each new instance.
    """
    env = open_env(gymnasium_id)
    try:
        try:
            actions = flat_actions(env.action_space)
        except DataError as error:
            raise DataError(f"{gymnasium_id}: {error.problem}", error.remedy) from error
        observation, first = env.reset(seed=0)
        height, width = drawn(env, gymnasium_id).shape[:2]
        *_, second = env.step(to_action(env.action_space, actions.low))
        shapes = [{name: shape_of(value) for name, value in told.items()} for told in (first, second)]
        info = {name: shape for name, shape in shapes[0].items() if shape is not None and shapes[1].get(name) == shape}
        leaves = [
            (name, leaf, values.shape)
            for name, leaf, values in array_leaves(env.observation_space, observation, "observation")
            if is_numbers(values.dtype, values.shape)
        ]
        space, installed = env.action_space, all_installed(env)
    finally:
        env.close()
    tried = np.random.default_rng(0).uniform(actions.low, actions.high, (STEPS_DRAWN, *actions.shape))
    fresh = _needs_fresh(gymnasium_id, tried[:STEPS_USED].astype(np.float32))
    return Interface(
        gymnasium_id,
        space,
        {name: shape for name, _, shape in leaves},
        frozenset(name for name, leaf, _ in leaves if not isinstance(leaf, spaces.Box)),
        info,
        next((name for name in ("is_success", "success") if name in first or name in second), None),
        fresh,
        _drawing_counts(gymnasium_id, tried.astype(np.float32)),
        (height, width),
        installed,
    )


def shape_of(value: Any) -> tuple[int, ...] | None:  # noqa: ANN401  # an environment may tell anything
    """The shape of a value that consists of numbers, else None; a picture is none."""
    if not isinstance(value, bool | int | float | np.number | np.bool_ | np.ndarray):
        return None
    values = np.asarray(value)
    return values.shape if is_numbers(values.dtype, values.shape) else None


def digest(space: spaces.Space[Any], observation: Any) -> bytes:  # noqa: ANN401
    """A digest of everything in an observation that is an array, pictures too."""
    found = hashlib.blake2b(digest_size=16)
    for _, _, values in array_leaves(space, observation, "observation"):
        found.update(values.tobytes())
    return found.digest()


def not_replayed(gymnasium_id: str, where: str) -> DataError:
    """The error for an environment whose episodes cannot be played again."""
    return DataError(
        f"{gymnasium_id}: the same seed and actions gave another episode {where}",
        "All its randomness must be from its own np_random, which reset(seed=...) seeds.",
    )


def _needs_fresh(gymnasium_id: str, actions: Float32[np.ndarray, "K A"]) -> bool:
    """Whether an instance that is used again gives another episode than a new one does."""
    episodes: list[list[bytes]] = []
    used = open_env(gymnasium_id)
    try:
        episodes = [_play(used, actions) for _ in range(TIMES_USED)]
    finally:
        used.close()
    if all(episode == episodes[0] for episode in episodes):
        return False
    for _ in range(2):
        new = open_env(gymnasium_id)
        try:
            if _play(new, actions) != episodes[0]:
                raise not_replayed(gymnasium_id, f"within {STEPS_USED} steps, in new instances of it too")
        finally:
            new.close()
    return True


def _drawing_counts(gymnasium_id: str, actions: Float32[np.ndarray, "K A"]) -> bool:
    """Whether the episode or its last picture is another one where all moments before were drawn too."""
    episodes: list[list[bytes]] = []
    last: list[UInt8[np.ndarray, "V U 3"]] = []
    for always in (False, True):
        env = open_env(gymnasium_id)
        try:
            episodes.append(_play(env, actions, always))
            last.append(drawn(env, gymnasium_id))
        finally:
            env.close()
    return episodes[0] != episodes[1] or not np.array_equal(last[0], last[1])


def _play(env: gymnasium.Env[Any, Any], actions: Float32[np.ndarray, "K A"], draw: bool = False) -> list[bytes]:
    """Plays the episode of seed 0 until it ends; returns a digest of each moment."""
    observation, _ = env.reset(seed=0)
    seen = [digest(env.observation_space, observation)]
    for action in actions:
        if draw:
            env.render()
        observation, _, terminated, truncated, _ = env.step(to_action(env.action_space, action))
        seen.append(digest(env.observation_space, observation))
        if terminated or truncated:
            break
    return seen
