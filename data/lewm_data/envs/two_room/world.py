"""A batch of Two-Room worlds: their state, their steps, and how episodes begin.

Both Gymnasium environments are thin layers over this class, so a world is the same in both.

Letters: N worlds, K worlds that begin an episode.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from lewm_data.envs.two_room.collision import SKIN, move
from lewm_data.envs.two_room.factors import TwoRoomFactors
from lewm_data.envs.two_room.geometry import (
    AGENT_RADIUS,
    FARTHEST,
    LEFT_FACE,
    NEAREST,
    RIGHT_FACE,
    WALL_CENTRE,
    Rooms,
    clearance,
    pushed_out,
)
from lewm_data.envs.two_room.paths import room_distance
from lewm_data.envs.two_room.render import background, draw
from lewm_data.errors import DataError, unknown

SOLVED_DISTANCE = 16 / 224
LEAST_STEPS = 25  # an episode's goal is at least this many steps at full speed away
TRIALS = 16  # pairs of agent and goal that are drawn for an episode; the first pair that is far enough is taken
ROUNDING = 1e-6  # states that were stored as float32 may lie this deep in a wall

Factors = TwoRoomFactors | Mapping[str, object]
Indices = Int[np.ndarray, "K"]


class TwoRoomWorld:
    """N worlds with their agents, goals and factors of variation."""

    def __init__(self, count: int, frame_size: int, defaults: Factors | None) -> None:
        if count < 1:
            raise DataError(f"num_envs is {count}, expected at least 1", "Ask for one environment or more.")
        if not 16 <= frame_size <= 4096:
            raise DataError(f"frame_size is {frame_size}, expected 16 to 4096", "The paper's frames have 224 pixels.")
        self.frame_size = frame_size
        self.defaults = TwoRoomFactors()
        self.defaults = self._one(defaults)
        self.factors = (self.defaults,) * count
        self.state: Float64[np.ndarray, "N 2"] = np.full((count, 2), 0.25)
        self.goal: Float64[np.ndarray, "N 2"] = np.full((count, 2), 0.25)
        self._lay_out(self.factors)

    def reset(self, slots: Indices, rngs: Sequence[np.random.Generator], options: Mapping[str, object]) -> None:
        """Begins an episode in `slots`, each a function of its own generator and of the options.

        The agent is uniform in the free space of a random room, the goal in that of the other room, and the
        path between them is at least 25 steps long at full speed (the longest of 16 draws where none is).

        Raises:
            DataError: An unknown option or factor, or a value that does not fit.
        """
        for name in options:
            if name not in ("factors", "state", "goal"):
                raise unknown("reset option", str(name), ("factors", "state", "goal", "reset_mask"))
        every = list(self.factors)
        for slot, one in zip(slots, self._factors_of(options.get("factors"), slots), strict=True):
            every[slot] = one
        if tuple(every) != self.factors:
            self._lay_out(every)
        rooms = self.rooms.take(slots)
        state, goal = (
            None if options.get(name) is None else self._free(name, options[name], slots) for name in ("state", "goal")
        )

        drawn = np.stack([rng.random((TRIALS, 5)) for rng in rngs])  # (K, 16, 5) room, agent's u v, goal's u v
        left = drawn[:, :, 0] < 0.5
        if state is not None:
            left = np.broadcast_to(rooms.across_along(state)[:, :1] < WALL_CENTRE, left.shape)
        elif goal is not None:
            left = np.broadcast_to(rooms.across_along(goal)[:, :1] >= WALL_CENTRE, left.shape)
        trials = rooms.take(np.repeat(np.arange(len(slots)), TRIALS))
        agents, goals = _in_room(left, drawn[:, :, 1:3], trials), _in_room(~left, drawn[:, :, 3:5], trials)
        if state is not None:
            agents = np.repeat(state, TRIALS, axis=0)
        if goal is not None:
            goals = np.repeat(goal, TRIALS, axis=0)
        length = room_distance(agents, goals, trials).reshape(len(slots), TRIALS)
        far = length >= LEAST_STEPS * rooms.speed
        chosen = np.where(far.any(axis=1), far.argmax(axis=1), length.argmax(axis=1))
        chosen += np.arange(len(slots)) * TRIALS
        self.state[slots], self.goal[slots] = agents[chosen], goals[chosen]

    def advance(self, actions: Float64[np.ndarray, "N 2"]) -> None:
        """One step: `actions` are clipped to [-1, 1] and scaled by each world's speed."""
        if not np.isfinite(actions).all():
            raise DataError("an action is not finite", "Actions are numbers from -1 to 1.")
        # np.clip takes three times as long, which matters with one world.
        wanted = np.minimum(np.maximum(actions, -1.0), 1.0)
        self.state = move(self.state, wanted * self.rooms.speed, self.rooms)

    def place(self, state: object, goal: object | None) -> None:
        """Puts every agent at `state`, and the goals at `goal` if it is given.

        Raises:
            DataError: The wrong shape, or a position in a wall.
        """
        slots = np.arange(len(self.state))
        placed = self._free("state", state, slots)
        self.goal = self.goal if goal is None else self._free("goal", goal, slots)
        self.state = placed

    def frames(self, position: Float64[np.ndarray, "N 2"]) -> UInt8[np.ndarray, "N Y X 3"]:
        """The worlds with their agents at `position`."""
        return draw(position, self._backgrounds, self._agent_color)

    def solved(self) -> Bool[np.ndarray, "N"]:
        """Whether each agent's centre is within 16/224 of its goal."""
        return solved(self.state, self.goal)

    def _lay_out(self, factors: Sequence[TwoRoomFactors]) -> None:
        self.factors = tuple(factors)
        self.rooms = Rooms.of(self.factors)
        self._backgrounds = [background(one, self.frame_size) for one in self.factors]
        self._agent_color = np.array([one.agent_color for one in self.factors], np.float32)

    def _factors_of(self, given: object, slots: Indices) -> list[TwoRoomFactors]:
        if given is None or isinstance(given, TwoRoomFactors | Mapping):
            return [self._one(given)] * len(slots)
        if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == len(self.state):
            return [self._one(given[slot]) for slot in slots]
        raise DataError(
            f"factors are {given!r:.60}, expected TwoRoomFactors, a mapping or {len(self.state)} of these",
            'For example options={"factors": {"door.position": 0.5}}.',
        )

    def _one(self, given: object) -> TwoRoomFactors:
        if isinstance(given, Mapping):
            return self.defaults.varied(given)
        if given is None or isinstance(given, TwoRoomFactors):
            return given or self.defaults
        raise DataError(f"factors are {given!r:.60}, expected TwoRoomFactors or a mapping", "Name those to change.")

    def _free(self, name: str, given: object, slots: Indices) -> Float64[np.ndarray, "K 2"]:
        """Free positions for the worlds of `slots`, from a user's value for all N worlds."""
        every = np.array(given, np.float64)
        if every.shape != self.state.shape:
            raise DataError(f"{name} has shape {every.shape}, expected {self.state.shape}", "Give one (x, y) a world.")
        position, rooms = every[slots], self.rooms.take(slots)
        gap = clearance(position, rooms)
        for slot, (x, y), depth in zip(slots, position, gap, strict=True):
            if not depth >= -ROUNDING:
                raise DataError(
                    f"{name} ({x:.5f}, {y:.5f}) of world {slot} lies in a wall or beyond the border",
                    f"Positions are in units of the frame; the agent's radius is {AGENT_RADIUS:.5f}.",
                )
        return np.where(gap[:, None] < -SKIN, pushed_out(position, rooms), position)


def _in_room(
    left: Bool[np.ndarray, "K S"], unit: Float64[np.ndarray, "K S 2"], rooms: Rooms
) -> Float64[np.ndarray, "KS 2"]:
    """Maps points of the unit square to the free space of the left (upper) or the right (lower) room."""
    u = np.where(left, NEAREST, RIGHT_FACE) + unit[:, :, 0] * (LEFT_FACE - NEAREST)
    v = NEAREST + unit[:, :, 1] * (FARTHEST - NEAREST)
    return rooms.across_along(np.stack([u.ravel(), v.ravel()], axis=1))


def solved(state: Float64[np.ndarray, "N 2"], goal: Float64[np.ndarray, "N 2"]) -> Bool[np.ndarray, "N"]:
    """Whether agents at `state` have reached `goal`: their centre is within 16/224 of it."""
    away = state - goal
    near: np.ndarray = away[:, 0] * away[:, 0] + away[:, 1] * away[:, 1] < SOLVED_DISTANCE**2
    return near
