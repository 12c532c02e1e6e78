"""Two-Room: a dot that has to find the door to the other room."""

from lewm_data.envs.two_room.env import TwoRoomEnv
from lewm_data.envs.two_room.factors import TwoRoomFactors
from lewm_data.envs.two_room.paths import path_distance
from lewm_data.envs.two_room.vector_env import TwoRoomVectorEnv
from lewm_data.envs.two_room.world import solved

__all__ = ["TwoRoomEnv", "TwoRoomFactors", "TwoRoomVectorEnv", "path_distance", "solved"]
