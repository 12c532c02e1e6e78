"""Factors of variation: which of them vary in a collection, and how a dataset records them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.envs.world import World
from lewm_data.errors import unknown

PREFIX = "factor."  # the beginning of the columns' names


def named_factors(world: World, vary: str) -> tuple[str, ...]:
    """The factors that "agent.color,door.position", "all" or "" stand for, in the world's order.

    Raises:
        DataError: The world has no such factor; the nearest one is suggested.
    """
    if vary == "all":
        return tuple(world.factors)
    wanted = [name.strip() for name in vary.split(",") if name.strip()]
    for name in wanted:
        if name not in world.factors:
            raise unknown(f"factor of {world.name}", name, [*world.factors, "all"])
    return tuple(name for name in world.factors if name in wanted)


def draw_factors(world: World, names: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    """Random values of `names`. All factors are drawn, in the world's order, so no value depends on `names`."""
    drawn = {name: factor.draw(rng) for name, factor in world.factors.items()} if names else {}
    return {name: drawn[name] for name in names}


def factor_columns(world: World, drawn: Mapping[str, Any], rows: int) -> dict[str, Shaped[np.ndarray, "rows ..."]]:
    """The columns that record an episode's factors, with the same value in each row."""
    columns = {}
    for name, value in drawn.items():
        one = np.asarray(value, np.asarray(world.factors[name].default).dtype)
        columns[PREFIX + name] = np.broadcast_to(one, (rows, *one.shape)).copy()
    return columns


def recorded_factors(columns: Mapping[str, Shaped[np.ndarray, "rows ..."]], rows: int) -> tuple[dict[str, Any], ...]:
    """The factors of `rows` steps, as a reset takes them, from a dataset's columns at these steps.

    Factors that the dataset does not record had their defaults and are left out. Other columns are ignored.
    """
    values = {name.removeprefix(PREFIX): each.tolist() for name, each in columns.items() if name.startswith(PREFIX)}
    return tuple({name: _plain(each[row]) for name, each in values.items()} for row in range(rows))


def _plain(value: Any) -> Any:  # noqa: ANN401  # a number, or a list of numbers
    return tuple(value) if isinstance(value, list) else value
