"""The factors of variation of Push-T."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lewm_data.envs.simulator import Factor
from lewm_data.errors import DataError, unknown

Color = tuple[int, int, int]
Factors = Mapping[str, Any]

RANGES = {"agent.scale": (0.5, 1.5), "block.scale": (0.75, 1.25), "block.friction": (0.0, 1.0)}


def _color(low: int, high: int) -> Callable[[np.random.Generator], Color]:
    def draw(rng: np.random.Generator) -> Color:
        red, green, blue = rng.integers(low, high, 3, endpoint=True).tolist()
        return (red, green, blue)

    return draw


def _number(name: str) -> Callable[[np.random.Generator], float]:
    return lambda rng: float(rng.uniform(*RANGES[name]))


# The defaults are those of published data. Dark things on a light floor stay visible, whatever colours are drawn.
FACTORS: dict[str, Factor] = {
    "agent.color": Factor((65, 105, 225), _color(0, 160), "RGB of the agent's rim, drawn from 0 to 160 a channel"),
    "agent.scale": Factor(1.0, _number("agent.scale"), "the agent's radius over 15 units, 0.5 to 1.5"),
    "block.color": Factor((119, 136, 153), _color(0, 160), "RGB of the block's rim, drawn from 0 to 160 a channel"),
    "block.scale": Factor(1.0, _number("block.scale"), "the block's size over the usual one, 0.75 to 1.25"),
    "block.friction": Factor(0.0, _number("block.friction"), "Coulomb friction of agent and block, 0 to 1"),
    "background.color": Factor((255, 255, 255), _color(200, 255), "RGB of the floor, drawn from 200 to 255 a channel"),
}


def with_defaults(given: Factors) -> dict[str, Any]:
    """The default factors, replaced by the given ones.

    Raises:
        DataError: A name is no factor (the nearest one is suggested), or a value does not fit.
    """
    for name in given:
        if name not in FACTORS:
            raise unknown("Push-T factor", name, FACTORS)
    return {
        name: (_checked_number if name in RANGES else _checked_color)(name, given.get(name, factor.default))
        for name, factor in FACTORS.items()
    }


def _checked_number(name: str, value: object) -> float:
    low, high = RANGES[name]
    if not isinstance(value, int | float | np.number) or not low <= value <= high:
        raise DataError(f"{name} is {value!r}, expected {low} to {high}", f"The usual one is {FACTORS[name].default}.")
    return float(value)


def _checked_color(name: str, value: object) -> Color:
    channels = np.asarray(value)
    if channels.shape != (3,) or channels.dtype.kind not in "iu" or not ((channels >= 0) & (channels <= 255)).all():
        raise DataError(f"{name} is {value!r}, expected three whole numbers from 0 to 255", "Write it as (255, 0, 0).")
    red, green, blue = channels.tolist()
    return (red, green, blue)
