"""The episodes of a dataset: episode e of seed s is a function of (s, e) and the settings alone.

Shape letters: N environments, K of them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from lewm_data.collection.factors import draw_factors, factor_columns
from lewm_data.collection.recorder import Columns, EpisodeRecorder
from lewm_data.envs.world import World
from lewm_data.policies.combine import Mixture

# Returns the next episode to play, or None where none can begin now.
NextEpisode = Callable[[], int | None]


@dataclass(frozen=True)
class Settings:
    """The settings on which a dataset's episodes depend, besides their numbers and the world.

    Attributes:
        policy: The policy; see `lewm_data.policies.spec`.
        noise: Strength of the policy's noise.
        repeat: Probability that an action is taken again.
        vary: Factors of variation that are drawn for each episode.
        frame_size: Pixels a side.
        seed: Seed of every random choice.
        max_steps: Steps until an episode is truncated; the world's own limit when None.
    """

    policy: str
    noise: float
    repeat: float
    vary: tuple[str, ...]
    frame_size: int
    seed: int
    max_steps: int | None = None


@dataclass
class Seconds:
    """Seconds that the parts of a collection took.

    Attributes:
        stepping: Time spent in the environments, rendering included.
        acting: Time spent in the policy.
    """

    stepping: float = 0.0
    acting: float = 0.0


def streams(seed: int, episode: int) -> tuple[int, np.random.Generator, np.random.Generator]:
    """The sources of an episode's randomness: the seed of its reset, the generators of its policy and its factors."""
    for_env, for_policy, for_factors = np.random.SeedSequence([seed, episode]).spawn(3)
    drawn = int(for_env.generate_state(1)[0])
    return drawn, np.random.Generator(np.random.PCG64(for_policy)), np.random.default_rng(for_factors)


class Player:
    """Plays episodes, as many at a time as there are environments, in this process."""

    def __init__(self, world: World, settings: Settings, num_envs: int) -> None:
        self.seconds = Seconds()
        self._world, self._settings = world, settings
        self._env = world.make(num_envs, settings.frame_size, True)
        if settings.max_steps is not None:
            self._env.max_episode_steps = settings.max_steps
        try:
            self._policy = world.policy(settings.policy, self._env, settings.noise, settings.repeat)
        except BaseException:
            self._env.close()
            raise
        self._recorder = EpisodeRecorder(self._env)
        self._drawn: list[dict[str, Any]] = [{} for _ in range(num_envs)]  # factors of the episode in each environment

    def play(self, next_episode: NextEpisode) -> Iterator[tuple[int, Columns]]:
        """Plays until no environment is in an episode and no further episode can begin.

        Yields:
            Each episode when it ends, with its columns, which are valid until the next episode is asked for.
        """
        count = self._env.num_envs
        playing = np.zeros(count, np.int64)  # (N,) the episode in each environment
        recording = np.zeros(count, np.bool_)  # (N,) False: the episode is over, and no other can begin
        ended = np.ones(count, np.bool_)  # (N,)
        while True:
            if ended.any():
                for slot in np.flatnonzero(ended).tolist():
                    episode = next_episode()
                    recording[slot] = episode is not None
                    playing[slot] = playing[slot] if episode is None else episode
                if not recording.any():
                    return
                observation = self._begin(np.flatnonzero(ended), playing)
            mark = time.perf_counter()
            actions = self._policy.act(observation)
            acted = time.perf_counter()
            observation, reward, terminated, truncated, _ = self._env.step(actions)
            self.seconds.acting += acted - mark
            self.seconds.stepping += time.perf_counter() - acted
            self._recorder.add(actions, reward, observation)
            ended = terminated | truncated
            for slot in np.flatnonzero(ended & recording).tolist():
                yield int(playing[slot]), self._columns(slot, int(playing[slot]))

    def close(self) -> None:
        """Releases the environments."""
        self._env.close()

    def _begin(self, slots: Int[np.ndarray, "K"], playing: Int[np.ndarray, "N"]) -> dict[str, np.ndarray]:
        seeds: list[int | None] = [None] * self._env.num_envs
        rngs = []
        for slot in slots.tolist():
            seeds[slot], for_policy, for_factors = streams(self._settings.seed, int(playing[slot]))
            rngs.append(for_policy)
            self._drawn[slot] = draw_factors(self._world, self._settings.vary, for_factors)
        mask = np.zeros(self._env.num_envs, np.bool_)
        mask[slots] = True
        mark = time.perf_counter()
        observation, _ = self._env.reset(seed=seeds, options={"reset_mask": mask, "factors": self._drawn})
        self._policy.reset(slots, rngs)
        self.seconds.stepping += time.perf_counter() - mark
        self._recorder.begin(slots, observation)
        return observation

    def _columns(self, slot: int, episode: int) -> Columns:
        columns = self._recorder.episode(slot, episode)
        rows = len(columns["step_idx"])
        columns |= factor_columns(self._world, self._drawn[slot], rows)
        if isinstance(self._policy, Mixture):
            columns["policy"] = np.full(rows, self._policy.chosen[slot], np.int32)
        return columns
