"""Actions and observations of any Gymnasium environment as plain numbers.

Letters: A action width.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped

from lewm_data.errors import DataError
from lewm_data.store.schema import is_numbers

Action = np.ndarray | np.integer  # the types that an environment takes
NUMERIC = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def action_groups(space: spaces.Space[Any]) -> tuple[int, ...] | None:
    """The sizes of the one-hot groups that an action consists of; None where it consists of numbers.

    Raises:
        DataError: An action that is neither choices nor bounded numbers.
    """
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(size) for size in space.nvec.flat)
    if isinstance(space, spaces.Box) and space.is_bounded() and space.dtype.kind == "f":
        return None
    raise DataError(
        f"the actions are {space}, expected Discrete, MultiDiscrete, or a bounded Box of floating point",
        "Wrap the environment so that it has such actions, and register that.",
    )


def flat_actions(space: spaces.Space[Any]) -> spaces.Box:
    """The action space of policies and planners: a box's numbers, flattened, or a one-hot vector for each choice."""
    groups = action_groups(space)
    if groups is not None:
        return spaces.Box(0.0, 1.0, (sum(groups),), np.float32)
    assert isinstance(space, spaces.Box)
    return spaces.Box(space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32), dtype=np.float32)


def to_action(space: spaces.Space[Any], numbers: Shaped[np.ndarray, " A"]) -> Action:
    """The environment's action: numbers clipped to their bounds, or the choice with the largest number of each group.

    Raises:
        DataError: The wrong shape, or a number that is not finite.
    """
    groups = action_groups(space)
    width = math.prod(space.shape or ()) if groups is None else sum(groups)
    if numbers.shape != (width,) or not np.isfinite(numbers).all():
        raise DataError(f"an action is {numbers}, expected {width} finite numbers", "Give one action a step.")
    if groups is None:
        assert isinstance(space, spaces.Box)
        return np.clip(numbers.reshape(space.shape).astype(space.dtype), space.low, space.high)
    chosen = np.array([group.argmax() for group in np.split(numbers, np.cumsum(groups)[:-1])])
    if isinstance(space, spaces.Discrete):
        return np.int64(space.start + chosen[0])
    assert isinstance(space, spaces.MultiDiscrete)
    return (chosen.reshape(space.nvec.shape) + space.start).astype(space.dtype)


def numeric_leaves(space: spaces.Space[Any], observation: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:  # noqa: ANN401  # whatever Gymnasium allows
    """Every array of numbers in an observation; the entries of a dictionary are in the order of their names.

    Pictures are left out (see `is_numbers`), and so are values without a fixed size.

    Args:
        space: The space of the observation.
        observation: The observation, unchanged from the environment.
        name: The name of the observation; parts are called "name.part", slashes become underscores.
    """
    for path, _, values in array_leaves(space, observation, name):
        if is_numbers(values.dtype, values.shape):
            yield path, values


def array_leaves(
    space: spaces.Space[Any],
    observation: Any,  # noqa: ANN401
    name: str,
) -> Iterator[tuple[str, spaces.Space[Any], np.ndarray]]:
    """Every array in an observation, pictures too, with its name and its space; see `numeric_leaves`."""
    if isinstance(space, spaces.Dict):
        for key in sorted(space, key=str):
            yield from array_leaves(space[key], observation[key], f"{name}.{str(key).replace('/', '_')}")
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space):
            yield from array_leaves(part, observation[index], f"{name}.{index}")
    elif isinstance(space, NUMERIC):
        yield name, space, np.array(observation, space.dtype)
