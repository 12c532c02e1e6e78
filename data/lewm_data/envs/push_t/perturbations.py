"""Events against physics in Push-T.

Letters: K frames that are shown from the onset on, Y and X the sides of a frame.
"""

import numpy as np
from jaxtyping import Float64, UInt8

from lewm_data.envs.general_perturbations import (
    TOLD_STEPS,
    Episode,
    Perturbation,
    action_swapped,
    frozen,
    shown,
    time_reversed,
)
from lewm_data.envs.push_t.factors import Factors
from lewm_data.envs.push_t.geometry import AGENT, AGENT_RADIUS, BLOCK, HIGH, LOW, POSE, distance_to_block
from lewm_data.envs.push_t.simulator import PushTSimulator
from lewm_data.envs.push_t.task import draw_state
from lewm_data.envs.simulator_perturbations import played_on, recolored

AGENT_REACH = 204.0  # the way of an agent in 5 steps at full speed along one axis; the demonstrator's is at most 90
BLOCK_REACH = 130.0  # twice the farthest that the demonstrator was seen to move the block in 5 steps

Frames = UInt8[np.ndarray, "K Y X 3"]


def agent_teleported(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The agent is suddenly elsewhere, and moves on from there as its actions say, with the velocity it had.

    The place is uniform among the free places that the agent cannot reach, in 5 steps at full speed along an axis, from
    any of its last 5 places. So even a model that sees every fifth frame cannot take the jump for motion.
    """
    recent = episode.states[max(onset - TOLD_STEPS, 0) : onset, AGENT]
    state = episode.states[onset].copy()
    radius = AGENT_RADIUS * episode.factors["agent.scale"]
    while True:
        state[AGENT] = rng.uniform(LOW + radius, HIGH - radius, 2)
        far = np.linalg.norm(recent - state[AGENT], axis=1).min() > AGENT_REACH
        if far and _apart(state, episode.factors):
            return played_on(PushTSimulator, episode, onset, state)


def block_teleported(episode: Episode, onset: int, rng: np.random.Generator) -> Frames:
    """The block is suddenly elsewhere, in another pose, and the agent pushes it on from there.

    The pose is uniform among those that leave room around the block, do not touch the agent, and are farther from the
    block's last 5 places than it is pushed in 5 steps.
    """
    recent = episode.states[max(onset - TOLD_STEPS, 0) : onset, BLOCK]
    state = episode.states[onset].copy()
    while True:
        state[POSE] = draw_state(rng, episode.factors)[POSE]
        far = np.linalg.norm(recent - state[BLOCK], axis=1).min() > BLOCK_REACH
        if far and _apart(state, episode.factors):
            return played_on(PushTSimulator, episode, onset, state)


PERTURBATIONS: dict[str, Perturbation] = {
    "agent teleported": shown(agent_teleported),
    "block teleported": shown(block_teleported),
    "agent recoloured": shown(recolored(PushTSimulator, "agent.color", ("block.color", "background.color"))),
    "block recoloured": shown(recolored(PushTSimulator, "block.color", ("agent.color", "background.color"))),
    "floor recoloured": shown(recolored(PushTSimulator, "background.color", ("agent.color", "block.color"))),
    "world frozen": shown(frozen),
    "time reversed": shown(time_reversed),
    "action swapped": action_swapped,
}


def _apart(state: Float64[np.ndarray, "7"], factors: Factors) -> bool:
    """Whether the agent does not touch the block."""
    distance = distance_to_block(state[AGENT], state[POSE], factors["block.scale"])
    return distance >= AGENT_RADIUS * factors["agent.scale"]
