"""The common base of the simulators that use MuJoCo.

Letters: S state width, A action width, Y and X the sides of a frame.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float64, Shaped, UInt8

from lewm_data.envs.mujoco.camera import Camera, MjData, MjModel, import_mujoco
from lewm_data.envs.mujoco.factors import Knob, with_defaults
from lewm_data.errors import DataError

mujoco: Any = import_mujoco()


class MujocoSimulator(ABC):
    """A model in motion, whose next state is a function of its state, the action and the factors alone.

    Args:
        model: The world with its default factors, from `memoryless`. Simulators share it, and none changes it.
        parts: The arrays of MuJoCo's data that, concatenated, make a state.
        knobs: The factors of variation.
        action_dim: A.
        frame_size: Pixels a side.

    Raises:
        DataError: A frame size out of range.
    """

    def __init__(
        self, model: MjModel, parts: tuple[str, ...], knobs: Mapping[str, Knob], action_dim: int, frame_size: int
    ) -> None:
        if not 16 <= frame_size <= 4096:
            raise DataError(f"frame_size is {frame_size}, expected 16 to 4096", "The paper's frames have 224 pixels.")
        self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        self.factors: Mapping[str, Any] = with_defaults(knobs, {})
        self.frame_size = frame_size
        self.model, self.data, self.goal_data = model, mujoco.MjData(model), mujoco.MjData(model)
        self._usual, self._parts, self._knobs = model, parts, knobs
        self._camera: Camera | None = None

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " S"]]:
        """A random start and a random goal."""

    @abstractmethod
    def step(self, action: Float[np.ndarray, " A"]) -> None:
        """One step of the environment."""

    @abstractmethod
    def columns(self) -> Mapping[str, Shaped[np.ndarray, "..."]]:
        """The columns that are recorded of the present moment besides pixels, state and goal."""

    @abstractmethod
    def is_solved(self) -> bool:
        """Whether the goal is reached now."""

    @abstractmethod
    def camera(self) -> Camera:
        """The camera that draws this world at this frame size."""

    def reset(self, rng: np.random.Generator, factors: Mapping[str, Any]) -> None:
        """Begins an episode with a random start, and a random goal that is not reached at the start.

        Raises:
            DataError: An unknown factor, or a value that does not fit.
        """
        self.factors = with_defaults(self._knobs, factors)
        changed = [name for name, knob in self._knobs.items() if self.factors[name] != knob.default]
        self.model = copy.copy(self._usual) if changed else self._usual
        for name in changed:
            self._knobs[name].change(self.model, self.factors[name])
        self.set_state(*self.draw(rng))
        while self.is_solved():
            self.set_state(*self.draw(rng))

    @property
    def state(self) -> Float64[np.ndarray, " S"]:
        """Everything that `set_state` needs to return to the present moment."""
        return self._state_of(self.data)

    @property
    def goal(self) -> Float64[np.ndarray, " S"]:
        """The state to be reached."""
        return self._state_of(self.goal_data)

    def set_state(self, state: Float[np.ndarray, " S"], goal: Float[np.ndarray, " S"] | None = None) -> None:
        """Continues from `state`, and towards `goal` if it is given.

        Raises:
            DataError: The wrong shape, or a number that is not finite.
        """
        placed, aim = self._checked("state", state), None if goal is None else self._checked("goal", goal)
        self._put(self.data, placed)
        if aim is not None:
            self._put(self.goal_data, aim)

    def render(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it is now."""
        return self._frame(self.data)

    def render_goal(self) -> UInt8[np.ndarray, "Y X 3"]:
        """The world as it looks in the goal state."""
        return self._frame(self.goal_data)

    def close(self) -> None:
        """Releases the camera."""
        self._camera = None

    def _advance(self, control: Float64[np.ndarray, "..."], substeps: int) -> None:
        """Takes `substeps` of MuJoCo's steps, and computes everything for the moment after them."""
        self.data.ctrl[:] = control
        mujoco.mj_step(self.model, self.data, nstep=substeps)
        self._settle(self.data)

    def _settle(self, data: MjData) -> None:
        """Computes what follows from a state: positions of bodies, forces of contacts."""
        mujoco.mj_forward(self.model, data)
        mujoco.mj_rnePostConstraint(self.model, data)

    def _put(self, data: MjData, state: Float64[np.ndarray, " S"]) -> None:
        begin = 0
        for part in self._parts:
            values = getattr(data, part)
            values[:] = state[begin : begin + len(values)]
            begin += len(values)
        self._settle(data)

    def _state_of(self, data: MjData) -> Float64[np.ndarray, " S"]:
        return np.concatenate([getattr(data, part) for part in self._parts])

    def _frame(self, data: MjData) -> UInt8[np.ndarray, "Y X 3"]:
        if self._camera is None:
            self._camera = self.camera()
        return self._camera.render(self.model, data)

    def _checked(self, name: str, given: Float[np.ndarray, "..."]) -> Float64[np.ndarray, " S"]:
        values = np.asarray(given, np.float64)
        if values.shape != self.state.shape or not np.isfinite(values).all():
            raise DataError(
                f"{name} has shape {values.shape}, expected {len(self.state)} finite numbers",
                f"They are MuJoCo's {', '.join(self._parts)}, one behind the other.",
            )
        return values


def clipped(action: Float[np.ndarray, " A"]) -> Float64[np.ndarray, " A"]:
    """The action, clipped to [-1, 1].

    Raises:
        DataError: The action is not finite.
    """
    if not np.isfinite(action).all():
        raise DataError("an action is not finite", "Actions are numbers from -1 to 1.")
    return np.clip(np.asarray(action, np.float64), -1.0, 1.0)


def memoryless(model: MjModel) -> MjModel:
    """Changes a model so that its solver does not start from the forces of the last step, which no state holds."""
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    return model
