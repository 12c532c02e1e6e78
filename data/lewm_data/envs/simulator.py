"""The simulator under a world, whose state can be set. `vector_env` makes Gymnasium environments from it.

Shape letters: S state width, Y and X the sides of a frame.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from jaxtyping import Float64, Shaped, UInt8


@dataclass(frozen=True)
class Factor:
    """Something that can differ between two episodes of a world: a colour, a size, a friction.

    Attributes:
        default: The value where the factor does not vary: a number, or a tuple of numbers such as an RGB colour.
        draw: Returns a random value of the same kind.
        about: Description, with unit and range.
    """

    default: Any
    draw: Callable[[np.random.Generator], Any]
    about: str


@runtime_checkable
class Simulator(Protocol):
    """One world. An episode is a function of its random generator, its factors and its actions alone.

    Attributes:
        action_space: The space of one step's action.
        factors: Values of the factors in the present episode, by the names in `World.factors` ("agent.color").
    """

    action_space: spaces.Space[Any]
    factors: Mapping[str, Any]

    def reset(self, rng: np.random.Generator, factors: Mapping[str, Any]) -> None:
        """Begins an episode with a random start and goal, and the default factors, replaced by the given ones."""
        ...

    def step(self, action: Shaped[np.ndarray, "..."]) -> None:
        """Takes one step of the environment."""
        ...

    @property
    def state(self) -> Float64[np.ndarray, " S"]:
        """Everything that `set_state` needs to return to the present moment."""
        ...

    @property
    def goal(self) -> Float64[np.ndarray, " S"]:
        """The state to be reached."""
        ...

    def set_state(self, state: Float64[np.ndarray, " S"], goal: Float64[np.ndarray, " S"] | None = None) -> None:
        """Continues from `state`, and towards `goal` if it is given."""
        ...

    def columns(self) -> Mapping[str, Shaped[np.ndarray, "..."]]:
        """The columns that are recorded of the present moment besides pixels, state and goal: physical quantities."""
        ...

    def render(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it is now."""
        ...

    def render_goal(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it looks in the goal state."""
        ...

    def is_solved(self) -> bool:
        """Whether the goal is reached now."""
        ...

    def close(self) -> None:
        """Releases the simulator's resources."""
        ...
