"""Collection: a policy acts in many environments at once, and every finished episode goes to the dataset.

Episode e of seed s depends on (s, e) alone, and episodes are written in the order of e: the file is the same
for any number of environments, and after any interruption.

Shape letter: N environments.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lewm_data.envs.registry import World, WorldEnv
from lewm_data.errors import DataError
from lewm_data.policies import Policy
from lewm_data.recorder import Columns, EpisodeRecorder
from lewm_data.writer import Writer

# An episode that ends before its predecessors waits for them in memory. So that one long episode among short
# ones cannot fill it, none begins more than this many times N after the last written one.
AHEAD = 4


@dataclass(frozen=True)
class CollectProgress:
    """How far a collection has come.

    Attributes:
        episodes: In the file.
        total: That the file shall have.
        frames: Written by this collection.
        frames_per_second: Of this collection.
    """

    episodes: int
    total: int
    frames: int
    frames_per_second: float


@dataclass(frozen=True)
class CollectReport:
    """What a collection did.

    Attributes:
        path: The dataset.
        episodes: In the file.
        frames: In the file.
        new_episodes: Written by this collection.
        new_frames: Written by this collection.
        seconds: Of this collection.
        frames_per_second: New frames by seconds.
        stepping_seconds: In the environments, rendering included.
        acting_seconds: In the policy.
        writing_seconds: In the file.
    """

    path: str
    episodes: int
    frames: int
    new_episodes: int
    new_frames: int
    seconds: float
    frames_per_second: float
    stepping_seconds: float
    acting_seconds: float
    writing_seconds: float


def collect(
    world: World,
    path: str | Path,
    episodes: int,
    *,
    policy: str,
    noise: float,
    frame_size: int,
    seed: int,
    num_envs: int = 32,
    mode: Literal["create", "append", "overwrite"] = "create",
    commit: str | None = None,
    on_progress: Callable[[CollectProgress], None] | None = None,
) -> CollectReport:
    """Records episodes until the file has `episodes` of them.

    Interrupted in any way, the file holds every finished episode; the same call with "append" completes it.

    Args:
        world: Where.
        path: The file; its directory must exist.
        episodes: That the finished file has, those already in it included.
        policy: Who acts, a name in `world.policies`.
        noise: Of the policy; see the policy.
        frame_size: Pixels a side.
        seed: Of everything random, at least 0.
        num_envs: Environments run together. The file does not depend on it.
        mode: What to do about a file that is there: refuse, continue, or replace it once the first new
            episode is finished. "append" without a file creates it.
        commit: The code's version, to be noted in the file.
        on_progress: Called after every written episode.

    Raises:
        DataError: There is a file already, it was collected in another way, an unknown policy, or no room.
    """
    path = Path(path)
    if episodes < 1 or num_envs < 1 or seed < 0:
        raise DataError(
            f"{episodes} episodes in {num_envs} environments from seed {seed}",
            "At least 1 episode and 1 environment, and a seed of at least 0.",
        )
    attributes = {
        "env": world.name,
        "env_id": world.gymnasium_id,
        "frame_size": frame_size,
        "policy": policy,
        "noise": float(noise),
        "seed": seed,
    }
    with _writer(path, attributes, mode, commit) as writer:
        collection = _Collection(writer, episodes, on_progress)
        count = min(num_envs, episodes - writer.num_episodes)
        if count > 0:
            env = world.make(count, frame_size)
            try:
                collection.run(env, world.policy(policy, env, noise), seed)
            finally:
                env.close()
        return collection.report()


def _writer(path: Path, attributes: Mapping[str, Any], mode: str, commit: str | None) -> Writer:
    if mode != "append" or not path.exists():
        noted = attributes if commit is None else {**attributes, "commit": commit}
        return Writer.create(path, noted, overwrite=mode == "overwrite")
    writer = Writer.append(path)
    for name, value in attributes.items():
        found = writer.attributes.get(name)
        if found != value:
            writer.close()
            raise DataError(
                f"{path}: was collected with {name} {found}, asked to append with {name} {value}",
                "Append with the same settings, or collect into another file.",
            )
    return writer


class _Collection:
    """Episodes of one call, from the environments to the file."""

    def __init__(self, writer: Writer, episodes: int, on_progress: Callable[[CollectProgress], None] | None) -> None:
        self.writer, self.episodes, self.on_progress = writer, episodes, on_progress
        self.began = time.perf_counter()
        self.had = writer.num_episodes, writer.num_steps
        self.seconds = {"stepping": 0.0, "acting": 0.0, "writing": 0.0}
        self.next = writer.num_episodes  # the first episode that no environment has begun
        self.waiting: dict[int, Columns] = {}  # finished, but a predecessor is not

    def run(self, env: WorldEnv, policy: Policy, seed: int) -> None:
        """Steps the environments until every episode is written."""
        recorder = EpisodeRecorder(env)
        playing = np.full(env.num_envs, -1)  # (N,) the episode in each environment
        recording = np.zeros(env.num_envs, np.bool_)  # (N,) False: it is over, and there is no other to begin
        ended = np.ones(env.num_envs, np.bool_)  # (N,)
        while self.writer.num_episodes < self.episodes:
            if ended.any():
                for slot in np.flatnonzero(ended).tolist():
                    limit = min(self.episodes, self.writer.num_episodes + AHEAD * env.num_envs)
                    recording[slot] = self.next < limit
                    if recording[slot]:
                        playing[slot] = self.next
                        self.next += 1
                observation = self._begin(env, policy, seed, ended, playing)
                recorder.begin(np.flatnonzero(ended), observation)
            mark = time.perf_counter()
            actions = policy.act(observation)
            acted = time.perf_counter()
            observation, reward, terminated, truncated, _ = env.step(actions)
            self.seconds["acting"] += acted - mark
            self.seconds["stepping"] += time.perf_counter() - acted
            recorder.add(actions, reward, observation)
            ended = terminated | truncated
            for slot in np.flatnonzero(ended & recording).tolist():
                self._finish(int(playing[slot]), recorder.episode(slot, int(playing[slot])))

    def _begin(
        self, env: WorldEnv, policy: Policy, seed: int, starting: np.ndarray, playing: np.ndarray
    ) -> dict[str, np.ndarray]:
        seeds: list[int | None] = [None] * env.num_envs
        rngs = []
        for slot in np.flatnonzero(starting).tolist():
            for_env, for_policy = np.random.SeedSequence([seed, int(playing[slot])]).spawn(2)
            seeds[slot] = int(for_env.generate_state(1)[0])
            rngs.append(np.random.Generator(np.random.PCG64(for_policy)))
        mark = time.perf_counter()
        observation, _ = env.reset(seed=seeds, options={"reset_mask": starting.copy()})
        policy.reset(np.flatnonzero(starting), rngs)
        self.seconds["stepping"] += time.perf_counter() - mark
        return observation

    def _finish(self, episode: int, columns: Columns) -> None:
        """Writes an episode and those that waited for it, or lets it wait for its predecessors."""
        if episode != self.writer.num_episodes:
            self.waiting[episode] = {name: values.copy() for name, values in columns.items()}
            return
        ready: Columns | None = columns
        while ready is not None:
            mark = time.perf_counter()
            self.writer.write_episode(ready)
            self.seconds["writing"] += time.perf_counter() - mark
            if self.on_progress:
                frames, elapsed = self.writer.num_steps - self.had[1], time.perf_counter() - self.began
                done = self.writer.num_episodes
                self.on_progress(CollectProgress(done, self.episodes, frames, frames / elapsed))
            ready = self.waiting.pop(self.writer.num_episodes, None)

    def report(self) -> CollectReport:
        """What has been done so far."""
        elapsed = time.perf_counter() - self.began
        episodes, frames = self.writer.num_episodes, self.writer.num_steps
        new = frames - self.had[1]
        return CollectReport(
            path=str(self.writer.path),
            episodes=episodes,
            frames=frames,
            new_episodes=episodes - self.had[0],
            new_frames=new,
            seconds=elapsed,
            frames_per_second=new / elapsed,
            stepping_seconds=self.seconds["stepping"],
            acting_seconds=self.seconds["acting"],
            writing_seconds=self.seconds["writing"],
        )
