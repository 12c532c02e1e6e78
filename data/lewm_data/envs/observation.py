"""Observations of a simulator, and their space."""

from typing import Any

import numpy as np
from gymnasium import spaces

from lewm_data.envs.simulator import Simulator

Observation = dict[str, np.ndarray]


def look(simulator: Simulator, pixels: bool) -> Observation:
    """The present observation of a simulator: pixels if asked for, the state, the goal, and its own columns."""
    seen = {"pixels": simulator.render()} if pixels else {}
    seen |= {"state": simulator.state, "goal": simulator.goal}
    return seen | {name: np.array(value) for name, value in simulator.columns().items()}


def space_of(observation: Observation) -> spaces.Space[Any]:
    """The space of observations with these types and shapes."""
    return spaces.Dict({name: _box(values) for name, values in observation.items()})


def _box(values: np.ndarray) -> spaces.Box:
    """The box of all values that the type of `values` can hold."""
    low: float
    high: float
    if values.dtype.kind == "f":
        low, high = -np.inf, np.inf
    elif values.dtype.kind == "b":
        low, high = 0, 1
    else:
        low, high = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
    return spaces.Box(low, high, values.shape, values.dtype.type)
