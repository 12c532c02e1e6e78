"""The demonstrator of Two-Room: it goes through the door to the goal, with much noise.

Letters: N environments, K of them that begin an episode; u across the wall, v along it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int

from lewm_data.envs.two_room.geometry import AGENT_RADIUS, LEFT_FACE, RIGHT_FACE, WALL_CENTRE, Rooms
from lewm_data.envs.two_room.vector_env import TwoRoomVectorEnv
from lewm_data.errors import DataError
from lewm_data.policies.policy import EpisodeNoise


class TwoRoomExpert:
    """Goes straight to the door, through it, then straight to the goal.

    The direction has length 1; Gaussian noise is added, and the sum is clipped to [-1, 1]. Without noise it solves
    every episode.

    Args:
        env: The environments to act in; their factors of variation are read at every step.
        noise: Standard deviation of the noise, before clipping.

    Raises:
        DataError: A negative noise.

    Source: arXiv 2603.19312.
    Differs: a step that would overshoot the door or the goal is shortened, so that no door is too narrow.
    """

    def __init__(self, env: TwoRoomVectorEnv, noise: float) -> None:
        if not 0 <= noise < np.inf:
            raise DataError(f"noise is {noise}, expected at least 0", "It is a standard deviation; 0 is none.")
        self._env = env
        self._sigma = noise
        self._noise = EpisodeNoise(env.num_envs, env.max_episode_steps, 2)

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        steps = self._env.max_episode_steps
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            self._noise.begin(slot, rng.normal(0.0, self._sigma, (steps, 2)))

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N 2"]:
        """The next action of every environment."""
        rooms = Rooms.of(self._env.factors)
        agent, goal = rooms.across_along(observation["state"]), rooms.across_along(observation["goal"])
        away = rooms.across_along(_waypoint(agent, goal, rooms) - agent)
        distance = np.sqrt(np.square(away[:, :1]) + np.square(away[:, 1:]))
        direction = away / np.maximum(distance, rooms.speed)  # length 1, shorter where the waypoint is nearer
        numbers, _ = self._noise.next()
        return np.clip(direction + numbers, -1, 1).astype(np.float32)


def _waypoint(agent: np.ndarray, goal: np.ndarray, rooms: Rooms) -> np.ndarray:
    """The next point (N, 2), in (u, v), on the way to the goal: the straight line from `agent` meets no wall."""
    goal_side = np.where(goal[:, 0] < WALL_CENTRE, -1, 1)
    exits = np.where(goal_side < 0, LEFT_FACE, RIGHT_FACE)  # the end of the door in the goal's room
    entrance = np.where(goal_side < 0, RIGHT_FACE, LEFT_FACE)
    there = (agent[:, 0] - exits) * goal_side >= 0
    in_passage = (agent[:, 0] > LEFT_FACE) & (agent[:, 0] < RIGHT_FACE)
    goal_in_passage = (goal[:, 0] > LEFT_FACE) & (goal[:, 0] < RIGHT_FACE)
    # From in front of the door, within its free width, the way to its far end touches nothing.
    aligned = np.abs(agent[:, 1] - rooms.door) <= rooms.half - AGENT_RADIUS
    direct = there | (goal_in_passage & (in_passage | aligned))
    door_u = np.where(in_passage | aligned, exits, entrance)
    return np.where(direct[:, None], goal, np.stack([door_u, rooms.door], axis=1))
