"""The task of Push-T: start and goal of an episode, the distance between them, and when the goal is reached.

Letters: N states.
"""

import numpy as np
from jaxtyping import Bool, Float64

from lewm_data.envs.push_t.factors import Factors
from lewm_data.envs.push_t.geometry import (
    AGENT,
    AGENT_RADIUS,
    ANGLE,
    BLOCK,
    HIGH,
    LOW,
    SIDE,
    corners,
    distance_to_block,
)

SOLVED_DISTANCE = 20.0
SOLVED_ANGLE = np.pi / 9
ROOM = 40.0  # the least room between a drawn block and the walls: the default agent gets everywhere around it
APART = 5.0  # the least distance between a drawn block and a drawn agent


def draw_state(rng: np.random.Generator, factors: Factors) -> Float64[np.ndarray, "7"]:
    """A random state at rest, uniform among those where the agent has room around the block."""
    radius, scale = AGENT_RADIUS * factors["agent.scale"], factors["block.scale"]
    while True:
        pose = np.append(rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi))
        around = corners(pose, scale)
        if around.min() >= LOW + ROOM and around.max() <= HIGH - ROOM:
            break
    while True:
        agent = rng.uniform(LOW + radius, HIGH - radius, 2)
        if distance_to_block(agent, pose, scale) >= radius + APART:
            return np.concatenate([agent, pose, np.zeros(2)])


def solved(state: Float64[np.ndarray, "N 7"], goal: Float64[np.ndarray, "N 7"]) -> Bool[np.ndarray, " N"]:
    """Whether each state counts as its goal.

    It does where the root of both squared distances, of agent and block, is below 20 units and the block's angle is
    within π/9.

    Source: the released code of arXiv 2603.19312.
    """
    away = np.square(state[:, :4] - goal[:, :4]).sum(axis=1)
    near: np.ndarray = (away < SOLVED_DISTANCE**2) & (_turn(state, goal) < SOLVED_ANGLE)
    return near


def path_distance(state: Float64[np.ndarray, "N 7"], goal: Float64[np.ndarray, "N 7"]) -> Float64[np.ndarray, " N"]:
    """The distance of each state from its goal, in units of the world.

    The length of a shortest path is not known here. The distance is the sum of the block's distance, its turn in
    degrees, and the agent's distance: `solved` allows 20 units, and 20 degrees.
    """
    block = np.linalg.norm((state - goal)[:, BLOCK], axis=1)
    agent = np.linalg.norm((state - goal)[:, AGENT], axis=1)
    distance: np.ndarray = block + np.rad2deg(_turn(state, goal)) + agent
    return distance


def _turn(state: Float64[np.ndarray, "N 7"], goal: Float64[np.ndarray, "N 7"]) -> Float64[np.ndarray, " N"]:
    """The angle between the blocks, 0 to π."""
    turn = np.abs(state[:, ANGLE] - goal[:, ANGLE]) % (2 * np.pi)
    return np.minimum(turn, 2 * np.pi - turn)
