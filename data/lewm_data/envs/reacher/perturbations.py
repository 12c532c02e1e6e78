"""Events against physics in Reacher.

Letters: K frames that are shown from the onset on, Y and X the sides of a frame.
"""

import numpy as np
from jaxtyping import UInt8

from lewm_data.envs.general_perturbations import (
    TOLD_STEPS,
    Episode,
    Perturbation,
    action_swapped,
    frozen,
    shown,
    time_reversed,
)
from lewm_data.envs.reacher.task import draw_pose, path_distance
from lewm_data.envs.simulator import Simulator
from lewm_data.envs.simulator_perturbations import played_on, recolored

# rad: no policy can turn the joints this far within 5 steps; the most that was measured is 1.42.
REACH = 2.0


def _make(frame_size: int) -> Simulator:
    from lewm_data.envs.reacher.simulator import ReacherSimulator

    return ReacherSimulator(frame_size)


def teleported(episode: Episode, onset: int, rng: np.random.Generator) -> UInt8[np.ndarray, "K Y X 3"]:
    """The arm is suddenly in another pose, and moves on from there as its actions say, with the velocities it had.

    The pose is uniform among those that the arm cannot reach in 5 steps from any of its last 5 poses. So even a model
    that sees every fifth frame cannot take the jump for motion.
    """
    recent = episode.states[max(onset - TOLD_STEPS, 0) : onset]
    state = episode.states[onset].copy()
    while path_distance(recent, np.broadcast_to(state, recent.shape)).min() < REACH:
        state[:2] = draw_pose(rng)[:2]
    return played_on(_make, episode, onset, state)


PERTURBATIONS: dict[str, Perturbation] = {
    "arm teleported": shown(teleported),
    "arm recoloured": shown(recolored(_make, "agent.color", ("floor.color",))),
    "floor recoloured": shown(recolored(_make, "floor.color", ("agent.color",))),
    "arm frozen": shown(frozen),
    "time reversed": shown(time_reversed),
    "action swapped": action_swapped,
}
