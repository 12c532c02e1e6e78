"""Collection: policies act in environments, here or in worker processes, and finished episodes go to the dataset.

Episode e of seed s depends on (s, e) alone, and episodes are written in the order of e: the file is the same
for any number of environments and workers, and after any interruption.

Shape letter: N environments, or workers.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lewm_data.collection.episodes import Player, Seconds, Settings
from lewm_data.collection.factors import named_factors
from lewm_data.collection.pool import Pool
from lewm_data.collection.recorder import Columns
from lewm_data.envs.world import World
from lewm_data.errors import DataError
from lewm_data.machine import cores
from lewm_data.seeds import SEEDS
from lewm_data.store.action_bounds import HIGH, LOW
from lewm_data.store.schema import DETAIL, FIT
from lewm_data.store.writer import Writer

# An episode that ends before its predecessors waits for them in memory. So that one long episode among short
# ones cannot fill it, no episode begins that is more than this many times N after the last written one.
AHEAD = 4

TOGETHER = 32  # environments in one process, where the world computes them together

# Upper limits, far beyond useful values, so that a typing error is reported before it fills the memory.
MOST_EPISODES, MOST_TOGETHER, MOST_SIDE, MOST_STEPS = 10**9, 4096, 4096, 10**5


@dataclass(frozen=True)
class CollectProgress:
    """The progress of a collection.

    Attributes:
        episodes: Number of episodes in the file.
        total: Number of episodes that the finished file will have.
        frames: Number of frames that this collection has written.
        frames_per_second: Speed of this collection.
    """

    episodes: int
    total: int
    frames: int
    frames_per_second: float


@dataclass(frozen=True)
class CollectReport:
    """The result of a collection.

    Attributes:
        path: The dataset.
        episodes: Number of episodes in the file.
        frames: Number of frames in the file.
        new_episodes: Number of episodes that this collection wrote.
        new_frames: Number of frames that this collection wrote.
        seconds: Duration of this collection.
        frames_per_second: New frames divided by seconds.
        stepping_seconds: Time spent in the environments, rendering included, summed over all workers.
        acting_seconds: Time spent in the policy, summed over all workers.
        writing_seconds: Time spent writing the file.
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
    repeat: float | None = None,
    vary: str = "",
    max_steps: int | None = None,
    num_envs: int | None = None,
    workers: int | None = 0,
    mode: Literal["create", "append", "overwrite"] = "create",
    commit: str | None = None,
    on_progress: Callable[[CollectProgress], None] | None = None,
) -> CollectReport:
    """Records episodes until the file has `episodes` of them.

    Interrupted in any way, the file holds every finished episode; the same call with "append" completes it.

    Args:
        world: The world in which the episodes take place.
        path: The file; its directory must exist.
        episodes: Number of episodes in the finished file, those already in it included.
        policy: The policy: "expert", "expert:0.7,random:0.3", "package.module:function"; see
            `lewm_data.policies.spec`.
        noise: Strength of the policy's noise; see the policy.
        frame_size: Pixels a side.
        seed: Seed of every random choice, at least 0.
        repeat: Probability that an episode's previous action is taken again; None means the world's default.
        vary: Factors of variation drawn for each episode, "agent.color,door.position", or "all".
        max_steps: Steps until an episode is truncated; None means the world's own limit. Random numbers are drawn for
            all steps at once, so that another limit also changes which actions are repeated.
        num_envs: Environments that run together in this process; None chooses a fast number. The file does not depend
            on it.
        workers: Processes that run one environment each instead; None means one for each core where the world gains
            from that. The file does not depend on them either.
        mode: What to do about a file that is there: refuse, continue, or replace it once the first new
            episode is finished. "append" without a file creates it.
        commit: The code's version, to be noted in the file.
        on_progress: Called after every written episode.

    Raises:
        DataError: A number is out of bounds, the file exists already or was collected in another way, the policy or
            a factor is unknown, the disk is full, or workers die in an episode.
    """
    path = Path(path)
    if workers is None:
        workers = cores() if world.workers and num_envs is None else 0
    if num_envs is None:
        num_envs = 1 if world.workers else TOGETHER
    if max_steps is not None and max_steps < 1:
        raise DataError(f"episodes of at most {max_steps} steps", "Give at least 1.")
    if episodes < 1 or num_envs < 1 or workers < 0 or not 0 <= seed < SEEDS:
        raise DataError(
            f"{episodes} episodes in {num_envs} environments and {workers} workers from seed {seed}",
            "At least 1 episode and 1 environment, workers of at least 0, and a seed of at least 0 and below 2^64.",
        )
    for what, number, most in (
        ("episodes", episodes, MOST_EPISODES),
        ("environments run together", num_envs, MOST_TOGETHER),
        ("workers", workers, MOST_TOGETHER),
        ("pixels a side of a frame", frame_size, MOST_SIDE),
        ("steps of an episode", max_steps or 0, MOST_STEPS),
    ):
        if number > most:
            raise DataError(f"{number:,} {what}, at most {most:,}", "Ask for fewer.")
    repeat = world.default_repeat if repeat is None else float(repeat)
    settings = Settings(policy, float(noise), repeat, named_factors(world, vary), frame_size, seed, max_steps)
    world.policy_parts(policy)  # complains here rather than in every worker
    with _writer(path, _attributes(world, settings), mode, commit) as writer:
        missing = episodes - writer.num_episodes
        together = min(workers or num_envs, missing)
        collection = _Collection(writer, episodes, AHEAD * together, on_progress)
        if missing > 0:
            source = Pool(world, settings, together) if workers else Player(world, settings, together)
            with contextlib.closing(source):
                for episode, columns in source.play(collection.next_episode):
                    collection.finish(episode, columns)
            return collection.report(source.seconds)
        return collection.report(Seconds())


