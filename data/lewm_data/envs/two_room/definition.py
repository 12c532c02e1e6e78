"""Two-Room as collection, evaluation, probing and surprise know it."""

import colorsys

import numpy as np
from jaxtyping import Float64

from lewm_data.envs.simulator import Factor
from lewm_data.envs.two_room.env import action_space
from lewm_data.envs.two_room.factors import BORDER, SPEED_RANGE, Color, TwoRoomFactors
from lewm_data.envs.two_room.paths import path_distance
from lewm_data.envs.two_room.perturbations import PERTURBATIONS
from lewm_data.envs.two_room.vector_env import TwoRoomVectorEnv
from lewm_data.envs.two_room.world import solved
from lewm_data.envs.world import World
from lewm_data.policies.two_room import TwoRoomExpert

_HALF_EXTENTS = (9 / 224, 20 / 224)  # every door in this range fits at every position below
PUBLISHED_SIDE = 224  # pixels of a frame, the unit of states in stable-worldmodel's files; y grows downwards, as here
LARGEST_FRACTION = 1.5  # no fraction of a frame exceeds 1; the least pixel that an agent can be at is 21
_POSITIONS = (BORDER + _HALF_EXTENTS[1], 1 - BORDER - _HALF_EXTENTS[1])


def _saturated(rng: np.random.Generator) -> Color:
    return _rgb(*colorsys.hsv_to_rgb(rng.random(), 1.0, rng.uniform(0.6, 1.0)))


def _dark(rng: np.random.Generator) -> Color:
    return _rgb(*rng.uniform(0.0, 0.35, 3))


def _light(rng: np.random.Generator) -> Color:
    return _rgb(*rng.uniform(0.75, 1.0, 3))


def _rgb(red: float, green: float, blue: float) -> Color:
    return round(255 * red), round(255 * green), round(255 * blue)


def _from_published(states: Float64[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 2"]:
    """States as fractions of the frame; those of stable-worldmodel are recognised by their size."""
    return states / PUBLISHED_SIDE if (states > LARGEST_FRACTION).any() else states


_DEFAULT = TwoRoomFactors()

TWO_ROOM = World(
    name="two-room",
    gymnasium_id="lewm/TwoRoom-v0",
    about="a dot has to find the door to the other room",
    extra=None,
    make=lambda num_envs, frame_size, pixels: TwoRoomVectorEnv(num_envs, frame_size, pixels=pixels),
    policies={"expert": lambda env, noise: TwoRoomExpert(env, noise)},
    default_policy="expert",
    default_noise=2.0,  # noise and repeats are from arXiv 2603.19312
    default_repeat=0.05,
    action_space=action_space(),
    state_dim=2,
    state_columns=("state",),
    from_published=_from_published,
    path_distance=path_distance,
    solved=solved,
    targets={"agent": "state"},
    perturbations=PERTURBATIONS,
    factors={
        "agent.color": Factor(_DEFAULT.agent_color, _saturated, "RGB of the agent; drawn saturated"),
        "agent.speed": Factor(
            _DEFAULT.agent_speed,
            lambda rng: float(rng.uniform(*SPEED_RANGE)),
            "displacement of a step at full action, in units of the frame; 0.008 to 0.047",
        ),
        "background.color": Factor(_DEFAULT.background_color, _light, "RGB of the floor; drawn light"),
        "door.half_extent": Factor(
            _DEFAULT.door_half_extent,
            lambda rng: float(rng.uniform(*_HALF_EXTENTS)),
            "half the door's width, in units of the frame; 0.040 to 0.089",
        ),
        "door.position": Factor(
            _DEFAULT.door_position,
            lambda rng: float(rng.uniform(*_POSITIONS)),
            "centre of the door along the wall, in units of the frame; 0.152 to 0.848",
        ),
        "wall.axis": Factor(
            _DEFAULT.wall_axis,
            lambda rng: int(rng.integers(2)),
            "the coordinate that the wall divides: 0 for x, a left and a right room, 1 for y",
        ),
        "wall.color": Factor(_DEFAULT.wall_color, _dark, "RGB of the wall and the border; drawn dark"),
    },
    workers=False,
)
