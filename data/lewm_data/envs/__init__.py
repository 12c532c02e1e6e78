"""Environments; importing this package registers them with Gymnasium."""

import gymnasium

from lewm_data.envs.registry import register
from lewm_data.envs.two_room.vector_env import MAX_EPISODE_STEPS

if "lewm/TwoRoom-v0" not in gymnasium.registry:  # a second registration would warn
    gymnasium.register(
        id="lewm/TwoRoom-v0",
        entry_point="lewm_data.envs.two_room.env:TwoRoomEnv",
        vector_entry_point="lewm_data.envs.two_room.vector_env:TwoRoomVectorEnv",
        max_episode_steps=MAX_EPISODE_STEPS,
    )
register()
