"""Unperturbed episodes in memory, from which the perturbations of a world start.

Shape letters: N episodes, T frames of each.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lewm_data.envs.general_perturbations import Episode
from lewm_data.envs.world import World

# The streams of a collected dataset have the keys 0 and 1: no episode recorded here is ever trained on.
STREAM = 2


def record(world: World, seeds: Sequence[int], frame_size: int, steps: int) -> list[Episode]:
    """Records `steps` steps of the world's default policy, whether or not it reaches its goal before.

    An episode is a function of its seed alone, whichever other episodes are recorded with it. All are held in memory.

    Args:
        world: The world in which the episodes take place.
        seeds: One seed for each episode, at least 0. The random streams differ from those of collected datasets.
        frame_size: Pixels a side.
        steps: Number of actions of every episode; it has one frame more.
    """
    env = world.make(len(seeds), frame_size, True)
    try:
        policy = world.policy(world.default_policy, env)
        streams = [np.random.SeedSequence(seed, spawn_key=(STREAM,)).spawn(2) for seed in seeds]
        observation, _ = env.reset(seed=[int(for_env.generate_state(1)[0]) for for_env, _ in streams])
        policy.reset(np.arange(len(seeds)), [np.random.default_rng(for_policy) for _, for_policy in streams])
        factors: Sequence[Any] = getattr(env, "factors", [None] * len(seeds))

        pixels = observation["pixels"]
        frames = np.empty((len(seeds), steps + 1, *pixels.shape[1:]), pixels.dtype)  # (N, T, Y, X, 3)
        frames[:, 0] = pixels
        states, actions = [env.state], []
        for step in range(steps):
            actions.append(policy.act(observation))
            observation, *_ = env.step(actions[-1])
            frames[:, step + 1] = observation["pixels"]
            states.append(env.state)
    finally:
        env.close()
    each = zip(frames, np.stack(states, axis=1), np.stack(actions, axis=1), factors, strict=True)
    return [Episode(*one) for one in each]
