"""Events against physics in Cube.

Letters: K frames that are shown from the onset on, Y and X the sides of a frame.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from lewm_data.envs.cube.task import (
    CUBE,
    CUBE_BOUNDS,
    CUBE_VELOCITY,
    HALF_SIDE,
    ROTATION,
    cube_yaw,
    gripper_pose,
    upright,
)
from lewm_data.envs.general_perturbations import Episode, Perturbation, action_swapped, frozen, shown, time_reversed
from lewm_data.envs.simulator import Simulator
from lewm_data.envs.simulator_perturbations import played_on, recolored

FAR = 0.15  # m, the least distance from the cube's old place and from the gripper


def perturbations(make: Callable[[int], Simulator]) -> Mapping[str, Perturbation]:
    """The events by name; `make` makes a simulator of Cube from a frame size."""
    return {
        "cube teleported": shown(functools.partial(teleported, make)),
        "cube recoloured": shown(recolored(make, "cube.color", ("agent.color", "floor.color"))),
        "gripper recoloured": shown(recolored(make, "agent.color", ("cube.color", "floor.color"))),
        "floor recoloured": shown(recolored(make, "floor.color", ("cube.color", "agent.color"))),
        "arm frozen": shown(frozen),
        "time reversed": shown(time_reversed),
        "action swapped": action_swapped,
    }


def teleported(
    make: Callable[[int], Simulator], episode: Episode, onset: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "K Y X 3"]:
    """The cube suddenly lies elsewhere on the table, even if it was being carried; the arm goes on as its actions say.

    The new place is uniform, but at least 0.15 m away from the old one and from the gripper.
    """
    state = episode.states[onset].copy()
    occupied = np.stack([state[CUBE], gripper_pose(state)[0]])
    while np.linalg.norm(occupied - state[CUBE], axis=1).min() < FAR:
        state[CUBE] = [*rng.uniform(*CUBE_BOUNDS), HALF_SIDE * episode.factors["cube.scale"]]
    state[ROTATION], state[CUBE_VELOCITY] = upright(float(cube_yaw(state))), 0.0
    return played_on(make, episode, onset, state)