def _attributes(world: World, settings: Settings) -> dict[str, Any]:
    """The file's attributes, which say how its episodes were made; those that are None are not written."""
    return {
        "env": world.name,
        "env_id": world.gymnasium_id,
        DETAIL: world.detail,
        FIT: world.fit,
        **asdict(settings),
        "vary": ",".join(settings.vary),
        LOW: world.action_space.low.tolist(),
        HIGH: world.action_space.high.tolist(),
    }


def _writer(path: Path, attributes: Mapping[str, Any], mode: str, commit: str | None) -> Writer:
    go_on = f"with --append --out {path}"
    if mode != "append" or not path.exists():
        noted = {name: value for name, value in {**attributes, "commit": commit}.items() if value is not None}
        return Writer.create(path, noted, mode == "overwrite", go_on)
    writer = Writer.append(path, go_on)
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
    """The episodes of one call: knows which is next, and writes the finished ones to the file in their order."""

    def __init__(
        self, writer: Writer, episodes: int, ahead: int, on_progress: Callable[[CollectProgress], None] | None
    ) -> None:
        self.writer, self.episodes, self.ahead, self.on_progress = writer, episodes, ahead, on_progress
        self.began = time.perf_counter()
        self.had = writer.num_episodes, writer.num_steps
        self.writing = 0.0  # seconds
        self.next = writer.num_episodes  # the first episode that has not begun
        self.waiting: dict[int, Columns] = {}  # finished episodes with an unfinished predecessor

    def next_episode(self) -> int | None:
        """The next episode to begin; None where there is none, or where others have to be finished before it."""
        if self.next >= min(self.episodes, self.writer.num_episodes + self.ahead):
            return None
        self.next += 1
        return self.next - 1

    def finish(self, episode: int, columns: Columns) -> None:
        """Writes an episode and those that waited for it, or lets it wait for its predecessors."""
        if episode != self.writer.num_episodes:
            self.waiting[episode] = {name: values.copy() for name, values in columns.items()}
            return
        ready: Columns | None = columns
        while ready is not None:
            mark = time.perf_counter()
            self.writer.write_episode(ready)
            self.writing += time.perf_counter() - mark
            if self.on_progress:
                frames, elapsed = self.writer.num_steps - self.had[1], time.perf_counter() - self.began
                done = self.writer.num_episodes
                self.on_progress(CollectProgress(done, self.episodes, frames, frames / elapsed))
            ready = self.waiting.pop(self.writer.num_episodes, None)

    def report(self, seconds: Seconds) -> CollectReport:
        """The report of this collection."""
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
            stepping_seconds=seconds.stepping,
            acting_seconds=seconds.acting,
            writing_seconds=self.writing,
        )
