"""Events against physics in Two-Room.

Letters: K frames from the onset on, or actions; P positions of the agent; Y and X the sides of a frame; u across the
wall, v along it.
"""

import math

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from lewm_data.envs.general_perturbations import (
    TOLD_STEPS,
    Episode,
    Perturbation,
    action_swapped,
    frozen,
    shown,
    time_reversed,
)
from lewm_data.envs.two_room.factors import Color, TwoRoomFactors
from lewm_data.envs.two_room.geometry import (
    AGENT_RADIUS,
    FARTHEST,
    LEFT_FACE,
    NEAREST,
    RIGHT_FACE,
    WALL_CENTRE,
    Rooms,
    clearance,
)
from lewm_data.envs.two_room.render import background, draw
from lewm_data.envs.two_room.world import TwoRoomWorld
from lewm_data.errors import DataError

# Euclidean distance, in levels from 0 to 255: below half a side of the RGB cube, so the three colours in use leave at
# least five of the cube's corners free.
COLOR_DISTANCE = 120.0

Frames = UInt8[np.ndarray, "K Y X 3"]


def teleported(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The agent is suddenly elsewhere, and moves on from there as its actions say.

    The new place is uniform among the free places that the agent cannot reach, in 5 steps at full speed along both
    axes, from any of its last 5 positions. So even a model that sees every fifth frame cannot take the jump for motion.
    """
    rooms = Rooms.of([episode.factors])
    recent = episode.states[max(onset - TOLD_STEPS, 0) : onset]
    reach = TOLD_STEPS * math.sqrt(2) * episode.factors.agent_speed
    while True:
        place = rng.uniform(NEAREST, FARTHEST, 2)
        far = np.linalg.norm(recent - place, axis=1).min() > reach
        if far and clearance(place[None], rooms)[0] >= 0:
            return _drawn(_moved(place, episode.actions[onset:], episode.factors), episode)


def agent_recolored(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The agent has another colour."""
    return _recolored(episode, onset, "agent.color", rng)


def walls_recolored(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The wall and the border have another colour."""
    return _recolored(episode, onset, "wall.color", rng)


def floor_recolored(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The floor has another colour."""
    return _recolored(episode, onset, "background.color", rng)


def vanished(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The agent disappears."""
    empty = background(episode.factors, episode.frames.shape[1])
    return np.repeat(empty[None], len(episode.frames) - onset, axis=0)


def through_the_wall(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The agent glides through the wall into the other room, then moves on as its actions say.

    It goes straight at the wall and through it at a step's speed. Where the door is in the way, it first glides along
    a slanted line to where the whole disc meets the wall beside the door. The episode may end before it arrives.

    Raises:
        DataError: The door leaves no wall to go through.
    """
    glide = _glide(episode.states[onset - 1], episode.factors)[: len(episode.frames) - onset]
    afterwards = _moved(glide[-1], episode.actions[onset - 1 + len(glide) :], episode.factors)
    return _drawn(np.concatenate([glide, afterwards[1:]]), episode)


PERTURBATIONS: dict[str, Perturbation] = {
    "agent teleported": shown(teleported),
    "agent recoloured": shown(agent_recolored),
    "walls recoloured": shown(walls_recolored),
    "floor recoloured": shown(floor_recolored),
    "agent vanishes": shown(vanished),
    "agent frozen": shown(frozen),
    "agent through the wall": shown(through_the_wall),
    "time reversed": shown(time_reversed),
    "action swapped": action_swapped,
}


def _recolored(episode: Episode, onset: int, what: str, rng: np.random.Generator) -> Frames:
    changed = episode.factors.varied({what: _new_color(episode.factors, rng)})
    return _drawn(episode.states[onset:], episode, changed)


def _new_color(factors: TwoRoomFactors, rng: np.random.Generator) -> Color:
    """A random colour that is clearly different from all colours in use."""
    used = np.array([factors.agent_color, factors.wall_color, factors.background_color])
    while True:
        color = rng.integers(0, 256, 3)
        if np.linalg.norm(used - color, axis=1).min() >= COLOR_DISTANCE:
            red, green, blue = color.tolist()
            return (red, green, blue)


def _glide(start: Float64[np.ndarray, "2"], factors: TwoRoomFactors) -> Float64[np.ndarray, "P 2"]:
    """Positions after each step from `start` to the other side of the wall, without `start` itself."""
    rooms = Rooms.of([factors])
    u, v = rooms.across_along(start[None])[0]
    near, far = (LEFT_FACE, RIGHT_FACE) if u < WALL_CENTRE else (RIGHT_FACE, LEFT_FACE)
    beside = factors.door_half_extent + AGENT_RADIUS
    crossing = v
    if abs(v - factors.door_position) < beside:
        edges = [factors.door_position - beside, factors.door_position + beside]
        walled = [edge for edge in edges if NEAREST <= edge <= FARTHEST]
        if not walled:
            raise DataError(
                f"door_half_extent is {factors.door_half_extent:.5f}, which leaves no wall to go through",
                "Choose a narrower door.",
            )
        crossing = min(walled, key=lambda edge: abs(edge - v))
    corners = np.array([(u, v), (near, crossing), (far, crossing)])
    legs = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    travelled = np.append(0.0, np.cumsum(legs))
    count = math.ceil(travelled[-1] / factors.agent_speed - 1e-9)  # rounding must not add a step
    steps = np.minimum(np.arange(1, count + 1) * factors.agent_speed, travelled[-1])
    path = np.stack([np.interp(steps, travelled, coordinate) for coordinate in corners.T], axis=1)
    return rooms.take(np.zeros(len(path), np.int64)).across_along(path)


def _moved(
    start: Float64[np.ndarray, "2"], actions: Float32[np.ndarray, "K 2"], factors: TwoRoomFactors
) -> Float64[np.ndarray, "K+1 2"]:
    """Positions under the true physics, beginning with `start`."""
    world = TwoRoomWorld(1, 16, factors)
    world.place([start], None)
    positions = [world.state[0]]
    for action in actions.astype(np.float64):
        world.advance(action[None])
        positions.append(world.state[0])
    return np.stack(positions)


def _drawn(
    positions: Float64[np.ndarray, "P 2"], episode: Episode, factors: TwoRoomFactors | None = None
) -> UInt8[np.ndarray, "P Y X 3"]:
    """Frames with the agent at `positions`, in the episode's own world unless `factors` are given."""
    factors = factors or episode.factors
    empty = background(factors, episode.frames.shape[1])
    color = np.array([factors.agent_color], np.float32)
    return draw(positions, [empty] * len(positions), np.repeat(color, len(positions), axis=0))
