"""Factors of variation of MuJoCo worlds: numbers, vectors and colours that fields of a model follow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lewm_data.envs.mujoco.camera import FLOOR, MjModel
from lewm_data.envs.simulator import Factor
from lewm_data.errors import DataError, unknown

Value = float | tuple[float, ...] | tuple[int, ...]
Change = Callable[[MjModel, Any], None]  # (a model with the default, another value) sets the model's fields


@dataclass(frozen=True)
class Knob:
    """A factor and its effect on a model.

    Attributes:
        default: A number, or a tuple of numbers; whole numbers are an RGB colour.
        low: Least number drawn, and least allowed; a colour may have any number from 0 to 255.
        high: Greatest number drawn, and greatest allowed; a colour may have any number from 0 to 255.
        about: Description, with the unit.
        change: Gives a model, which has the default, another value of the factor.
    """

    default: Value
    low: int | float
    high: int | float
    about: str
    change: Change

    @property
    def is_color(self) -> bool:
        """Whether the numbers are whole: red, green, blue."""
        return np.asarray(self.default).dtype.kind == "i"

    def draw(self, rng: np.random.Generator) -> Value:
        """A random value, each number of it uniform."""
        shape = np.shape(self.default)
        if self.is_color:
            return _plain(rng.integers(int(self.low), int(self.high), shape, endpoint=True))
        return _plain(rng.uniform(self.low, self.high, shape))

    def checked(self, name: str, value: object) -> Value:
        """The value, if it is of this factor's kind.

        Raises:
            DataError: The value is of another kind, or out of range.
        """
        numbers, wanted = np.asarray(value), np.asarray(self.default)
        low, high = (0, 255) if self.is_color else (self.low, self.high)
        fits = numbers.shape == wanted.shape and numbers.dtype.kind in ("iu" if self.is_color else "iuf")
        if not fits or not ((numbers >= low) & (numbers <= high)).all():
            count = f"{wanted.size} numbers" if wanted.ndim else "a number"
            raise DataError(
                f"{name} is {value!r:.60}, expected {count} from {low} to {high}", f"The usual one is {self.default}."
            )
        return _plain(numbers.astype(wanted.dtype))


def factors_of(knobs: Mapping[str, Knob]) -> dict[str, Factor]:
    """The factors as every world lists them."""
    return {name: Factor(knob.default, knob.draw, knob.about) for name, knob in knobs.items()}


def with_defaults(knobs: Mapping[str, Knob], given: Mapping[str, Any]) -> dict[str, Value]:
    """The default factors, replaced by the given ones.

    Raises:
        DataError: A name is no factor (the nearest one is suggested), or a value does not fit.
    """
    for name in given:
        if name not in knobs:
            raise unknown("factor of variation", name, knobs)
    return {name: knob.checked(name, given.get(name, knob.default)) for name, knob in knobs.items()}


def _plain(numbers: np.ndarray) -> Value:
    """A number or a tuple of numbers of Python's own types."""
    values = numbers.tolist()
    return tuple(values) if isinstance(values, list) else values


def recolor_material(*names: str) -> Change:
    """The change that gives materials a colour."""

    def change(model: MjModel, color: tuple[int, int, int]) -> None:
        for name in names:
            model.material(name).rgba[:3] = np.array(color) / 255

    return change


def recolor_floor(lighter: tuple[int, int, int]) -> Change:
    """The change that gives the lighter squares of the floor a colour, and the darker ones one as much darker.

    Args:
        lighter: The colour that the lighter squares have.
    """

    def change(model: MjModel, color: tuple[int, int, int]) -> None:
        texture = model.texture(FLOOR)
        begin, size = int(texture.adr[0]), int(texture.height[0] * texture.width[0] * texture.nchannel[0])
        texels = model.tex_data[begin : begin + size].reshape(-1, 3)
        texels[:] = np.minimum(texels * (np.array(color) / lighter), 255)

    return change


def move_camera(name: str) -> Change:
    """The change that moves a camera, which keeps its direction."""

    def change(model: MjModel, offset: tuple[float, float, float]) -> None:
        model.camera(name).pos[:] += offset

    return change


def light_up(name: str) -> Change:
    """The change that sets how bright a light is."""

    def change(model: MjModel, intensity: float) -> None:
        model.light(name).diffuse[:] = intensity

    return change
